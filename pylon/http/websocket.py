"""One WebSocket of a client: an ASGI websocket server that can also be written to in raw frames.

The shell around `websocket_state.WebSocketState`, which decides; sockets, the timer, the app's task
and ASGI are here. Made by `connection.HttpConnection` (or a plain uvicorn,
`ws=WebSocketConnection`) with the bytes of the upgrade request. The live hub finds `RawFrames` in
`scope["extensions"]["pylon.frames"]`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, cast

from pylon.http.asgi import Message
from pylon.http.close_codes import CLOSE_GOING_AWAY, CLOSE_INTERNAL, CLOSE_NORMAL
from pylon.http.deflate import compressed_text_frame
from pylon.http.ending import Ending
from pylon.http.frames import binary_frame, text_frame
from pylon.http.handshake import Refusal, Upgrade
from pylon.http.heads import error_response
from pylon.http.listener import ASGIApp, Connections, Settings, bounds_of
from pylon.http.scopes import Facts, facts_of, websocket_scope
from pylon.http.shell import Alarm, Drain, Reading, end
from pylon.http.shown_path import shown_path
from pylon.http.straight import StraightLine
from pylon.http.websocket_state import Phase, WebSocketState
from pylon.tasks import Tasks

log = logging.getLogger("pylon.http")

FRAMES_EXTENSION: Final = "pylon.frames"

_OPEN: Final = Phase.OPEN
_OVER: Final = (Phase.CLOSING, Phase.ENDED)
_UNANSWERED: Final = (Phase.HANDSHAKE, Phase.ASKED, Phase.REFUSING)


class SocketClosedError(ConnectionError):
    """`send` on a WebSocket that is closing or gone (ASGI asks for an OSError)."""


class RawFrames:
    """Raw framed writes on one WebSocket; usable once `websocket.accept` has been sent."""

    __slots__ = ("_socket", "_state", "_transport", "_written", "line")

    def __init__(
        self,
        socket: WebSocketConnection,
        state: WebSocketState,
        transport: asyncio.Transport,
        line: StraightLine,
    ) -> None:
        self._socket = socket
        self._state = state
        self._transport = transport
        self._written = 0
        self.line = line
        """Takes frames at once (`line.send`) while the socket is open; `write_rest` the rest."""

    @property
    def closed(self) -> bool:
        """Whether the socket is closing or gone; writes go nowhere then."""
        return self._state.phase is not _OPEN

    @property
    def deflates(self) -> bool:
        """Whether the client takes compressed messages (`pylon.http.deflate`)."""
        return self._state.deflates

    def write(self, frames: bytes) -> None:
        """Write whole frames (see `pylon.http.frames`) in one go; silently nothing once closed.

        Never waits: the caller watches `backlog`.
        """
        if self._state.phase is _OPEN:
            self._written += len(frames)
            self.line.write(frames)

    def write_rest(self, frames: bytes) -> None:
        """Write what `line.send` has not taken; silently nothing once closed. Never waits."""
        if self._state.phase is _OPEN:
            self._written += len(frames)
            self.line.write_now(frames)

    def written(self) -> int:
        """Bytes written in all, but for those that `line.send` took, which nobody waits for; pings
        and the like are not counted."""
        return self._written

    def backlog(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame; the socket is cut in bounded time even if nobody answers."""
        self._socket.close(code, reason)


