"""One HTTP/1 connection of a client: parsing, bounds, keep-alive, pipelining and hand-over.

It takes the place of uvicorn's httptools protocol (same constructor, so `http=HttpConnection`
works under a plain uvicorn too). It feeds `exchange.Exchange`, which talks to the app, and hands
WebSocket upgrades to `config.ws_protocol_class`. Made by the listening socket, once per client.

    IDLE -> HEAD (first byte) -> BODY (head parsed, app started) -> IDLE (both ends complete)
    HEAD, BODY -> failed (bad bytes: answered 4xx after what is in flight, then closed)

One timer per connection keeps all the times: it is re-armed only when it fires or when a head
arrives in pieces, so an ordinary request costs no timer operation.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.server import ServerState

from pylon import limits
from pylon.http.asgi import Scope
from pylon.http.exchange import Exchange, error_response
from pylon.http.listener import MAIN_DOOR, ASGIApp, bounds_of, door_of, local_of, peer_of

_NEVER: Final = float("inf")
_TICK: Final = 0.01
"""Timers may fire this much early by the loop's clock."""


class _RefusedError(Exception):
    """Stops the parser from inside a callback; the answer has been given already."""


class HttpConnection(asyncio.Protocol):
    """The protocol of one connection. Spec 01 section 2."""

    __slots__ = (
        "_active",
        "_app",
        "_app_state",
        "_bounds",
        "_chunk_bytes",
        "_client",
        "_config",
        "_connections",
        "_deadline",
        "_door",
        "_drain_event",
        "_farewell",
        "_head_bytes",
        "_head_timed",
        "_headers",
        "_in_head",
        "_incoming",
        "_is_chunk_shared",
        "_is_upgrade",
        "_loop",
        "_now",
        "_parser",
        "_queue",
        "_read_paused",
        "_scheme",
        "_server",
        "_server_state",
        "_stopping",
        "_timer",
        "_unseen_bytes",
        "_unsent_bytes",
        "_url",
        "tasks",
        "transport",
        "write_paused",
    )

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self._config = config
        self._app: ASGIApp = config.loaded_app
        self._bounds = bounds_of(config)
        self._door = door_of(config)
        self._server_state = server_state
        self._app_state = app_state
        self._connections: set[Any] = server_state.connections
        self.tasks = server_state.tasks
        self._loop = _loop or asyncio.get_running_loop()
        self._now = self._loop.time

        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int | None] | None = None
        self._scheme = "http"
        self._parser: httptools.HttpRequestParser | None = None

        # The request that is being parsed.
        self._in_head = False
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._is_chunk_shared = False
        self._head_bytes = 0
        self._chunk_bytes = 0
        self._is_upgrade = False
        self._incoming: Exchange | None = None
        self._unseen_bytes = 0

        # The request whose app is running, those behind it, and the last word if there is one.
        self._active: Exchange | None = None
        self._queue: deque[Exchange] | None = None
        self._farewell: bytes | None = None
        self._stopping = False

        self.write_paused = False
        self._drain_event: asyncio.Event | None = None
        self._read_paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = _NEVER
        self._head_timed = True
        self._unsent_bytes = 0

    # --- the transport calls --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do the same but derive from nothing.
        transport = cast("asyncio.Transport", transport)
        self.transport = transport
        if len(self._connections) >= self._bounds.connections_max:
            transport.abort()
            return
        self._connections.add(self)
        self._client = peer_of(transport)
        self._server = local_of(transport)
        if transport.get_extra_info("sslcontext"):
            self._scheme = "https"
        self._parser = httptools.HttpRequestParser(self)
        seconds = self._bounds.head_read_seconds_max
        self._deadline = self._now() + seconds
        self._arm(seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._parser = None
        if self._active is not None:
            self._active.disconnect()
        self._queue = None
        self._incoming = None
        self.resume_writing()

    def eof_received(self) -> None:
        """A half-closed client is answered no more: the transport closes itself."""

    def pause_writing(self) -> None:
        self.write_paused = True
        self._watch_writing()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._drain_event is not None:
            self._drain_event.set()
            self._drain_event = None

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            return
        self._chunk_bytes = len(data)
        self._is_chunk_shared = False
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            rest = data[stop.args[0] :]
            if self._is_upgrade:
                self._hand_over(rest)
            else:
                self._ignore_upgrade(rest)
            return
        except httptools.HttpParserError:
            if self._parser is not None:  # Else a callback has refused already.
                self._fail(400, "BAD_REQUEST", "The request is not valid HTTP/1.1")
            return
        if self._in_head:
            self._bound_head()
        elif self._incoming is not None:
            # Trailers and chunk extensions reach no callback of ours; they are bounded here.
            self._unseen_bytes += len(data)
            if self._unseen_bytes > self._bounds.header_bytes_max + len(data):
                self._fail(400, "BAD_REQUEST", "The body's framing is too large")

    # --- the parser calls -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._url = b""
        if self._headers:
            self._headers = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        self._in_head = False
        self._deadline = _NEVER
        if self._is_head_too_large():
            self._refuse(431, "HEADERS_TOO_LARGE", "The request head is too large")
        http_version = parser.get_http_version()
        if http_version not in ("1.1", "1.0"):
            self._refuse(505, "HTTP_VERSION_NOT_SUPPORTED", "This server speaks HTTP/1.1")
        method = parser.get_method().decode("ascii")
        if parser.should_upgrade():
            if method == "CONNECT":
                self._refuse(400, "BAD_REQUEST", "CONNECT is for proxies; this is a server")
            if self._wants_websocket():
                if self._active is not None:
                    self._refuse(400, "BAD_REQUEST", "An upgrade must be a connection's last word")
                self._is_upgrade = True
            return  # The parser stops here: see `data_received`.
        scope = self._scope(method, http_version)
        exchange = Exchange(
            self,
            scope,
            keep_alive=not self._stopping and http_version == "1.1" and parser.should_keep_alive(),
            expects_continue=self._wants_continue(),
            is_http_1_0=http_version == "1.0",
        )
        self._incoming = exchange
        self._unseen_bytes = 0
        self._headers = []  # From here on trailers, which nothing of ours reads.
        if self._active is None:
            self._active = exchange
            exchange.start(self._app, self._loop)
        else:
            self._enqueue(exchange)

    def on_body(self, body: bytes) -> None:
        self._unseen_bytes = 0
        exchange = self._incoming
        if exchange is None or exchange.complete:
            return
        if exchange.add_body(body) > limits.REQUEST_BUFFER_BYTES:
            self._pause_reading()

    def on_message_complete(self) -> None:
        self._is_chunk_shared = True  # What follows in this chunk is another request's.
        exchange = self._incoming
        if exchange is None:
            return
        self._incoming = None
        exchange.end_body()
        if exchange.complete and self._active is None:
            # The answer was early and the body has now been thrown away: a usable connection.
            self._become_idle()

    # --- the exchange calls ---------------------------------------------------------------------

    def now(self) -> float:
        """The loop's time."""
        return self._now()

    async def drained(self) -> None:
        """Return when the client has taken enough of what was written, or is gone."""
        while self.write_paused:
            if self._drain_event is None:
                self._drain_event = asyncio.Event()
            await self._drain_event.wait()

    def resume_reading(self) -> None:
        """The app waits for more of the body."""
        if self._read_paused and not self.transport.is_closing():
            self._read_paused = False
            self.transport.resume_reading()

    def exchange_complete(self, exchange: Exchange) -> None:
        """The last byte of a response is written: close, linger, or go on with the next one."""
        self._server_state.total_requests += 1
        self._active = None
        unread = exchange is self._incoming
        if unread and (exchange.expects_continue or not exchange.keep_alive):
            self._incoming = None
            self._linger()
        elif not exchange.keep_alive:
            self._close()
        elif unread:
            self._linger()
        elif self._queue:
            self._active = self._queue.popleft()
            self._active.start(self._app, self._loop)
        elif self._farewell is not None:
            self.transport.write(self._farewell)
            self._close()
        else:
            self._become_idle()

    # --- uvicorn and pylon.server call ----------------------------------------------------------

    def shutdown(self) -> None:
        """The server stops: idle connections close now, busy ones after their answer."""
        self._stopping = True
        if self._active is None and self._incoming is None:
            self._close()
            return
        for exchange in (self._active, *(self._queue or ())):
            if exchange is not None:
                exchange.drain()

    # --- parts ----------------------------------------------------------------------------------

    def _scope(self, method: str, http_version: str) -> Scope:
        url = self._url
        if not url.startswith(b"/"):
            url = self._path_of(url, method)
        raw_path, _, query = url.partition(b"?")
        try:
            path = raw_path.decode("ascii")
        except UnicodeDecodeError:
            self._refuse(400, "BAD_REQUEST", "The request target is not ASCII")
        if "%" in path:
            path = unquote(path)
        root_path = self._config.root_path
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": http_version,
            "method": method,
            "scheme": self._scheme,
            "server": self._server,
            "client": self._client,
            "root_path": root_path,
            "path": root_path + path if root_path else path,
            "raw_path": root_path.encode() + raw_path if root_path else raw_path,
            "query_string": query,
            "headers": self._headers,
            "state": self._app_state.copy(),
        }
        if self._door != MAIN_DOOR:
            scope["pylon.door"] = self._door
        return scope

    def _path_of(self, url: bytes, method: str) -> bytes:
        """Path and query of a target that is not in origin form (`http://host/path`, `*`)."""
        if url == b"*" and method == "OPTIONS":
            return url
        try:
            parsed = httptools.parse_url(url)
        except httptools.HttpParserError:
            self._refuse(400, "BAD_REQUEST", "The request target is not valid")
        path = parsed.path or b"/"
        return path + b"?" + parsed.query if parsed.query is not None else path

    def _wants_websocket(self) -> bool:
        return self._config.ws_protocol_class is not None and any(
            name == b"upgrade" and value.strip().lower() == b"websocket"
            for name, value in self._headers
        )

    def _wants_continue(self) -> bool:
        for name, value in self._headers:
            if name == b"expect":
                if value.strip().lower() != b"100-continue":
                    self._refuse(417, "EXPECTATION_FAILED", "Only 100-continue can be expected")
                return True
        return False

    def _enqueue(self, exchange: Exchange) -> None:
        if self._queue is None:
            self._queue = deque()
        if len(self._queue) >= limits.PIPELINED_REQUESTS_MAX:
            self._incoming = None
            self._refuse(429, "TOO_MANY_PIPELINED", "Wait for answers before asking more")
        self._queue.append(exchange)
        self._pause_reading()

    def _hand_over(self, rest: bytes) -> None:
        """Give the socket to the WebSocket protocol, with the head as it was sent."""
        protocol_class: Any = self._config.ws_protocol_class
        head = self._head_again()
        protocol = protocol_class(
            config=self._config, server_state=self._server_state, app_state=self._app_state
        )
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._parser = None
        self._headers = []
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        protocol.data_received(head)
        if rest:
            protocol.data_received(rest)

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read a request that offers a protocol we do not speak (h2c) as if it did not.

        The parser takes what follows such a head for another protocol, so its body would become
        the next request; a new parser reads the head again without the offer.
        """
        self._headers = [header for header in self._headers if header[0] != b"upgrade"]
        head = self._head_again()
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)

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

    def _refuse(self, status: int, code: str, message: str) -> Any:
        """Fail from inside a parser callback."""
        self._fail(status, code, message)
        raise _RefusedError

    def _fail(self, status: int, code: str, message: str) -> None:
        """Bad bytes: answer what can still be answered, in order, and close."""
        self._parser = None
        broken, self._incoming = self._incoming, None
        answer = error_response(status, code, message)
        if broken is not None and broken is self._active:
            self._active = None
            head_sent = broken.head_sent
            broken.disconnect()
            if head_sent:
                self.transport.abort()
                return
        elif broken is not None and self._queue and broken is self._queue[-1]:
            self._queue.pop()
        if self._active is not None:
            self._farewell = answer
            self._pause_reading()
            return
        if broken is None or not broken.complete:
            self.transport.write(answer)
        self._linger()

    def _is_head_too_large(self) -> bool:
        """Whether the head that is being read, or has been, breaks its bounds."""
        if len(self._headers) > limits.HEADER_COUNT_MAX:
            return True
        size_max = self._bounds.header_bytes_max
        if self._head_bytes + self._chunk_bytes <= size_max:
            return False  # Nearly always: all that has come since it began is less.
        exact = sum(len(name) + len(value) + 4 for name, value in self._headers)
        return self._head_bytes > size_max or exact + len(self._url) > size_max

    def _bound_head(self) -> None:
        """A head came in pieces: hold it to its size and time."""
        if not self._is_chunk_shared:
            self._head_bytes += self._chunk_bytes
            self._chunk_bytes = 0
        if self._is_head_too_large():
            self._fail(431, "HEADERS_TOO_LARGE", "The request head is too large")
            return
        if not self._head_timed:
            self._head_timed = True
            self._deadline = self._now() + self._bounds.head_read_seconds_max
            self._arm(self._bounds.head_read_seconds_max)

    def _become_idle(self) -> None:
        """Wait for the next request, which may have begun to arrive already."""
        self._head_timed = False
        if self._stopping:
            self._close()
            return
        self.resume_reading()
        if self._in_head:
            self._head_timed = True
            self._deadline = self._now() + self._bounds.head_read_seconds_max
            self._arm(self._bounds.head_read_seconds_max)
            return
        self._deadline = self._now() + self._bounds.keep_alive_seconds

    def _linger(self) -> None:
        """Throw away what the client still sends, for a while.

        A socket closed with unread bytes is reset, and the reset can overtake the answer.
        """
        self.resume_reading()
        if self._parser is None or self._incoming is None:
            self._parser = None
            if self.transport.can_write_eof():
                self.transport.write_eof()
        seconds = self._bounds.linger_seconds_max
        self._deadline = self._now() + seconds
        self._arm(seconds)

    def _pause_reading(self) -> None:
        if not self._read_paused and not self.transport.is_closing():
            self._read_paused = True
            self.transport.pause_reading()

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
        self._watch_writing()

    # --- time -----------------------------------------------------------------------------------

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._on_timer)

    def _watch_writing(self) -> None:
        """From now on the client must take some bytes in every interval."""
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._arm(self._bounds.stall_seconds_max)

    def _on_timer(self) -> None:
        self._timer = None
        if self.write_paused or self.transport.is_closing():
            if self.transport.get_write_buffer_size() >= self._unsent_bytes:
                self.transport.abort()
            else:
                self._watch_writing()
            return
        wait = self._deadline - self._now()
        if wait <= _TICK:
            self._close()
            return
        self._arm(min(wait, self._bounds.keep_alive_seconds))
