"""One WebSocket of a client: an ASGI websocket server that can also be written to in raw frames.

Parsing and the closing rules are websockets' sans-IO `ServerProtocol`; sockets, times, bounds and
ASGI are here. Made by `connection.HttpConnection` (or a plain uvicorn, `ws=WebSocketConnection`)
with the bytes of the upgrade request. The live hub finds `RawFrames` in
`scope["extensions"]["pylon.frames"]`.

    CONNECTING -> OPEN (websocket.accept) -> CLOSING (close frame sent or received) -> LOST
    CONNECTING -> CLOSING (refused: an HTTP answer instead)

No task of its own: one timer serves the handshake, then the pings, then the close. A second one
runs only while a client that sends too many fragments or pings is left unread.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from typing import Any, Final, cast
from urllib.parse import unquote

import uvicorn
from uvicorn.server import ServerState
from websockets.datastructures import Headers
from websockets.exceptions import ProtocolError
from websockets.extensions import Extension
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from pylon import limits
from pylon.http.asgi import Message, Scope
from pylon.http.deflate import OFFERS, compressed_text_frame
from pylon.http.exchange import error_response, response_head
from pylon.http.frames import binary_frame, clip_reason, ping_frame, text_frame
from pylon.http.listener import MAIN_DOOR, ASGIApp, bounds_of, door_of, local_of, peer_of

log = logging.getLogger("pylon.http")

# Its notices (a line for each open and close) are not ours to print.
_wire_log = logging.getLogger("pylon.http.wire")
_wire_log.setLevel(logging.WARNING)

FRAMES_EXTENSION: Final = "pylon.frames"

_SLICE_BYTES: Final = 2_048
"""Input is parsed in pieces of this size, so that a full inbox or a spent allowance stops a flood
of tiny frames: some 340 of the smallest, 2 ms of the loop. A compressed piece becomes 2 MiB of
messages at the most."""

_DENIAL_BYTES_MAX: Final = 1_048_576

_CONTROL: Final = (Opcode.PING, Opcode.PONG, Opcode.CLOSE)

_NORMAL: Final = 1000
_GOING_AWAY: Final = 1001
_NO_CODE: Final = 1005
_LOST: Final = 1006
_NOT_UTF8: Final = 1007
_APP_FAILED: Final = 1011


class SocketClosedError(ConnectionError):
    """`send` on a WebSocket that is closing or gone (ASGI asks for an OSError)."""


class _State(enum.Enum):
    CONNECTING = enum.auto()
    DENYING = enum.auto()
    OPEN = enum.auto()
    CLOSING = enum.auto()


class _Wire(ServerProtocol):
    """websockets' protocol without an opinion on subprotocols: the app chooses, byte for byte."""

    def process_subprotocol(self, headers: Any) -> None:
        return None

    def process_extensions(self, headers: Headers) -> tuple[str | None, list[Extension]]:
        """Clients that have none to offer may say so with an empty list."""
        if not any(value.strip() for value in headers.get_all("Sec-WebSocket-Extensions")):
            return None, []
        return super().process_extensions(headers)


