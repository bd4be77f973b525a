"""Takes the requests of one HTTP/1 connection apart, within their bounds. Bytes in, calls out.

Parsing is httptools'; what a head may be, how large, and what becomes of an upgrade is decided
here. A request that says what the last one said, but for its target, is not parsed again. What two
readers could take for two things is refused: a proxy in front may be the other one. What a request
means for the connection is `connection_state`, which feeds and hears this.

    IDLE -> HEAD (first byte) -> BODY (head complete) -> IDLE (body complete)
    HEAD -> OVER (upgrade to a WebSocket)    any -> OVER (refused, or told to stop)
"""

from __future__ import annotations

import enum
import re
from typing import Final, Protocol, TypeAlias

import httptools

from pylon import limits
from pylon.http.asgi import Header
from pylon.http.authority import is_authority, is_same


class Reading(enum.Enum):
    """What the next bytes belong to; the transitions stand on top of this file."""

    IDLE = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()
    OVER = enum.auto()


_IDLE: Final = Reading.IDLE
_HEAD: Final = Reading.HEAD
_BODY: Final = Reading.BODY
_OVER: Final = Reading.OVER


_LOOKED_AT: Final = frozenset((b"host", b"transfer-encoding"))
"""Headers that decide for whom a request is, and where it ends."""


_AGAIN: Final = re.compile(rb"([A-Z]+) (/[!\"$-~]*) HTTP/1\.1\r\n")
"""Request lines that need no parser: of a target in origin form, without a fragment."""


_Known: TypeAlias = tuple[bytes, str, bytes, list[Header], int]
"""A request that came alone, and whole, in one chunk: its method, twice; its head from the second
line on, as it was sent; the headers that this is; the bytes of its body."""


