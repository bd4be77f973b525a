"""One request and its response on an HTTP connection: the ASGI `receive` and `send` of an app.

The response head is written together with the first piece of the body, as ASGI asks for; an app
that streams sends an empty first piece to let the head go. Made by `pylon.http.connection`, which
parses, keeps time and owns the socket.

    head:  NONE -> HELD (http.response.start) -> SENT (first http.response.body)
    end:   complete (last body piece) | disconnected (client gone, or the connection was failed)
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, Protocol

from pylon import codec
from pylon.http.asgi import Message, Scope
from pylon.http.listener import ASGIApp

log = logging.getLogger("pylon.http")

_JOIN_BYTES_MAX: Final = 32_768
"""Up to here copying head and body together is cheaper than a second write."""

_NAMES_KEPT_MAX: Final = 512

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PLAIN, _LENGTH, _ENCODING, _CONNECTION, _DATE, _TYPE = range(6)
_KINDS: Final = {
    b"content-length": _LENGTH,
    b"transfer-encoding": _ENCODING,
    b"connection": _CONNECTION,
    b"date": _DATE,
    b"content-type": _TYPE,
}
_names: dict[bytes, tuple[int, bytes]] = {}


def _learn(name: bytes) -> tuple[int, bytes]:
    """Check a header name once; afterwards it is one look-up per response."""
    if not _TOKEN.fullmatch(name):
        raise RuntimeError(f"invalid response header name {name!r}")
    lowered = name.lower()
    known = (_KINDS.get(lowered, _PLAIN), b"\r\n" + lowered + b": ")
    if len(_names) < _NAMES_KEPT_MAX:
        _names[name] = known
    return known


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}".encode()


_STATUS_LINES: Final = {status: _status_line(status) for status in range(100, 600)}


_BODILESS: Final = (204, 304)
"""Statuses whose responses never have a body (RFC 9110 section 6.4.1)."""


class _DateLine:
    """The `Date` header, made again at most once a second."""

    __slots__ = ("line", "until")

    def __init__(self) -> None:
        self.line = b""
        self.until = float("-inf")

    def at(self, now: float) -> bytes:
        """The line; `now` is the loop's time."""
        if now >= self.until:
            self.until = now + 1.0
            self.line = b"\r\ndate: " + formatdate(usegmt=True).encode()
        return self.line


_date = _DateLine()


def plain_response(
    status: int, body: bytes, *headers: tuple[bytes, bytes], close: bool = True
) -> bytes:
    """A whole JSON response as bytes, for answers given without an app."""
    lines = [_STATUS_LINES[status], b"\r\ncontent-type: application/json"]
    lines += [b"\r\ncontent-length: %d" % len(body)]
    lines += [b"\r\n" + name + b": " + value for name, value in headers]
    if close:
        lines.append(b"\r\nconnection: close")
    return b"".join((*lines, b"\r\n\r\n", body))


