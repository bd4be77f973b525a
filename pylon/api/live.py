"""The live doors: WebSocket and server-sent events, two ways out of one hub.

The stages of the HTTP pipeline run before either opens, so rate limit and identity are the same
as for any request (spec 03 sections 4 and 6). What is sent to whom is the hub's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from time import perf_counter

from msgspec import Struct

from pylon import limits
from pylon.api.messages import Messages
from pylon.api.places import Places, door_of
from pylon.auth.ended import EndedSessions
from pylon.auth.identify import from_subprotocol
from pylon.errors import PylonError
from pylon.http.asgi import Receive, Scope, Send
from pylon.http.close_codes import (
    CLOSE_INTERNAL,
    CLOSE_LOST,
    CLOSE_NOT_UTF8,
    CLOSE_POLICY,
    CLOSE_PROTOCOL,
    CLOSE_TOO_LARGE,
    CLOSE_TRY_AGAIN,
)
from pylon.http.csrf import CsrfCheck
from pylon.http.describe import COUNT, FLAG, TEXT, Docs, Parameter
from pylon.http.request import Request
from pylon.http.response import AnyResponse, StreamResponse, error_response
from pylon.http.router import Router
from pylon.identity import Identity
from pylon.live.outlet import (
    FRAMES,
    LINES,
    SERVER_SENT_EVENTS,
    BinaryMessage,
    DeflatedFrameEncoding,
    Outlet,
)
from pylon.live.sockets import FramesOutlet, QueueOutlet
from pylon.sync.browsers import browser_key
from pylon.sync.hub import Hub
from pylon.sync.pulls import Pulls, StreamStart
from pylon.tasks import Tasks

WEBSOCKET_PATHS = ("/", "/ws", "/api/sync/ws")
"""Paths of the main port that take an upgrade; the WebSocket port takes any."""

UNAUTHORIZED = "unauthorized: bearer token required"

CLOSED_BY_CLIENT = {
    CLOSE_PROTOCOL: "protocol",
    CLOSE_LOST: "lost",
    CLOSE_NOT_UTF8: "protocol",
    CLOSE_TOO_LARGE: "too_large",
    CLOSE_INTERNAL: "silent",
}
"""Why a WebSocket ended that nobody here has closed, by its code; else its client wished it."""

EVENTS = Docs(
    operation_id="liveEvents",
    tag="sync",
    answers={200: {"text/event-stream": TEXT}},
    description="Each event's data is a change as in a pull; its id is the change's `seq`.",
    query=(
        Parameter(
            name="since", schema=COUNT, description="Start after this; else `Last-Event-ID` says."
        ),
        Parameter(
            name="public",
            schema=FLAG,
            description="The client pulls without a session: go on past what the public may not"
            " see, whoever else is at its address.",
        ),
        Parameter(
            name="lastEventId",
            schema=COUNT,
            description="As the header `Last-Event-ID`, for clients that can set none.",
        ),
    ),
)

Admit = Callable[[Request], Awaitable[AnyResponse | None]]


class Opening(Struct):
    """A stream that is about to start: where its client says it is, and what `EndedSessions.mark`
    was before its identity was looked up; then where it has started."""

    asked: int | None
    mark: int
    is_public: bool = False
    start: StreamStart | None = None
    is_lost: bool = True
    """Whether its end leaves its client at a place that nobody knows."""


class LiveRoutes:
    """The handlers of both doors."""

    def __init__(
        self,
        *,
        hub: Hub,
        pulls: Pulls,
        ended: EndedSessions,
        csrf: CsrfCheck,
        messages: Messages,
        places: Places,
        deflate_level: int,
    ) -> None:
        self._hub = hub
        self._deflated = DeflatedFrameEncoding(deflate_level) if deflate_level else FRAMES
        self._pulls = pulls
        self._sessions = ended
        self._csrf = csrf
        self._messages = messages
        self._places = places

    def register(self, router: Router) -> None:
        """Add the routes of the main port."""
        path = "/events"
        router.add("GET", path, self.events, summary="Live server-sent events", docs=EVENTS)

    # --- WebSocket ---------------------------------------------------------------------------

    async def websocket(
        self, request: Request, scope: Scope, receive: Receive, send: Send, admit: Admit
    ) -> None:
        """One WebSocket, from handshake to close."""
        if scope.get("pylon.door") != "ws" and request.path not in WEBSOCKET_PATHS:
            await _deny(scope, send, 404)
            return
        mark, door = self._sessions.mark, door_of(scope)
        try:
            subprotocol, asked = self._take_token(request), _asked_position(request)
            refusal = await admit(request)
            if refusal is None:
                self._places.take(request.client, door)
        except PylonError as error:
            refusal = error_response(error)
        if refusal is not None:
            await _deny(scope, send, refusal.status)
            return
        try:
            await receive()  # websocket.connect
            await send({"type": "websocket.accept", "subprotocol": subprotocol})
            if request.identity.user_id is None:
                self._hub.count_close("unauthorized")
                ended = {"type": "websocket.close", "code": CLOSE_POLICY, "reason": UNAUTHORIZED}
                await send(ended)
                return
            await self._stream(request, scope, receive, send, Opening(asked, mark))
        finally:
            self._places.leave(request.client, door)

    def _take_token(self, request: Request) -> str | None:
        """Use a token that came as a subprotocol; the entry to echo, byte for byte.

        A cookie alone counts only from a page of our own or a listed origin, since browsers send
        it with a handshake from any page.
        """
        offered = request.header(b"sec-websocket-protocol")
        found = from_subprotocol(offered) if offered else None
        if found is not None and b"authorization" not in request.headers:
            request.headers[b"authorization"] = b"Bearer " + found[0].encode()
        elif b"cookie" in request.headers:
            self._csrf.check(request)
        return found[1] if found is not None else None

    async def _stream(
        self, request: Request, scope: Scope, receive: Receive, send: Send, opening: Opening
    ) -> None:
        frames = (scope.get("extensions") or {}).get("pylon.frames")
        tasks = Tasks()
        sender: asyncio.Task[None] | None = None
        outlet: Outlet
        if frames is not None:
            outlet = FramesOutlet(frames, self._deflated if frames.deflates else FRAMES)
        else:
            outlet = queue = QueueOutlet(LINES)
            sender = tasks.start("send lines", _send_lines(queue, send), logs=False)
        why = "failure"
        try:
            await self._join(request, outlet, opening)
            conversation = self._messages.conversation(request.identity, outlet)
            while (message := await receive())["type"] != "websocket.disconnect":
                await conversation.receive(message)
            why = CLOSED_BY_CLIENT.get(message["code"], "client")
        finally:
            self._hub.leave(outlet, why)
            self._messages.leave(outlet)
            await tasks.stop()
            self._ended(opening)
            if sender is not None:  # whose failure is that the client has gone
                await asyncio.gather(sender, return_exceptions=True)

    # --- server-sent events ------------------------------------------------------------------

    async def events(self, request: Request) -> AnyResponse:
        """Live changes, starting after `?since=` or `Last-Event-ID` where one is given."""
        self._places.check(request.client)
        is_public = request.query_flag("public")
        opening = Opening(_asked_position(request), self._sessions.mark, is_public)
        return StreamResponse(200, self._event_stream(request, opening))

    async def _event_stream(self, request: Request, opening: Opening) -> AsyncIterator[bytes]:
        # Taken here, not by the handler: a stream that nobody draws from would never give it back.
        door = door_of(request.scope)
        try:
            self._places.take(request.client, door)
        except PylonError:
            return
        outlet, tasks = QueueOutlet(SERVER_SENT_EVENTS), Tasks()
        joining: asyncio.Task[None] | None = None
        try:
            yield b": connected\n\n"
            joining = tasks.start("join", self._join(request, outlet, opening), logs=False)
            joining.add_done_callback(lambda joined: _end_if_failed(joined, outlet))
            while True:
                try:
                    # Not wait_for: that of Python 3.11 may lose the news that the client has gone.
                    async with asyncio.timeout(limits.SSE_KEEPALIVE_SECONDS):
                        chunks = await outlet.take()
                except TimeoutError:
                    yield b": keepalive\n\n"
                    continue
                if not chunks:
                    return
                yield b"".join(chunks)
        finally:
            self._hub.leave(outlet, "client")
            self._places.leave(request.client, door)
            await tasks.stop()
            self._ended(opening)
            if joining is not None and not joining.cancelled():
                joining.result()

    # --- both --------------------------------------------------------------------------------

    async def _join(self, request: Request, outlet: Outlet, opening: Opening) -> None:
        """Start the stream where its client is, or end it so that the client pulls."""
        identity, began = request.identity, perf_counter()
        try:
            start = opening.start = await self._pulls.start(
                identity,
                request.client,
                opening.asked,
                is_public=opening.is_public,
                browser=browser_key(request.client, request.header(b"user-agent")),
            )
        except PylonError as error:
            self._hub.count_close(error.code.lower())
            outlet.close(CLOSE_TRY_AGAIN, "resync required")
            return
        if self._is_over(identity, outlet, opening.mark):
            return
        joined = await self._hub.join(
            identity,
            outlet,
            start.since,
            shows_all=start.shows_all,
            may_be_ahead=start.may_be_ahead,
            address=start.address,
            began=began,
        )
        if not joined:
            opening.is_lost = False
            await self._pulls.too_far(start)

    def _ended(self, opening: Opening) -> None:
        """What a stream has left its client with."""
        if opening.start is not None:
            self._pulls.ended(opening.start, is_lost=opening.is_lost)

    def _is_over(self, identity: Identity, outlet: Outlet, mark: int) -> bool:
        """End a stream whose session has ended since `mark`: before it joined, so that the hub did
        not find it. Nothing may be awaited between this and `Hub.join`."""
        state = self._sessions.since(identity.session_id, mark)
        if state == "ended":
            self._hub.count_close("session")
            outlet.close(CLOSE_POLICY, "session ended")
        elif state == "unknown":
            self._hub.count_close("gap")
            outlet.close(CLOSE_TRY_AGAIN, "resync required")
        return state != "open"


def _asked_position(request: Request) -> int | None:
    """The cursor that the client names itself."""
    asked = request.query_int("since", default=None)
    if asked is None:
        asked = request.query_int("lastEventId", default=None)
    if asked is None:
        last = request.header(b"last-event-id")
        asked = int(last) if last is not None and last.isdecimal() and len(last) < 16 else None
    return asked


def _end_if_failed(joining: asyncio.Task[None], outlet: Outlet) -> None:
    """A stream that could not start must not stay open as if there were nothing to tell."""
    if not joining.cancelled() and joining.exception() is not None:
        outlet.close(CLOSE_INTERNAL, "internal error")


async def _deny(scope: Scope, send: Send, status: int) -> None:
    """Refuse an upgrade with an HTTP status where the server can, else by closing."""
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})
    else:
        await send({"type": "websocket.close", "code": CLOSE_POLICY})


async def _send_lines(outlet: QueueOutlet, send: Send) -> None:
    """Send what the hub wrote as one message an event; for servers without raw frames."""
    while chunks := await outlet.take():
        for chunk in chunks:
            if isinstance(chunk, BinaryMessage):
                await send({"type": "websocket.send", "bytes": bytes(chunk)})
                continue
            for line in chunk.split(b"\n"):
                await send({"type": "websocket.send", "text": line.decode()})
    if outlet.ended is not None:
        code, reason = outlet.ended
        await send({"type": "websocket.close", "code": code, "reason": reason})
