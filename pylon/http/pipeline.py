"""The one way in: every HTTP request passes this, in this order, without side doors.

    request id and clock        Pipeline.request
    stages                      those that the composition root lists, in its order
    route                       router.Router
    compression                 compression.Compression, for large bodies
    room for what is unsent     unsent.Unsent, for larger ones
    response headers            finish.Finish.headers
    metrics and access log      finish.Finish.observe

A stage is any callable of the type `Stage`; those of this folder are `probes`, `rate_limit`, `csrf`
and `body_limit`. Errors are rendered here and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from pylon import limits
from pylon.clock import Clock
from pylon.errors import PylonError
from pylon.http.asgi import Receive, Scope, Send
from pylon.http.compression import Compression
from pylon.http.cors import PREFLIGHT
from pylon.http.errors import ClientDisconnected
from pylon.http.finish import Finish
from pylon.http.request import Request
from pylon.http.response import AnyResponse, Response, StreamResponse, error_response
from pylon.http.router import Router
from pylon.http.shown_path import shown_path
from pylon.http.unsent import Unsent
from pylon.ids import new_request_id
from pylon.log import fields
from pylon.tasks import Tasks, in_task

_log = logging.getLogger("pylon.http")

Stage: TypeAlias = Callable[[Request], AnyResponse | Awaitable[AnyResponse | None] | None]
"""Looks at a request and returns None to let it pass, a response to answer it, or an awaitable of
either when it must wait. It refuses by raising `PylonError`."""


class Pipeline:
    """An ASGI callable for `http` scopes. Built once; holds nothing of a request."""

    def __init__(
        self,
        *,
        stages: Sequence[Stage],
        router: Router,
        finish: Finish,
        clock: Clock,
        compression: Compression | None = None,
        unsent: Unsent | None = None,
        trusted_proxy_hops: int = 0,
    ) -> None:
        self._compression = compression
        self._unsent = unsent or Unsent(clock)
        self._stages = tuple(stages)
        self._router = router
        self._finish = finish
        self._metrics = finish.metrics
        self._now = clock.monotonic
        self._hops = trusted_proxy_hops
        # Ids are a random start for the process and a counter: unique, and cheap to make.
        self._id_prefix = new_request_id()[:8].encode()
        self._count = 0

    def request(self, scope: Scope, receive: Receive) -> Request:
        """A request with its id, clock and client; also for a WebSocket scope."""
        self._count = count = self._count + 1
        return Request(
            scope,
            receive,
            request_id=b"%b%08x" % (self._id_prefix, count & 0xFFFF_FFFF),
            started=self._now(),
            trusted_proxy_hops=self._hops,
        )

    async def admit(self, request: Request) -> AnyResponse | None:
        """Run the stages before the route: None when all let the request pass. The doors that are
        no HTTP routes (WebSocket) call this too, so that nothing skips a stage."""
        for stage in self._stages:
            result = stage(request)
            if result is not None:
                if not isinstance(result, Response | StreamResponse):
                    result = await result
                if result is not None:
                    return result
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = self.request(scope, receive)
        metrics = self._metrics
        metrics.in_flight += 1
        status = 499  # what the log says of a client that left
        try:
            try:
                response = await self._answer(request)
            except PylonError as error:
                response = self._refused(request, error)
            except ClientDisconnected:
                return
            except Exception:
                response = self._failed(request)
            if request.answer_headers is not None:
                response.headers += request.answer_headers
            status = response.status
            if isinstance(response, Response):
                if request.place is not None:
                    request.forget_body()
                if len(response.body) < limits.GZIP_BYTES_MIN:
                    if (response.headers and _says_framing(response)) or not self._is_sent_whole(
                        request, response
                    ):
                        await self._send(request, response, send)
                    return
            status = await self._send_large(request, response, send)
        finally:
            if request.place is not None:
                request.forget_body()
            metrics.in_flight -= 1
            self._finish.observe(request, status)

    async def _answer(self, request: Request) -> AnyResponse:
        for stage in self._stages:  # `admit`, written out: this is the hot path
            result = stage(request)
            if result is not None:
                if not isinstance(result, Response | StreamResponse):
                    await in_task()
                    result = await result
                if result is not None:
                    return result
        if request.method == "OPTIONS":
            return Response(204, headers=PREFLIGHT)
        handler, params = self._router.match(request.method, request.path)
        if request.query_string:
            self._router.query_names.check(handler, request)
        if handler not in self._router.begins_at_once:
            await in_task()
        return await handler(request, *params)

    def _refused(self, request: Request, error: PylonError) -> Response:
        if error.status >= 500:
            _log.warning(
                "%s: %s",
                error.code,
                error.message,
                exc_info=error.__cause__,
                extra=fields(request_id=request.id, path=shown_path(request.path)),
            )
        return error_response(error)

    def _failed(self, request: Request) -> Response:
        """An exception that nobody expected: the caller learns the id, the log learns it all."""
        _log.exception(
            "unhandled exception",
            extra=fields(
                request_id=request.id, method=request.method, path=shown_path(request.path)
            ),
        )
        return error_response(
            PylonError(
                500,
                "INTERNAL",
                "Internal server error",
                "The server's log has the details under this request_id.",
                request_id=request.id,
            )
        )

    async def _send_large(self, request: Request, response: AnyResponse, send: Send) -> int:
        """Send what may be compressed and may wait long for its client; the status that was sent.

        Where there is no room for it, it is dropped at once, and refused.
        """
        size = _held_bytes(response)
        if not size or request.method == "HEAD":
            response = await self._compressed(request, response)
            await self._send(request, response, send)
            return response.status
        await in_task()
        task = asyncio.current_task()
        assert task is not None
        try:
            held = self._unsent.take(request.client, size, task.cancel)
        except PylonError as error:
            if isinstance(response, StreamResponse):
                await _close(response)
            response = self._refused(request, error)
            await self._send(request, response, send)
            return response.status
        try:
            response = await self._compressed(request, response)
            self._unsent.shrink(held, _held_bytes(response))
            await self._send(request, response, send)
        finally:
            self._unsent.give_back(held)
        return response.status

    async def _compressed(self, request: Request, response: AnyResponse) -> AnyResponse:
        if self._compression is None:
            return response
        return await self._compression.applied(request, response)

    def _is_sent_whole(self, request: Request, response: Response) -> bool:
        """Send an answer in one call, where our own server is below and its client takes it at
        once; False: nothing is sent. Not for one whose own headers tell how it is framed."""
        extensions = request.scope.get("extensions")
        respond = extensions.get("pylon.respond") if extensions else None
        return respond is not None and respond(
            response.status, self._finish.head(request, response), response.body
        )

    async def _send(self, request: Request, response: AnyResponse, send: Send) -> None:
        if (
            isinstance(response, Response)
            and not (response.headers and _says_framing(response))
            and self._is_sent_whole(request, response)
        ):
            return
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": self._finish.headers(request, response),
            }
        )
        if isinstance(response, Response):
            await _send_body(b"" if request.method == "HEAD" else response.body, send)
        elif request.method == "HEAD":
            await _close(response)
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._send_stream(request, response, send)

    async def _send_stream(self, request: Request, response: StreamResponse, send: Send) -> None:
        """Send chunks as they come until the body ends or the client goes."""
        tasks = Tasks()
        sender = tasks.start("http stream", _send_chunks(response, send), logs=False)
        waited: list[asyncio.Task[None]] = [sender]
        if not response.reads_body:
            # Only one may take what the client sends: the body, or here the news that it has gone.
            gone = _client_gone(request.receive)
            waited.append(tasks.start("http stream's client", gone, logs=False))
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if sender.done():
                sender.result()
        except Exception:
            # The status is gone already. Returning without a last chunk makes the server cut the
            # connection, which tells the client that the body is not whole.
            _log.exception(
                "a streamed response failed",
                extra=fields(request_id=request.id, path=shown_path(request.path)),
            )
        finally:
            await tasks.stop()


_FRAMING = frozenset(
    (b"content-length", b"transfer-encoding", b"connection", b"date", b"content-encoding")
)
"""Headers with which an answer goes the long way, where each is looked at."""


def _says_framing(response: Response) -> bool:
    for name, _ in response.headers:  # noqa: SIM110 - written out: each write has such a header
        if name in _FRAMING:
            return True
    return False


def _held_bytes(response: AnyResponse) -> int:
    """What is kept of an answer until its client has taken it; 0 where it is not worth counting."""
    if isinstance(response, StreamResponse):
        return response.held_bytes
    size = len(response.body)
    return size if size > limits.ANSWER_BYTES_SMALL else 0


async def _send_body(body: bytes, send: Send) -> None:
    """Send a body; a large one piece by piece, so that it is done when the client has taken it."""
    size = limits.ANSWER_BYTES_SMALL
    start = 0
    while len(body) - start > size:
        piece = body[start : start + size]
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        start += size
    await send({"type": "http.response.body", "body": body[start:] if start else body})


async def _send_chunks(response: StreamResponse, send: Send) -> None:
    try:
        # An empty first piece lets the head go, so that the client sees the stream open at once.
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        async for chunk in response.body:
            if chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
    finally:
        await _close(response)
    await send({"type": "http.response.body", "body": b""})


async def _close(response: StreamResponse) -> None:
    close = getattr(response.body, "aclose", None)
    if close is not None:
        await close()


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