class WebSocketConnection(asyncio.Protocol):
    """The protocol of one WebSocket. Spec 03 section 4.1."""

    __slots__ = (
        "_alarm",
        "_app",
        "_app_state",
        "_config",
        "_connections",
        "_deflate_level",
        "_drain",
        "_ended",
        "_facts",
        "_line",
        "_loop",
        "_reading",
        "_receiver",
        "_refusal",
        "_tasks",
        "state",
        "transport",
    )

    def __init__(
        self,
        config: Settings,
        server_state: Connections,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        bounds = bounds_of(config)
        self._config = config
        self._app: ASGIApp = config.loaded_app
        self._app_state = app_state
        self._deflate_level = bounds.deflate_level
        self._connections: set[Any] = server_state.connections
        self._tasks = Tasks(server_state.tasks)
        self._loop = _loop or asyncio.get_running_loop()

        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self._line: StraightLine = None  # type: ignore[assignment]
        self.state = WebSocketState(bounds, self._loop.time())
        self._facts: Facts | None = None
        self._alarm = Alarm(self._loop, self._on_time)
        self._drain = Drain()
        self._ended = Ending.NONE
        self._reading = Reading()
        self._receiver: asyncio.Future[None] | None = None
        self._refusal: Refusal | None = None

    # --- the transport calls --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._line = StraightLine(self.transport)
        self._connections.add(self)
        self._facts = facts_of(transport, self._config, self._app_state)
        self._alarm.by(self.state.due)

    def connection_lost(self, exc: Exception | None) -> None:
        self._line.end()
        self._connections.discard(self)
        self._alarm.stop()
        self.state.lose()
        self._drain.resume()
        self._wake()

    def eof_received(self) -> None:
        """The client is gone; the transport closes itself."""

    def pause_writing(self) -> None:
        self._drain.pause()
        self.state.pause_writing()

    def resume_writing(self) -> None:
        self._drain.resume()
        self.state.resume_writing(self._loop.time())
        self._apply()

    def data_received(self, data: bytes) -> None:
        state = self.state
        is_asked = state.upgrade is not None
        state.receive(data, self._loop.time())
        self._apply()
        if not is_asked and state.upgrade is not None:
            self._tasks.start("websocket", self._run(state.upgrade), logs=False)

    def _on_time(self, now: float) -> None:
        self.state.pass_time(now)
        self._apply()

    # --- uvicorn and pylon.server call ----------------------------------------------------------

    def shutdown(self) -> None:
        """The server stops: 1001 for an open socket, 503 for one that is still asking."""
        self.state.shut_down(self._loop.time())
        self._apply()

    # --- what the state wishes ------------------------------------------------------------------

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame and wait a bounded time for the client's. Does nothing when closed."""
        self.state.close(code, reason, self._loop.time())
        self._apply()

    def _apply(self) -> None:
        """Make it so, and wake who receives."""
        state = self.state
        if state.has_wishes:
            self._fulfil(state)
        if self._receiver is not None and state.has_news:
            self._wake()

    def _fulfil(self, state: WebSocketState) -> None:
        """Write, read or not, end, come back in time."""
        state.has_wishes = False
        transport = self.transport
        output = state.take_output()
        if output and not transport.is_closing():
            self._line.write(output)
        self._reading.follow(transport, state.is_reading)
        if state.phase is not _OPEN:
            if state.phase in _OVER:
                self._line.end()  # Nothing may follow a close frame.
            self._drain.resume()  # Whoever waits to send shall learn that it is over.
            if state.ending is not self._ended:
                self._ended = state.ending
                end(transport, state.ending)
        self._alarm.by(state.due)

    def _wake(self) -> None:
        if self._receiver is not None and not self._receiver.done():
            self._receiver.set_result(None)

    # --- ASGI -----------------------------------------------------------------------------------

    async def _receive(self) -> Message:
        while (message := self.state.take()) is None:
            if self._receiver is not None:
                raise RuntimeError("only one task may receive from a WebSocket")
            self._receiver = self._loop.create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None
        if self._reading.is_paused:
            self.state.go_on(self._loop.time())
            self._apply()
        return message

    async def _send(self, message: Message) -> None:
        """Accept, send, close or deny. Waits while the client is slow; OSError once closed."""
        if self._drain.is_paused:
            await self._drain.wait()
        kind = message["type"]
        phase = self.state.phase
        if phase is _OPEN:
            if kind == "websocket.send":
                self._line.write(self._frame(message))
            elif kind == "websocket.close":
                self.close(message.get("code", CLOSE_NORMAL), message.get("reason") or "")
            else:
                raise RuntimeError(f"unexpected ASGI message {kind!r} on an open WebSocket")
        elif phase is Phase.ASKED:
            self._answer(kind, message)
        elif phase is Phase.REFUSING:
            self._add_to_refusal(kind, message)
        elif kind != "websocket.close":
            raise SocketClosedError("the WebSocket is closed")

    def _frame(self, message: Message) -> bytes:
        data = message.get("bytes")
        if data is not None:
            return binary_frame(data)
        text = message["text"].encode()
        if self.state.deflates:
            return compressed_text_frame(text, self._deflate_level)
        return text_frame(text)

    def _answer(self, kind: str, message: Message) -> None:
        if kind == "websocket.accept":
            upgrade = self.state.upgrade
            assert upgrade is not None
            answer = upgrade.accepted(message.get("subprotocol"), message.get("headers", ()))
            if not self.transport.is_closing():
                self.state.accept(answer, self._loop.time())
                self._apply()
        elif kind == "websocket.close":
            self._refuse(error_response(403, "FORBIDDEN", "The WebSocket was refused"))
        elif kind == "websocket.http.response.start":
            self._refusal = Refusal(message["status"], message.get("headers", ()))
            self.state.start_refusal()
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r} before websocket.accept")

    def _add_to_refusal(self, kind: str, message: Message) -> None:
        assert self._refusal is not None
        if kind != "websocket.http.response.body":
            raise RuntimeError(f"unexpected ASGI message {kind!r} while refusing a WebSocket")
        self._refusal.add(message.get("body", b""))
        if not message.get("more_body", False):
            self._refuse(self._refusal.whole())

    def _refuse(self, answer: bytes) -> None:
        self.state.refuse(answer, self._loop.time())
        self._apply()

    async def _run(self, upgrade: Upgrade) -> None:
        """The app's task: the last place that meets its failure, so it logs it and closes 1011."""
        assert self._facts is not None
        scope = websocket_scope(self._facts, upgrade.target, upgrade.headers)
        frames = RawFrames(self, self.state, self.transport, self._line)
        scope["extensions"] = {"websocket.http.response": {}, FRAMES_EXTENSION: frames}
        code = CLOSE_NORMAL
        try:
            await self._app(scope, self._receive, self._send)
        except SocketClosedError:
            pass
        except asyncio.CancelledError:
            code = CLOSE_GOING_AWAY
            raise
        except Exception:
            log.exception("the app failed on a WebSocket: %s", shown_path(scope["path"]))
            code = CLOSE_INTERNAL
        finally:
            if self.state.phase is _OPEN:
                self.close(code)
            elif self.state.phase in _UNANSWERED:
                self._refuse(error_response(500, "INTERNAL", "Internal server error"))