class RawFrames:
    """Raw framed writes on one WebSocket; usable once `websocket.accept` has been sent."""

    __slots__ = ("_socket",)

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket

    @property
    def closed(self) -> bool:
        """Whether the socket is closing or gone; writes go nowhere then."""
        return self._socket.state is not _State.OPEN

    @property
    def deflates(self) -> bool:
        """Whether the client takes compressed messages (`pylon.http.deflate`)."""
        return self._socket.deflates

    def write(self, frames: bytes) -> None:
        """Write whole frames (see `pylon.http.frames`) in one go; silently nothing once closed.

        Never waits: the caller watches `backlog`.
        """
        socket = self._socket
        if socket.state is _State.OPEN:
            socket.written += len(frames)
            socket.transport.write(frames)

    def written(self) -> int:
        """Bytes written in all; pings and the like are not counted."""
        return self._socket.written

    def backlog(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return self._socket.transport.get_write_buffer_size()

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame; the socket is cut in bounded time even if nobody answers."""
        self._socket.start_close(code, reason)


class WebSocketConnection(asyncio.Protocol):
    """The protocol of one WebSocket. Spec 03 section 4.1."""

    __slots__ = (
        "_allowance",
        "_allowance_at",
        "_app",
        "_app_state",
        "_bounds",
        "_client",
        "_config",
        "_connections",
        "_denial",
        "_door",
        "_drain_event",
        "_frames",
        "_goodbye",
        "_held",
        "_inbox",
        "_inbox_bytes",
        "_is_text",
        "_loop",
        "_message",
        "_pongs_missed",
        "_read_paused",
        "_receiver",
        "_resting",
        "_server",
        "_task",
        "_tasks",
        "_timer",
        "_upgrade_headers",
        "_wire",
        "_write_paused",
        "deflates",
        "scope",
        "state",
        "transport",
        "written",
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
        self._app_state = app_state
        self._bounds = bounds_of(config)
        self._door = door_of(config)
        self._connections: set[Any] = server_state.connections
        self._tasks = server_state.tasks
        self._loop = _loop or asyncio.get_running_loop()

        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.state = _State.CONNECTING
        self.scope: Scope | None = None
        self.deflates = False
        self.written = 0
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int | None] | None = None
        self._wire = _Wire(
            extensions=OFFERS if self._bounds.deflate_level else None,
            max_size=self._bounds.message_bytes_max,
            logger=_wire_log,
        )
        self._upgrade_headers: list[tuple[str, str]] = []
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pongs_missed = 0
        self._denial: tuple[int, list[tuple[bytes, bytes]], bytearray] | None = None

        # From the client to the app.
        self._held: bytes | None = None
        self._message: bytes | bytearray | None = None
        self._is_text = False
        self._inbox: list[Message] = []
        self._inbox_bytes = 0
        self._receiver: asyncio.Future[None] | None = None
        self._goodbye: Message | None = None
        self._read_paused = False
        self._allowance = float(limits.SOCKET_MINOR_FRAMES_BURST)
        self._allowance_at = self._loop.time()
        self._resting: asyncio.TimerHandle | None = None

        # From the app to the client.
        self._write_paused = False
        self._drain_event: asyncio.Event | None = None

    # --- the transport calls --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._connections.add(self)
        self._client = peer_of(transport)
        self._server = local_of(transport)
        self._arm(self._bounds.handshake_seconds_max)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        self.state = _State.CLOSING
        self._say_goodbye(_LOST)
        self._held = None
        self.resume_writing()

    def eof_received(self) -> None:
        """The client is gone; the transport closes itself."""

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._drain_event is not None:
            self._drain_event.set()
            self._drain_event = None
        self._go_on_reading()

    def data_received(self, data: bytes) -> None:
        self._pongs_missed = 0
        if self._held is not None:
            self._held += data
            return
        self._parse(data)

    # --- uvicorn and pylon.server call ----------------------------------------------------------

    def shutdown(self) -> None:
        """The server stops: 1001 for an open socket, 503 for one that is still asking."""
        if self.state is _State.OPEN:
            self.start_close(_GOING_AWAY, "server is stopping")
        elif self.state is not _State.CLOSING:
            self._deny(error_response(503, "STOPPING", "The server is stopping"))

    # --- from the client ------------------------------------------------------------------------

    def _parse(self, data: bytes) -> None:
        position = 0
        while position < len(data):
            if self._is_full():
                self._held = data[position:]
                if not self._read_paused and not self.transport.is_closing():
                    self._read_paused = True
                    self.transport.pause_reading()
                return
            self._wire.receive_data(data[position : position + _SLICE_BYTES])
            position += _SLICE_BYTES
            self._take_events()

    def _is_full(self) -> bool:
        """Whether the client must wait: for the app to accept, to receive, or to read pongs; or
        because it has sent too many frames that say nothing."""
        if self._resting is not None:
            return True
        if self.state is _State.CLOSING:
            return False
        return (
            (self.state is not _State.OPEN and self.scope is not None)
            or self._write_paused
            or self._inbox_bytes >= limits.SOCKET_INBOX_BYTES_MAX
            or len(self._inbox) >= limits.SOCKET_INBOX_MESSAGES_MAX
        )

    def _go_on_reading(self) -> None:
        if self._held is not None and not self._is_full():
            held, self._held = self._held, None
            self._parse(held)
        if self._held is None and self._read_paused and not self.transport.is_closing():
            self._read_paused = False
            self.transport.resume_reading()

    def _take_events(self) -> None:
        wire = self._wire
        minor = 0
        for event in wire.events_received():
            if isinstance(event, Request):
                self._start_app(event)
            elif isinstance(event, Frame):
                self._take_frame(event)
                minor += not event.fin or event.opcode in _CONTROL
        if minor:
            self._charge(minor)
        if self.state is _State.CONNECTING:
            if self.scope is None and wire.handshake_exc is not None:
                self._deny(error_response(400, "BAD_REQUEST", "The upgrade request is not valid"))
            return
        self._flush_wire()
        if wire.parser_exc is not None and wire.close_sent is not None:
            self._say_goodbye(wire.close_sent.code, wire.close_sent.reason)
            if self.state is _State.OPEN:
                self._linger()

    def _charge(self, minor: int) -> None:
        """Count frames that complete no message; a client that sends too many is read later.

        The app never sees them, so nothing else slows their sender down.
        """
        now = self._loop.time()
        rate = float(limits.SOCKET_MINOR_FRAMES_PER_SECOND)
        grown = self._allowance + (now - self._allowance_at) * rate
        self._allowance = min(grown, float(limits.SOCKET_MINOR_FRAMES_BURST)) - minor
        self._allowance_at = now
        if self._allowance < 0 and self._resting is None and not self.transport.is_closing():
            self._resting = self._loop.call_later(-self._allowance / rate, self._rested)

    def _rested(self) -> None:
        self._resting = None
        self._go_on_reading()

    def _take_frame(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.PING or opcode is Opcode.PONG:
            return  # Answered by the wire; that anything came at all was noted.
        if opcode is Opcode.CLOSE:
            self._take_close()
            return
        if self.state is not _State.OPEN:
            return
        if opcode is Opcode.CONT:
            # One growing buffer, not a list: fragments may be tiny and many.
            if not isinstance(self._message, bytearray):
                self._message = bytearray(self._message or b"")
            self._message += frame.data
        else:
            self._is_text = opcode is Opcode.TEXT
            self._message = bytes(frame.data)
        if frame.fin:
            self._take_message()

    def _take_message(self) -> None:
        data, self._message = self._message or b"", None
        message: Message
        if self._is_text:
            try:
                message = {"type": "websocket.receive", "text": data.decode()}
            except UnicodeDecodeError:
                self._say_goodbye(_NOT_UTF8, "text must be UTF-8")
                self.start_close(_NOT_UTF8, "text must be UTF-8")
                return
        else:
            message = {"type": "websocket.receive", "bytes": bytes(data)}
        self._inbox_bytes += _size(message)
        self._inbox.append(message)
        self._wake()

    def _take_close(self) -> None:
        """The client closed, or answered our close: nothing is left to do but to cut."""
        self._flush_wire()
        received = self._wire.close_rcvd
        assert received is not None
        self._say_goodbye(received.code, received.reason)
        self._cut()

    def _wake(self) -> None:
        receiver = self._receiver
        if receiver is not None and not receiver.done():
            receiver.set_result(None)

    def _say_goodbye(self, code: int, reason: str = "") -> None:
        """What `receive` says after the last message; the first word counts."""
        if self._goodbye is None:
            self._goodbye = {"type": "websocket.disconnect", "code": code, "reason": reason}
        self._wake()

    # --- handshake ------------------------------------------------------------------------------

    def _start_app(self, request: Request) -> None:
        response = self._wire.accept(request)
        if response.status_code != 101:
            extra = [(b"sec-websocket-version", b"13")]
            if response.status_code == 405:
                extra.append((b"allow", b"GET"))
            text = "The upgrade request is not valid"
            self._deny(error_response(response.status_code, "BAD_REQUEST", text, *extra))
            return
        self._upgrade_headers = list(response.headers.raw_items())
        self.deflates = bool(self._wire.extensions)
        self.scope = self._scope(request)
        self._inbox.append({"type": "websocket.connect"})
        self._task = self._loop.create_task(self._run())
        self._tasks.add(self._task)

    def _scope(self, request: Request) -> Scope:
        headers = [
            (name.lower().encode("ascii"), _header_bytes(value))
            for name, value in request.headers.raw_items()
        ]
        offered = [value for name, value in headers if name == b"sec-websocket-protocol"]
        subprotocols = [part.strip().decode("latin-1") for part in b",".join(offered).split(b",")]
        raw_path, _, query = request.path.partition("?")
        root_path = self._config.root_path
        is_secure = bool(self.transport.get_extra_info("sslcontext"))
        scope: Scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if is_secure else "ws",
            "server": self._server,
            "client": self._client,
            "root_path": root_path,
            "path": root_path + unquote(raw_path),
            "raw_path": (root_path + raw_path).encode("ascii"),
            "query_string": query.encode("ascii"),
            "headers": headers,
            "subprotocols": [part for part in subprotocols if part],
            "state": self._app_state.copy(),
            "extensions": {"websocket.http.response": {}, FRAMES_EXTENSION: RawFrames(self)},
        }
        if self._door != MAIN_DOOR:
            scope["pylon.door"] = self._door
        return scope

    def _accept(self, message: Message) -> None:
        headers = [
            (name.lower().encode(), value.encode("latin-1"))
            for name, value in self._upgrade_headers
            if name.lower() != "date"
        ]
        subprotocol = message.get("subprotocol")
        if subprotocol is not None:
            headers.append((b"sec-websocket-protocol", subprotocol.encode("latin-1")))
        headers += message.get("headers", ())
        head = response_head(101, headers)
        self._upgrade_headers = []
        if self.transport.is_closing():
            return
        self.transport.write(head)
        self._wire.state = OPEN
        self.state = _State.OPEN
        self._arm(self._bounds.ping_seconds)
        self._go_on_reading()

    def _deny(self, answer: bytes) -> None:
        """Answer the upgrade with an HTTP response."""
        self.state = _State.CLOSING
        self._say_goodbye(_LOST)
        self._held = None
        if not self.transport.is_closing():
            self.transport.write(answer)
        self._cut()

    # --- ASGI -----------------------------------------------------------------------------------

    async def _receive(self) -> Message:
        while not self._inbox:
            if self._goodbye is not None:
                return self._goodbye
            if self._receiver is not None:
                raise RuntimeError("only one task may receive from a WebSocket")
            self._receiver = self._loop.create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None
        message = self._inbox.pop(0)
        self._inbox_bytes -= _size(message)
        if self._read_paused:
            self._go_on_reading()
        return message

    async def _send(self, message: Message) -> None:
        """Accept, send, close or deny. Waits while the client is slow; OSError once closed."""
        if self._write_paused:
            await self._drained()
        kind = message["type"]
        if self.state is _State.OPEN:
            if kind == "websocket.send":
                data = message.get("bytes")
                if data is not None:
                    self.transport.write(binary_frame(data))
                elif self.deflates:
                    text = message["text"].encode()
                    self.transport.write(compressed_text_frame(text, self._bounds.deflate_level))
                else:
                    self.transport.write(text_frame(message["text"].encode()))
            elif kind == "websocket.close":
                self.start_close(message.get("code", _NORMAL), message.get("reason") or "")
            else:
                raise RuntimeError(f"unexpected ASGI message {kind!r} on an open WebSocket")
        elif self.state is _State.CONNECTING:
            self._answer(kind, message)
        elif self.state is _State.DENYING:
            self._add_denial(kind, message)
        elif kind != "websocket.close":
            raise SocketClosedError("the WebSocket is closed")

    def _answer(self, kind: str, message: Message) -> None:
        if kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.close":
            self._deny(error_response(403, "FORBIDDEN", "The WebSocket was refused"))
        elif kind == "websocket.http.response.start":
            self.state = _State.DENYING
            self._denial = (message["status"], list(message.get("headers", ())), bytearray())
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r} before websocket.accept")

    def _add_denial(self, kind: str, message: Message) -> None:
        assert self._denial is not None
        status, headers, body = self._denial
        if kind != "websocket.http.response.body":
            raise RuntimeError(f"unexpected ASGI message {kind!r} while refusing a WebSocket")
        body += message.get("body", b"")
        if len(body) > _DENIAL_BYTES_MAX:
            raise RuntimeError("the answer that refuses a WebSocket is too large")
        if message.get("more_body", False):
            return
        self._denial = None
        dropped = (b"content-length", b"connection", b"transfer-encoding")
        headers = [(name, value) for name, value in headers if name.lower() not in dropped]
        headers += [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        self._deny(response_head(status, headers) + bytes(body))

    async def _drained(self) -> None:
        while self._write_paused:
            if self._drain_event is None:
                self._drain_event = asyncio.Event()
            await self._drain_event.wait()

    async def _run(self) -> None:
        """The app's task: the last place that meets its failure, so it logs it and closes 1011."""
        assert self.scope is not None
        code = _NORMAL
        try:
            await self._app(self.scope, self._receive, self._send)
        except SocketClosedError:
            pass
        except asyncio.CancelledError:
            code = _GOING_AWAY
            raise
        except Exception:
            log.exception("the app failed on a WebSocket: %s", self.scope["path"])
            code = _APP_FAILED
        finally:
            if self._task is not None:
                self._tasks.discard(self._task)
            if self.state is _State.OPEN:
                self.start_close(code)
            elif self.state is not _State.CLOSING:
                self._deny(error_response(500, "INTERNAL", "Internal server error"))

    # --- closing --------------------------------------------------------------------------------

    def start_close(self, code: int, reason: str = "") -> None:
        """Send a close frame and wait a bounded time for the client's. Does nothing when closed."""
        if self.state is not _State.OPEN:
            return
        # It is closed already where the bytes behind a bad message were a close frame or bad too.
        if self._wire.state is OPEN:
            try:
                self._wire.send_close(code, clip_reason(reason))
            except ProtocolError:
                raise ValueError(f"close code {code} must not be sent") from None
        self._flush_wire()
        self._say_goodbye(code, reason)
        self._linger()

    def _linger(self) -> None:
        """Throw away what the client still sends until it closes, or for a bounded time.

        A socket closed with unread bytes is reset, and the reset can overtake the close frame.
        """
        self.state = _State.CLOSING
        self._message = None
        self._arm(self._bounds.close_seconds_max)
        if self._drain_event is not None:
            self._drain_event.set()
            self._drain_event = None
            self._write_paused = False
        if self._wire.eof_sent and self.transport.can_write_eof():
            self.transport.write_eof()
        self._go_on_reading()

    def _cut(self) -> None:
        """Close once what is written has gone out, or after a bounded time."""
        self.state = _State.CLOSING
        if not self.transport.is_closing():
            self.transport.close()
            self._arm(self._bounds.close_seconds_max)

    def _flush_wire(self) -> None:
        output = b"".join(self._wire.data_to_send())
        if output and not self.transport.is_closing():
            self.transport.write(output)

    # --- time -----------------------------------------------------------------------------------

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self.state is _State.CLOSING:
            self.transport.abort()
        elif self.state is not _State.OPEN:
            self._deny(
                error_response(503, "HANDSHAKE_TIMEOUT", "The server did not answer in time")
            )
        else:
            self._ping()

    def _ping(self) -> None:
        """Look for a sign of life. A client whose bytes we leave unread is not to blame."""
        self._arm(self._bounds.ping_seconds)
        if self._read_paused and not self._write_paused:
            self._pongs_missed = 0
        elif self._pongs_missed >= limits.SOCKET_PONGS_MISSED_MAX:
            self.start_close(_APP_FAILED, "no answer to pings")
            return
        self._pongs_missed += 1
        self.transport.write(ping_frame())


def _header_bytes(value: str) -> bytes:
    # websockets 17 decodes header values as ISO-8859-1, earlier ones with surrogate escapes.
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("ascii", errors="surrogateescape")


def _size(message: Message) -> int:
    return len(message.get("text") or message.get("bytes") or b"")
