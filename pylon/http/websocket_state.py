"""One WebSocket as decisions: bytes and times in; messages, bytes and wishes out. No I/O.

Frames are taken apart and answered by websockets' sans-IO `ServerProtocol`; when to read, what
waits for the app, pings, and how it all ends is decided here. Driven by `websocket`, which gives
the app what it may `take`; when `has_wishes`, it writes `take_output`, reads while `is_reading`,
comes back at `due` and ends the socket by `ending`.

    HANDSHAKE -> ASKED                     the upgrade request is whole and valid
    ASKED -> OPEN                          the app accepted
    ASKED -> REFUSING                      the app answers with a response of its own, in pieces
    OPEN -> CLOSING                        our close frame is sent; the client's is awaited
    any -> ENDED                           refused, closed by both, or lost
"""

from __future__ import annotations

import enum
import logging
from typing import Final

from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN as WIRE_OPEN

from pylon import limits
from pylon.http.allowance import Allowance
from pylon.http.asgi import Message
from pylon.http.close_codes import (
    CLOSE_GOING_AWAY,
    CLOSE_INTERNAL,
    CLOSE_LOST,
    CLOSE_NOT_UTF8,
)
from pylon.http.deflate import OFFERS
from pylon.http.ending import NEVER, Ending
from pylon.http.frames import clip_reason, ping_frame
from pylon.http.handshake import ServerWire, Upgrade, examine
from pylon.http.heads import error_response
from pylon.http.inbox import Inbox
from pylon.http.listener import Bounds

# Its notices (a line for each open and close) are not ours to print.
_wire_log = logging.getLogger("pylon.http.wire")
_wire_log.setLevel(logging.WARNING)

_SLICE_BYTES: Final = 2_048
"""Input is parsed in pieces of this size, so that a full inbox or a spent allowance stops a flood
of tiny frames: some 340 of the smallest, 2 ms of the loop. A compressed piece becomes 2 MiB of
messages at the most."""

_CONTROL: Final = (Opcode.PING, Opcode.PONG, Opcode.CLOSE)


class Phase(enum.Enum):
    """Where a WebSocket is on its way; the transitions stand on top of this file."""

    HANDSHAKE = enum.auto()
    ASKED = enum.auto()
    REFUSING = enum.auto()
    OPEN = enum.auto()
    CLOSING = enum.auto()
    ENDED = enum.auto()


