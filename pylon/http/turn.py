"""One request and its response on an HTTP connection, as values: pieces in, bytes out. No I/O.

The response head leaves together with the first piece of the body, as ASGI asks for; an app that
streams sends an empty first piece to let the head go. Made by `connection_state` for each request,
used by `exchange`, which is what the app talks to.

    answer:  NONE -> HELD (start) -> SENT (first piece) -> COMPLETE (last piece)
             NONE -> COMPLETE (whole, or failed)
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

from pylon.http.asgi import Header, Message, Scope
from pylon.http.heads import (
    CONNECTION,
    DATE,
    ENCODING,
    LENGTH,
    NAMES,
    STATUS_LINES,
    checked,
    error_response,
    learnt,
    status_line,
)

_JOIN_BYTES_MAX: Final = 32_768
"""Up to here copying head and body together is cheaper than a second write."""

_BODILESS: Final = (204, 304)
"""Statuses whose responses never have a body (RFC 9110 section 6.4.1)."""

_LAST_CHUNK: Final = b"0\r\n\r\n"

_TAKEN: Final = bytearray()
"""Marks a body of which the last piece has been received."""


class Answer(enum.Enum):
    """How far the response has come; the transitions stand on top of this file."""

    NONE = enum.auto()
    HELD = enum.auto()
    SENT = enum.auto()
    COMPLETE = enum.auto()


_NONE: Final = Answer.NONE
_HELD: Final = Answer.HELD
_SENT: Final = Answer.SENT
_COMPLETE: Final = Answer.COMPLETE


class Turn:
    """The client's turn, a request, and ours, the answer.

    `keep_alive`: the connection may go on afterwards. `expects_continue`: the client waits to be
    told to send its body. `more_body`: the request has not been read to its end. `disconnected`:
    the client is gone, or the connection was failed.
    """

    __slots__ = (
        "_body",
        "_encoding_given",
        "_head",
        "_is_chunked",
        "_is_http_1_0",
        "_is_silent",
        "_remaining",
        "_scope",
        "_status",
        "_stopping",
        "answer",
        "disconnected",
        "expects_continue",
        "is_event_stream",
        "keep_alive",
        "method",
        "more_body",
    )

    def __init__(
        self,
        scope: Scope,
        *,
        keep_alive: bool = True,
        expects_continue: bool = False,
    ) -> None:
        self._scope: Scope | None = scope
        self.method: str = scope["method"]
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.disconnected = False
        self.answer = _NONE
        self.is_event_stream = False
        self.more_body = True
        self._body: bytes | bytearray = b""
        self._stopping = False

    def take_scope(self) -> Scope:
        """The scope, once. From then on it is the app's alone: it comes to hold what answers this
        request, which must not hold it in turn, or each request were left to the collector."""
        scope, self._scope = self._scope, None
        assert scope is not None
        self._is_http_1_0 = scope["http_version"] == "1.0"
        return scope

    # --- the request's body ---------------------------------------------------------------------

    def add_body(self, data: bytes) -> int:
        """Keep a piece for `receive`; returns the bytes now waiting."""
        if not self._body:
            self._body = data
        else:
            if type(self._body) is bytes:
                self._body = bytearray(self._body)
            self._body += data
        return len(self._body)

    def disconnect(self) -> None:
        """The client is gone: what the app still says goes nowhere, and it is told."""
        self.disconnected = True

    def drain(self) -> None:
        """The server stops: this is the connection's last answer, and endless ones end now."""
        self.keep_alive = False
        self._stopping = True

    def receive(self) -> Message | None:
        """`http.request` with what has come of the body, `http.disconnect` when there is no more
        to do; None when the app must wait."""
        if (
            self.disconnected
            or self.answer is _COMPLETE
            or (self._stopping and self.is_event_stream)
        ):
            return {"type": "http.disconnect"}
        body = self._body
        if body or (not self.more_body and body is not _TAKEN):
            self._body = b"" if self.more_body else _TAKEN
            return {"type": "http.request", "body": bytes(body), "more_body": self.more_body}
        return None

    def take_whole(self) -> bytes | None:
        """The body, where all of it has come and nothing was taken; None where it must be received:
        it is still to come, or nobody wants it any more."""
        body = self._body
        if self.more_body or body is _TAKEN or self.disconnected or self.answer is _COMPLETE:
            return None
        self._body = _TAKEN
        return bytes(body)

    @property
    def is_cut_short(self) -> bool:
        """Whether the server stops an answer that has no end of its own."""
        return self._stopping and self.is_event_stream

    def go_ahead(self) -> bytes:
        """`100 Continue`, once, for a client that waits for it; else nothing."""
        if not self.expects_continue or self.answer is _COMPLETE:
            return b""
        self.expects_continue = False
        return b"" if self.disconnected else b"HTTP/1.1 100 Continue\r\n\r\n"

    # --- the response ---------------------------------------------------------------------------

    def whole(self, status: int, head: bytes, body: bytes, date: bytes) -> bytes:
        """A whole response; nothing when it must go the long way, by `start` and `piece`.

        `head` is header lines, each with its line break before it, without length, date and
        connection; the caller vouches that no value holds a line break of its own. `date` is that
        line. It saves the two messages and the look at each header, a tenth of a short request.
        """
        if (
            self.answer is not _NONE
            or self.disconnected
            or self.expects_continue
            or not self.keep_alive
            or status in _BODILESS
            or len(body) > _JOIN_BYTES_MAX
            or self.method == "HEAD"
        ):
            return b""
        self.answer = _COMPLETE
        return b"%b%b\r\ncontent-length: %d%b\r\n\r\n%b" % (
            STATUS_LINES[status],
            head,
            len(body),
            date,
            body,
        )

    def start(self, status: int, headers: Iterable[Header], date: bytes) -> None:
        """Hold the head. RuntimeError for one that may not go out, or a second one."""
        if self.answer is not _NONE:
            raise RuntimeError("unexpected ASGI message 'http.response.start'")
        self._remaining: int | None = None
        self._encoding_given = False
        head = [STATUS_LINES.get(status) or status_line(status)]
        has_date = False
        for name, value in headers:
            kind, prefix = NAMES.get(name) or learnt(name)
            if kind:
                if kind == LENGTH:
                    self._remaining = int(value)
                elif kind == ENCODING:
                    self._encoding_given = True
                elif kind == CONNECTION:
                    if b"close" in value.lower():
                        self.keep_alive = False
                    continue
                elif kind == DATE:
                    has_date = True
                elif value.startswith(b"text/event-stream"):
                    self.is_event_stream = True
            head.append(prefix)
            head.append(value)
        header_count = len(head) // 2
        if not has_date:
            head.append(date)
            header_count += 1
        self._head = checked(head, header_count)
        self._status = status
        self.answer = _HELD

    def piece(self, body: bytes, more_body: bool) -> tuple[bytes, ...]:
        """What to write for a piece of the body, the head before the first one.

        RuntimeError when the app breaks ASGI, or the length that it announced; nothing of such a
        piece is to be written.
        """
        if self.answer is _HELD:
            writes = self._first(body, more_body)
        elif self.answer is _SENT:
            writes = self._framed(body, more_body)
        elif self.answer is _NONE:
            raise RuntimeError("ASGI message 'http.response.body' before the start")
        else:
            raise RuntimeError("ASGI message 'http.response.body' after the end")
        self.answer = _SENT if more_body else _COMPLETE
        return writes

    def fail(self) -> bytes | None:
        """The app failed: the answer to give instead of its own. None when bytes of that have left:
        the connection must be cut, so that the client sees that it is not whole."""
        if self.answer is _SENT:
            return None
        self.keep_alive = False
        self.answer = _COMPLETE
        return error_response(500, "INTERNAL", "Internal server error")

    # --- framing --------------------------------------------------------------------------------

    def _first(self, body: bytes, more_body: bool) -> tuple[bytes, ...]:
        """Decide the framing, now that the first piece is known."""
        head = [self._head]
        is_bodiless = self._status in _BODILESS
        self._is_silent = is_bodiless or self.method == "HEAD"
        self._is_chunked = False
        if self._encoding_given:
            self._remaining = None
            self._is_chunked = True
        elif self._remaining is None and not is_bodiless:
            if not more_body:
                head.append(b"\r\ncontent-length: %d" % len(body))
            elif self._is_http_1_0:
                self.keep_alive = False
            elif not self._is_silent:
                self._is_chunked = True
                head.append(b"\r\ntransfer-encoding: chunked")
        if self.expects_continue:
            # Never told to go on, the client may or may not send its body: only a close is sure.
            self.keep_alive = False
        if not self.keep_alive:
            head.append(b"\r\nconnection: close")
        head.append(b"\r\n\r\n")
        if self._is_silent or self._is_chunked or len(body) > _JOIN_BYTES_MAX:
            return (b"".join(head), *self._framed(body, more_body))
        if self._remaining is not None:
            self._count(body, more_body)
        head.append(body)
        return (b"".join(head),)

    def _framed(self, body: bytes, more_body: bool) -> tuple[bytes, ...]:
        if self._is_silent:
            return ()
        if self._is_chunked:
            if body:
                tail = b"\r\n" if more_body else b"\r\n0\r\n\r\n"
                return (b"".join((b"%x\r\n" % len(body), body, tail)),)
            return () if more_body else (_LAST_CHUNK,)
        if self._remaining is not None:
            self._count(body, more_body)
        return (body,) if body else ()

    def _count(self, body: bytes, more_body: bool) -> None:
        """Hold the app to the length it announced; anything else would shift the next answer."""
        assert self._remaining is not None
        self._remaining -= len(body)
        if self._remaining < 0:
            raise RuntimeError("the response is longer than its Content-Length")
        if not more_body and self._remaining:
            raise RuntimeError("the response is shorter than its Content-Length")