class RefusedError(Exception):
    """The bytes are not a request that this server takes: a status, a code and a message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message


class Sink(Protocol):
    """Who hears of the requests. The first two may raise `RefusedError`."""

    def take_head(
        self, method: str, http_version: str, target: bytes, headers: list[Header], keep_alive: bool
    ) -> None:
        """A head is complete; `target` begins with the path."""
        ...

    def take_upgrade(self) -> None:
        """The head asks for a WebSocket; nothing more is read here."""
        ...

    def take_body(self, body: bytes) -> None: ...

    def take_end(self) -> None:
        """The body is complete, also when there was none."""
        ...


class RequestReader:
    """The reader of one connection."""

    __slots__ = (
        "_chunk_bytes",
        "_head_bytes",
        "_header_bytes_max",
        "_headers",
        "_is_chunk_shared",
        "_is_upgrade",
        "_known",
        "_known_from",
        "_parser",
        "_passed",
        "_sink",
        "_takes_websockets",
        "_unseen_bytes",
        "_url",
        "reading",
        "upgrade",
    )

    def __init__(self, sink: Sink, *, header_bytes_max: int, takes_websockets: bool) -> None:
        self.reading = _IDLE
        self.upgrade: tuple[bytes, bytes] | None = None
        """The head of an upgrade to a WebSocket, and what came behind it."""
        self._sink: Sink | None = sink
        self._header_bytes_max = header_bytes_max
        self._takes_websockets = takes_websockets
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: list[Header] = []
        self._passed: list[Header] | None = None  # Of the last request: the same, most often.
        self._known: _Known | None = None
        self._known_from: list[Header] | None = None  # Headers of one that may become known.
        self._is_upgrade = False
        self._chunk_bytes = 0
        self._is_chunk_shared = False
        self._head_bytes = 0  # Of chunks before this one.
        self._unseen_bytes = 0

    def feed(self, data: bytes) -> None:
        """Bytes have come. RefusedError when they are bad; then nothing more is read."""
        parser = self._parser
        if parser is None:
            return
        if self._known is not None and self._take_again(self._known, data):
            return
        is_between = self.reading is _IDLE
        self._chunk_bytes = len(data)
        self._is_chunk_shared = False
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            rest = data[stop.args[0] :]
        except httptools.HttpParserError as error:
            self.stop()
            raise _reason(error) from None
        else:
            if self.reading is not _IDLE:
                self._bound(len(data))
            elif self._known_from is not None and is_between:
                self._know(data, self._known_from)
            return
        self._stop_at_upgrade(rest)

    def stop(self) -> None:
        """Read nothing more."""
        self.reading = _OVER
        self._parser = None
        self._sink = None  # The two know each other: let go, so that both are freed at once.
        self._headers = []

    # --- the parser calls -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.reading = _HEAD
        self._head_bytes = 0
        self._known = self._known_from = None
        self._url = b""
        if self._headers:
            self._headers = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        parser, sink = self._parser, self._sink
        assert parser is not None
        assert sink is not None
        self.reading = _BODY
        self._unseen_bytes = 0
        if (
            self._head_bytes + self._chunk_bytes > self._header_bytes_max
            or len(self._headers) > limits.HEADER_COUNT_MAX
        ) and self._is_head_too_large():
            raise _too_large()
        http_version = parser.get_http_version()
        if http_version != "1.1" and http_version != "1.0":
            text = "This server speaks HTTP/1.1"
            raise RefusedError(505, "HTTP_VERSION_NOT_SUPPORTED", text)
        headers = self._headers
        if headers != self._passed or http_version == "1.0":
            self._refuse_ambiguous(headers, http_version)
            self._passed = headers if http_version == "1.1" else None
            is_again = False
        else:
            is_again = True
        method = parser.get_method().decode("ascii")
        if method == "CONNECT":
            raise _bad("CONNECT is for proxies; this is a server")
        if not self._url.startswith(b"/"):
            hosts = [value for name, value in headers if name == b"host"]
            self._url = _origin_form(self._url, method, hosts)
        if parser.should_upgrade():
            self._is_upgrade = True
            if self._wants_websocket():
                sink.take_upgrade()
            return  # The parser stops here: see `feed`.
        target = self._url
        self._headers = []  # The new ones are trailers: nobody reads them.
        keep_alive = http_version == "1.1" and parser.should_keep_alive()
        if is_again and keep_alive and not self._is_chunk_shared:
            self._known_from = headers
        sink.take_head(method, http_version, target, headers, keep_alive)

    def on_body(self, body: bytes) -> None:
        self._unseen_bytes = 0
        sink = self._sink
        assert sink is not None
        sink.take_body(body)

    def on_message_complete(self) -> None:
        self._is_chunk_shared = True  # What follows in this chunk is another request's.
        if self._is_upgrade:
            return
        self.reading = _IDLE
        sink = self._sink
        assert sink is not None
        sink.take_end()

    # --- the same again --------------------------------------------------------------------------

    def _know(self, data: bytes, headers: list[Header]) -> None:
        """Remember the request that this chunk was, if the next may be known by its bytes."""
        self._known_from = None
        line = _AGAIN.match(data)
        body_bytes = 0
        for name, value in headers:
            if name == b"content-length":
                body_bytes = int(value)
            elif name == b"transfer-encoding":
                return
        if line is None:
            return
        rest = data[line.end() : len(data) - body_bytes]
        # A line a header and the empty one, or this is more than the head: what followed the body.
        if rest.endswith(b"\r\n\r\n") and rest.count(b"\n") == len(headers) + 1:
            method = line[1]
            self._known = method, method.decode("ascii"), rest, headers, body_bytes

    def _take_again(self, known: _Known, data: bytes) -> bool:
        """Take the chunk, if it is the known request with another target or body: two comparisons,
        where the parser calls for each header (docs/decisions/0001)."""
        method, method_name, rest, headers, body_bytes = known
        line = _AGAIN.match(data)
        if line is None or line[1] != method or not data.startswith(rest, line.end()):
            return False
        head_bytes = line.end() + len(rest)
        if len(data) != head_bytes + body_bytes or head_bytes > self._header_bytes_max:
            return False
        sink = self._sink
        assert sink is not None
        try:
            sink.take_head(method_name, "1.1", line[2], headers.copy(), True)
        except RefusedError:
            self.stop()
            raise
        if body_bytes:
            sink.take_body(data[head_bytes:])
        sink.take_end()
        return True

    # --- parts ----------------------------------------------------------------------------------

    def _refuse_ambiguous(self, headers: list[Header], http_version: str) -> None:
        """Refuse a head that does not say once, and plainly, whom it is for and where the request
        ends (RFC 9112 sections 3.2 and 6.1)."""
        looked_at = [header for header in headers if header[0] in _LOOKED_AT]
        hosts = [value for name, value in looked_at if name == b"host"]
        if len(hosts) != 1:
            if hosts or http_version != "1.0":
                raise _bad("A request names its Host once")
        elif not is_authority(hosts[0]):
            raise _bad("The Host is not a host")
        if len(looked_at) > len(hosts):
            _refuse_codings([value for name, value in looked_at if name != b"host"], http_version)

    def _wants_websocket(self) -> bool:
        return self._takes_websockets and any(
            name == b"upgrade" and value.strip().lower() == b"websocket"
            for name, value in self._headers
        )

    def _stop_at_upgrade(self, rest: bytes) -> None:
        self._is_upgrade = False
        if self._wants_websocket():
            self.upgrade = self._head_again(), rest
            self.stop()
            return
        # One to a protocol that we do not speak (h2c) is read as if it were not there. The parser
        # takes what follows such a head for the other protocol, so its body would become the next
        # request; a new parser reads the head again without the offer.
        self._headers = [header for header in self._headers if header[0] != b"upgrade"]
        head = self._head_again()
        self._parser = httptools.HttpRequestParser(self)
        self.feed(head + rest)

    def _head_again(self) -> bytes:
        """The parsed head as bytes."""
        parser = self._parser
        assert parser is not None
        version = parser.get_http_version().encode()
        head = [parser.get_method(), b" ", self._url, b" HTTP/", version, b"\r\n"]
        for name, value in self._headers:
            head += (name, b": ", value, b"\r\n")
        head.append(b"\r\n")
        return b"".join(head)

    def _bound(self, chunk_bytes: int) -> None:
        """A request has not come to its end with this chunk: hold it to its size."""
        if self.reading is _HEAD:
            if not self._is_chunk_shared:
                self._head_bytes += chunk_bytes
                self._chunk_bytes = 0
            if self._is_head_too_large():
                self.stop()
                raise _too_large()
            return
        # Trailers and chunk extensions reach no callback of ours.
        self._unseen_bytes += chunk_bytes
        if self._unseen_bytes > self._header_bytes_max + chunk_bytes:
            self.stop()
            raise _bad("The body's framing is too large")

    def _is_head_too_large(self) -> bool:
        """Whether the head that is being read, or has been, breaks its bounds."""
        if len(self._headers) > limits.HEADER_COUNT_MAX:
            return True
        size_max = self._header_bytes_max
        if self._head_bytes + self._chunk_bytes <= size_max:
            return False  # All that has come since it began is less.
        exact = sum(len(name) + len(value) + 4 for name, value in self._headers)
        return self._head_bytes > size_max or exact + len(self._url) > size_max


def _reason(error: httptools.HttpParserError) -> BaseException:
    """Why the parser stopped: the refusal, or fault, of a call of ours; else the bytes."""
    if isinstance(error, httptools.HttpParserCallbackError) and error.__context__ is not None:
        return error.__context__
    return _bad("The request is not valid HTTP/1.1")


def _bad(message: str) -> RefusedError:
    return RefusedError(400, "BAD_REQUEST", message)


def _too_large() -> RefusedError:
    return RefusedError(431, "HEADERS_TOO_LARGE", "The request head is too large")


def _refuse_codings(values: list[bytes], http_version: str) -> None:
    """Refuse a body that is not simply in chunks."""
    codings = [coding.strip(b" \t").lower() for coding in b",".join(values).split(b",")]
    if http_version == "1.0":
        raise _bad("HTTP/1.0 knows no Transfer-Encoding")
    if codings != [b"chunked"]:
        if codings[-1] != b"chunked" or codings.count(b"chunked") > 1 or b"" in codings:
            raise _bad("The Transfer-Encoding is not valid")
        text = "No Transfer-Encoding but chunked is known here"
        raise RefusedError(501, "TRANSFER_ENCODING_UNKNOWN", text)


def _origin_form(url: bytes, method: str, hosts: list[bytes]) -> bytes:
    """Path and query of a target that is not in origin form (`http://host/path`, `*`)."""
    if url == b"*" and method == "OPTIONS":
        return url
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserError:
        raise _bad("The request target is not valid") from None
    scheme, rest = url.split(b"://", 1) if b"://" in url else (b"", b"")
    authority = re.split(rb"[/?#]", rest, maxsplit=1)[0]
    if scheme.lower() not in (b"http", b"https") or not is_authority(authority):
        raise _bad("The request target is not valid")
    if hosts and not is_same(scheme.lower(), authority, hosts[0]):
        raise _bad("The request target names another host than Host does")
    path = parsed.path or b"/"
    return path + b"?" + parsed.query if parsed.query is not None else path