class WebSocketState:
    """The core of one WebSocket. `now` is always the loop's time in seconds."""

    __slots__ = (
        "_allowance",
        "_bounds",
        "_deadline",
        "_goodbye",
        "_held",
        "_is_text",
        "_is_write_paused",
        "_message",
        "_output",
        "_pongs_missed",
        "_rests_until",
        "_wire",
        "ending",
        "has_wishes",
        "inbox",
        "phase",
        "upgrade",
    )

    def __init__(self, bounds: Bounds, now: float) -> None:
        self._bounds = bounds
        self.phase = Phase.HANDSHAKE
        self.upgrade: Upgrade | None = None
        """What the app is to be asked, from ASKED on."""
        self.inbox = Inbox()
        self.ending = Ending.NONE
        self.has_wishes = True
        """Whether output, `is_reading`, `phase`, `ending` or `due` may have changed; the shell
        resets it."""
        self._wire = ServerWire(
            extensions=OFFERS if bounds.deflate_level else None,
            max_size=bounds.message_bytes_max,
            logger=_wire_log,
        )
        self._output = b""
        self._deadline = now + bounds.handshake_seconds_max
        self._held: bytes | None = None  # Input that waits until the client may go on.
        self._message: bytes | bytearray | None = None  # One of which fragments are missing.
        self._is_text = False
        self._goodbye: Message | None = None
        self._allowance = Allowance(
            per_second=limits.SOCKET_MINOR_FRAMES_PER_SECOND,
            burst=limits.SOCKET_MINOR_FRAMES_BURST,
            now=now,
        )
        self._rests_until: float | None = None
        self._pongs_missed = 0
        self._is_write_paused = False

    # --- what the shell looks at ----------------------------------------------------------------

    @property
    def is_reading(self) -> bool:
        """Whether the client may send more."""
        return self._held is None

    @property
    def due(self) -> float:
        """When `pass_time` wants to be called, if nothing else comes before."""
        rests_until = self._rests_until
        return self._deadline if rests_until is None else min(self._deadline, rests_until)

    @property
    def deflates(self) -> bool:
        """Whether compressed messages were agreed on."""
        return bool(self._wire.extensions)

    @property
    def has_news(self) -> bool:
        """Whether `take` would give something."""
        return bool(self.inbox.messages) or self._goodbye is not None

    def take_output(self) -> bytes:
        """What must be written now; in order with what the app writes past us."""
        output, self._output = self._output, b""
        return output

    # --- from the client ------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Bytes have come, the upgrade request first."""
        self._pongs_missed = 0
        if self._held is not None:
            self._held += data
        else:
            self._parse(data, now)

    def lose(self) -> None:
        """The connection is gone."""
        self._enter(Phase.ENDED)
        self._say_goodbye(CLOSE_LOST)
        self._held = None
        self._rests_until = None
        self._deadline = NEVER

    def pause_writing(self) -> None:
        """The client is behind with taking what was written: it shall not ask for more pongs."""
        self._is_write_paused = True

    def resume_writing(self, now: float) -> None:
        """It has caught up."""
        self._is_write_paused = False
        self.go_on(now)

    # --- from the app ---------------------------------------------------------------------------

    def take(self) -> Message | None:
        """The next message for the app, in the end always the disconnect; None: not yet.

        Where the client waits, `go_on` follows.
        """
        message = self.inbox.take()
        return self._goodbye if message is None else message

    def go_on(self, now: float) -> None:
        """Read what was held, if the client need not wait any more."""
        if self._held is not None and not self._must_wait():
            held, self._held = self._held, None
            self.has_wishes = True
            self._parse(held, now)

    def accept(self, answer: bytes, now: float) -> None:
        """The app takes the WebSocket: `answer` is the 101."""
        self._enter(Phase.OPEN)
        self._wire.state = WIRE_OPEN
        self._output += answer
        self._deadline = now + self._bounds.ping_seconds
        self.go_on(now)

    def start_refusal(self) -> None:
        """The app answers the upgrade with a response of its own, which `refuse` will bring."""
        self._enter(Phase.REFUSING)

    def refuse(self, answer: bytes, now: float) -> None:
        """Answer the upgrade with an HTTP response."""
        self._output += answer
        self._say_goodbye(CLOSE_LOST)
        self._held = None
        self._end(now)

    def close(self, code: int, reason: str, now: float) -> None:
        """Send a close frame and wait a bounded time for the client's. Does nothing when closed.

        ValueError for a code that must not be sent.
        """
        if self.phase is not Phase.OPEN:
            return
        # It is closed already where the bytes behind a bad message were a close frame or bad too.
        if self._wire.state is WIRE_OPEN:
            try:
                self._wire.send_close(code, clip_reason(reason))
            except ProtocolError:
                raise ValueError(f"close code {code} must not be sent") from None
        self._take_answers()
        self._say_goodbye(code, reason)
        self._await_close(now)

    def shut_down(self, now: float) -> None:
        """The server stops: 1001 for an open socket, 503 for one that is still asking."""
        if self.phase is Phase.OPEN:
            self.close(CLOSE_GOING_AWAY, "server is stopping", now)
        elif self.phase is not Phase.CLOSING and self.phase is not Phase.ENDED:
            self.refuse(error_response(503, "STOPPING", "The server is stopping"), now)

    # --- time -----------------------------------------------------------------------------------

    def pass_time(self, now: float) -> None:
        """It is `now`, and perhaps `due`."""
        self.has_wishes = True
        if self._rests_until is not None and now >= self._rests_until:
            self._rests_until = None
            self.go_on(now)
        if now < self._deadline:
            return
        if self.phase is Phase.OPEN:
            self._ping(now)
        elif self.phase is Phase.CLOSING or self.phase is Phase.ENDED:
            self._deadline = NEVER
            self.ending = Ending.ABORT
        else:
            text = "The server did not answer in time"
            self.refuse(error_response(503, "HANDSHAKE_TIMEOUT", text), now)

    def _ping(self, now: float) -> None:
        """Look for a sign of life. A client whose bytes we leave unread is not to blame."""
        self._deadline = now + self._bounds.ping_seconds
        if self._held is not None and not self._is_write_paused:
            self._pongs_missed = 0
        elif self._pongs_missed >= limits.SOCKET_PONGS_MISSED_MAX:
            self.close(CLOSE_INTERNAL, "no answer to pings", now)
            return
        self._pongs_missed += 1
        self._output += ping_frame()

    # --- parts: reading -------------------------------------------------------------------------

    def _parse(self, data: bytes, now: float) -> None:
        position = 0
        while position < len(data):
            if self._must_wait():
                self._held = data[position:]
                self.has_wishes = True
                return
            self._wire.receive_data(data[position : position + _SLICE_BYTES])
            position += _SLICE_BYTES
            self._take_events(now)

    def _must_wait(self) -> bool:
        """Whether the client must wait: for the app to accept, to receive, or to read pongs; or
        because it has sent too many frames that say nothing."""
        if self._rests_until is not None:
            return True
        phase = self.phase
        if phase is Phase.OPEN:
            return self._is_write_paused or self.inbox.is_full
        return phase is Phase.ASKED or phase is Phase.REFUSING

    def _take_events(self, now: float) -> None:
        wire = self._wire
        minor = 0
        for event in wire.events_received():
            if isinstance(event, Request):
                self._take_request(event, now)
            elif isinstance(event, Frame):
                self._take_frame(event, now)
                minor += not event.fin or event.opcode in _CONTROL
        if minor:
            self._charge(minor, now)
        if self.phase is Phase.HANDSHAKE:
            if wire.handshake_exc is not None:
                answer = error_response(400, "BAD_REQUEST", "The upgrade request is not valid")
                self.refuse(answer, now)
            return
        self._take_answers()
        if wire.parser_exc is not None and wire.close_sent is not None:
            self._say_goodbye(wire.close_sent.code, wire.close_sent.reason)
            if self.phase is Phase.OPEN:
                self._await_close(now)

    def _take_request(self, request: Request, now: float) -> None:
        found = examine(self._wire, request)
        if isinstance(found, Upgrade):
            self.upgrade = found
            self._enter(Phase.ASKED)
            self.inbox.put({"type": "websocket.connect"})
        else:
            self.refuse(found, now)

    def _take_frame(self, frame: Frame, now: float) -> None:
        opcode = frame.opcode
        if opcode is Opcode.PING or opcode is Opcode.PONG:
            return  # Answered by the wire; that anything came at all was noted.
        if opcode is Opcode.CLOSE:
            self._take_close(now)
            return
        if self.phase is not Phase.OPEN:
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
            self._take_message(now)

    def _take_message(self, now: float) -> None:
        data, self._message = self._message or b"", None
        if not self._is_text:
            self.inbox.put({"type": "websocket.receive", "bytes": bytes(data)})
            return
        try:
            self.inbox.put({"type": "websocket.receive", "text": data.decode()})
        except UnicodeDecodeError:
            self.close(CLOSE_NOT_UTF8, "text must be UTF-8", now)

    def _charge(self, minor: int, now: float) -> None:
        """Count frames that complete no message; a client that sends too many is read later.

        The app never sees them, so nothing else slows their sender down.
        """
        wait = self._allowance.take(minor, now)
        if wait and self._rests_until is None and self.phase is not Phase.ENDED:
            self._rests_until = now + wait
            self.has_wishes = True

    # --- parts: ending --------------------------------------------------------------------------

    def _take_close(self, now: float) -> None:
        """The client closed, or answered our close: nothing is left to do but to cut."""
        self._take_answers()
        received = self._wire.close_rcvd
        assert received is not None
        self._say_goodbye(received.code, received.reason)
        self._end(now)

    def _take_answers(self) -> None:
        """Pongs and close frames that the wire wants written."""
        if answers := self._wire.data_to_send():
            self._output += b"".join(answers)
            self.has_wishes = True

    def _say_goodbye(self, code: int, reason: str = "") -> None:
        """What the app receives after the last message; the first word counts."""
        if self._goodbye is None:
            self._goodbye = {"type": "websocket.disconnect", "code": code, "reason": reason}

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.has_wishes = True

    def _await_close(self, now: float) -> None:
        """Throw away what the client still sends until it closes, or for a bounded time."""
        self._enter(Phase.CLOSING)
        self._message = None
        self._is_write_paused = False
        self._deadline = now + self._bounds.close_seconds_max
        if self._wire.eof_sent and self.ending < Ending.HALF:
            self.ending = Ending.HALF
        self.go_on(now)

    def _end(self, now: float) -> None:
        """Close once what is written has gone out, or after a bounded time."""
        self._enter(Phase.ENDED)
        if self.ending < Ending.CLOSE:
            self.ending = Ending.CLOSE
            self._deadline = now + self._bounds.close_seconds_max