def response_head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A checked response head as it goes on the wire; for answers that are not exchanges."""
    head = [_STATUS_LINES.get(status) or _status_line(status)]
    for name, value in headers:
        _, prefix = _names.get(name) or _learn(name)
        head += (prefix, value)
    return _checked(head, len(head) // 2) + b"\r\n\r\n"


def _checked(head: list[bytes], header_count: int) -> bytes:
    """Join a head, and see in one look that no value smuggles in a line of its own."""
    block = b"".join(head)
    breaks = block.count(b"\n"), block.count(b"\r")
    if breaks != (header_count, header_count) or b"\0" in block:
        raise RuntimeError("a response header value holds a line break")
    return block


def error_response(status: int, code: str, message: str, *headers: tuple[bytes, bytes]) -> bytes:
    """The error envelope of spec 01 section 2.1 as a whole response that ends the connection."""
    body = codec.encode({"error": {"code": code, "message": message}})
    return plain_response(status, body, *headers)


class Line(Protocol):
    """What an exchange needs of its connection."""

    transport: asyncio.Transport
    tasks: set[asyncio.Task[None]]
    write_paused: bool

    def now(self) -> float: ...
    async def drained(self) -> None: ...
    def resume_reading(self) -> None: ...
    def exchange_complete(self, exchange: Exchange) -> None: ...


class Exchange:
    """One request and its response."""

    __slots__ = (
        "_chunked",
        "_encoding_given",
        "_head",
        "_head_sent",
        "_is_silent",
        "_line",
        "_remaining",
        "_signal",
        "_status",
        "body",
        "complete",
        "disconnected",
        "expects_continue",
        "is_event_stream",
        "is_http_1_0",
        "keep_alive",
        "more_body",
        "scope",
        "stopping",
        "task",
    )

    def __init__(
        self,
        line: Line,
        scope: Scope,
        *,
        keep_alive: bool,
        expects_continue: bool,
        is_http_1_0: bool,
    ) -> None:
        self._line = line
        self.scope = scope
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.is_http_1_0 = is_http_1_0
        self.task: asyncio.Task[None] | None = None
        self.body: bytes | bytearray = b""
        self.more_body = True
        self.complete = False
        self.disconnected = False
        self.stopping = False
        self.is_event_stream = False
        self._signal: asyncio.Event | None = None
        self._status = 0
        self._head: list[bytes] | None = None
        self._head_sent = False
        # Beside `send`: a response that is whole already leaves in one call.
        scope["extensions"] = {"pylon.respond": self.respond}
        self._is_silent = False
        self._encoding_given = False
        self._chunked = False
        self._remaining: int | None = None

    @property
    def head_sent(self) -> bool:
        """Whether bytes of the response have left, so that it cannot be replaced by another."""
        return self._head_sent

    # --- what the connection tells us ---------------------------------------------------------

    def start(self, app: ASGIApp, loop: asyncio.AbstractEventLoop) -> None:
        """Run the app in a task of its own, owned by the server's set of tasks."""
        task = loop.create_task(self._run(app))
        self.task = task
        self._line.tasks.add(task)

    def add_body(self, data: bytes) -> int:
        """Keep a piece of the body for `receive`; returns the bytes now waiting."""
        if not self.body:
            self.body = data
        else:
            if type(self.body) is bytes:
                self.body = bytearray(self.body)
            self.body += data
        if self._signal is not None:
            self._signal.set()
        return len(self.body)

    def end_body(self) -> None:
        """The request has been read to its end."""
        self.more_body = False
        if self._signal is not None:
            self._signal.set()

    def disconnect(self) -> None:
        """The client is gone: later sends go nowhere, `receive` says so."""
        self.disconnected = True
        if self._signal is not None:
            self._signal.set()

    def drain(self) -> None:
        """The server stops: this is the connection's last answer, and endless ones end now."""
        self.keep_alive = False
        self.stopping = True
        if self._signal is not None:
            self._signal.set()

    # --- ASGI -----------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """`http.request` pieces of the body, then `http.disconnect` when there is no more to do."""
        if self.expects_continue and not self.complete:
            self.expects_continue = False
            if not self.disconnected:
                self._line.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while True:
            if self.disconnected or self.complete or (self.stopping and self.is_event_stream):
                return {"type": "http.disconnect"}
            body = self.body
            if body or (not self.more_body and body is not _TAKEN):
                self.body = b"" if self.more_body else _TAKEN
                return {"type": "http.request", "body": bytes(body), "more_body": self.more_body}
            self._line.resume_reading()
            if self._signal is None:
                self._signal = asyncio.Event()
            await self._signal.wait()
            self._signal.clear()

    async def send(self, message: Message) -> None:
        """`http.response.start`, then `http.response.body` pieces. Waits while the client is slow.

        After a disconnect messages are dropped silently.
        """
        if self._line.write_paused and not self.disconnected:
            await self._line.drained()
        if self.disconnected:
            return
        kind = message["type"]
        if self.complete:
            raise RuntimeError(f"ASGI message {kind!r} after the response was complete")
        if kind == "http.response.body":
            if self._head_sent:
                self._send_piece(message.get("body", b""), message.get("more_body", False))
            elif self._head is not None:
                self._send_first(message.get("body", b""), message.get("more_body", False))
            else:
                raise RuntimeError("ASGI message 'http.response.body' before the start")
        elif kind == "http.response.start" and self._head is None and not self._head_sent:
            self._hold_head(message)
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r}")

    def respond(self, status: int, head: bytes, body: bytes) -> bool:
        """Answer at once with a whole response; False when it must go through `send`.

        `head` is header lines, each with its line break before it, without length, date and
        connection; the caller vouches that no value holds a line break of its own. It saves the
        two messages and the look at each header, a tenth of a short request.
        """
        line = self._line
        if (
            self._head_sent
            or self._head is not None
            or self.disconnected
            or self.expects_continue
            or not self.keep_alive
            or line.write_paused
            or status in _BODILESS
            or len(body) > _JOIN_BYTES_MAX
            or self.scope["method"] == "HEAD"
        ):
            return False
        self._head_sent = True
        line.transport.write(
            b"%b%b\r\ncontent-length: %d%b\r\n\r\n%b"
            % (_STATUS_LINES[status], head, len(body), _date.at(line.now()), body)
        )
        self._finish()
        return True

    # --- writing --------------------------------------------------------------------------------

    def _hold_head(self, message: Message) -> None:
        status = message["status"]
        head = [_STATUS_LINES.get(status) or _status_line(status)]
        has_date = False
        for name, value in message.get("headers", ()):
            kind, prefix = _names.get(name) or _learn(name)
            if kind:
                if kind == _LENGTH:
                    self._remaining = int(value)
                elif kind == _ENCODING:
                    self._encoding_given = True
                elif kind == _CONNECTION:
                    if b"close" in value.lower():
                        self.keep_alive = False
                    continue
                elif kind == _DATE:
                    has_date = True
                elif value.startswith(b"text/event-stream"):
                    self.is_event_stream = True
            head.append(prefix)
            head.append(value)
        header_count = len(head) // 2
        if not has_date:
            head.append(_date.at(self._line.now()))
            header_count += 1
        self._status = status
        self._head = [_checked(head, header_count)]

    def _send_first(self, body: bytes, more_body: bool) -> None:
        """Decide the framing, now that the first piece is known, and write it with the head."""
        head = self._head
        assert head is not None
        is_silent = self.scope["method"] == "HEAD" or self._status in _BODILESS
        if self._encoding_given:
            self._remaining = None
            self._chunked = True
        elif self._remaining is None and self._status not in _BODILESS:
            if not more_body:
                self._remaining = len(body)
                head.append(b"\r\ncontent-length: %d" % len(body))
            elif self.is_http_1_0:
                self.keep_alive = False
            elif not is_silent:
                self._chunked = True
                head.append(b"\r\ntransfer-encoding: chunked")
        if self.expects_continue:
            # Never told to go on, the client may or may not send its body: only a close is sure.
            self.keep_alive = False
        if not self.keep_alive:
            head.append(b"\r\nconnection: close")
        head.append(b"\r\n\r\n")
        if is_silent:
            self._is_silent = True
            self._chunked = False
        elif not self._chunked and len(body) <= _JOIN_BYTES_MAX:
            if self._remaining is not None:
                self._count(body, more_body)
            head.append(body)
            body = b""
        self._head = None
        self._head_sent = True
        self._line.transport.write(b"".join(head))
        if body:
            self._send_piece(body, more_body)
        elif not more_body:
            if self._chunked:
                self._line.transport.write(b"0\r\n\r\n")
            self._finish()

    def _send_piece(self, body: bytes, more_body: bool) -> None:
        transport = self._line.transport
        if self._is_silent:
            pass
        elif self._chunked:
            if body:
                tail = b"\r\n" if more_body else b"\r\n0\r\n\r\n"
                transport.write(b"".join((b"%x\r\n" % len(body), body, tail)))
            elif not more_body:
                transport.write(b"0\r\n\r\n")
        else:
            if self._remaining is not None:
                self._count(body, more_body)
            transport.write(body)
        if not more_body:
            self._finish()

    def _count(self, body: bytes, more_body: bool) -> None:
        """Hold the app to the length it announced; anything else would shift the next answer."""
        assert self._remaining is not None
        self._remaining -= len(body)
        if self._remaining < 0:
            raise RuntimeError("the response is longer than its Content-Length")
        if not more_body and self._remaining:
            raise RuntimeError("the response is shorter than its Content-Length")

    def _finish(self) -> None:
        self.complete = True
        if self._signal is not None:
            self._signal.set()
        self._line.exchange_complete(self)

    # --- the app's task -------------------------------------------------------------------------

    async def _run(self, app: ASGIApp) -> None:
        """The task: the last place that meets an app's failure, so it logs it and answers 500."""
        try:
            await app(self.scope, self.receive, self.send)
            if not self.complete and not self.disconnected:
                self._end_unfinished()
        except asyncio.CancelledError:
            self._line.transport.abort()
            raise
        except Exception:
            log.exception("the app failed: %s %s", self.scope["method"], self.scope["path"])
            self._fail()
        finally:
            if self.task is not None:
                self._line.tasks.discard(self.task)

    def _end_unfinished(self) -> None:
        if self.stopping and self.is_event_stream and self._head_sent:
            self._send_piece(b"", False)
            return
        log.error("the app sent no full response: %s", self.scope["path"])
        self._fail()

    def _fail(self) -> None:
        if self.disconnected or self.complete:
            return
        if self._head_sent:
            # Cut, so that the client sees that the answer is not whole.
            self._line.transport.abort()
            return
        self.keep_alive = False
        self._head_sent = True
        self._line.transport.write(error_response(500, "INTERNAL", "Internal server error"))
        self._finish()


_TAKEN: Final = bytearray()
"""Marks a body of which the last piece has been received."""
