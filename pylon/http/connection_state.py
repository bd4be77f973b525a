"""One HTTP/1 connection as decisions: bytes and times in; turns, bytes and wishes out. No I/O.

Order of answers, pipelining, keep-alive, what happens to bad bytes, and all the times. Driven by
`connection`, which runs the app of each turn that has `begun`; when `has_wishes`, writes
`take_output`, reads while `is_reading` and ends the socket by `ending`; and comes back at `due`.

    what is read                    request_reader.Reading
    how far an answer has come      turn.Answer
    how the connection ends         ending.Ending
"""

from __future__ import annotations

from collections import deque

from pylon import limits
from pylon.http.asgi import Header
from pylon.http.crowd import Waiting
from pylon.http.ending import NEVER, Ending
from pylon.http.heads import error_response
from pylon.http.listener import Bounds
from pylon.http.request_reader import Reading, RefusedError, RequestReader
from pylon.http.scopes import Facts, http_scope
from pylon.http.turn import Answer, Turn

_HEAD = Reading.HEAD
_OVER = Reading.OVER
_COMPLETE = Answer.COMPLETE
_NONE = Ending.NONE


class ConnectionState:
    """The core of one connection. `now` is always the loop's time in seconds."""

    __slots__ = (
        "_bounds",
        "_facts",
        "_farewell",
        "_incoming",
        "_is_head_timed",
        "_now",
        "_output",
        "_queue",
        "_reader",
        "_stalls_at",
        "_stopping",
        "_unsent_bytes",
        "active",
        "begun",
        "deadline",
        "ending",
        "has_wishes",
        "is_reading",
    )

    def __init__(self, facts: Facts, bounds: Bounds, *, takes_websockets: bool, now: float) -> None:
        self._facts = facts
        self._bounds = bounds
        self._reader = RequestReader(
            self, header_bytes_max=bounds.header_bytes_max, takes_websockets=takes_websockets
        )
        self.active: Turn | None = None
        """The turn that is being answered."""
        self.begun: Turn | None = None
        """The turn whose app is to be started; the shell takes it away. The app is started also
        where the request has gone bad already, and hears of it."""
        self.has_wishes = False
        """Whether output, `is_reading`, `ending` or `upgrade` may have changed; the shell resets
        it."""
        self.is_reading = True
        self.ending = Ending.NONE
        self.deadline = now + bounds.head_read_seconds_max
        """When the client must have sent something, as far as its writing is not paused."""
        self._incoming: Turn | None = None  # Its body is not complete.
        self._queue: deque[Turn] | None = None  # Behind `active`.
        self._farewell: bytes | None = None  # Behind the queue: the answer to bad bytes.
        self._output = b""
        self._is_head_timed = True
        self._stopping = False
        self._now = now
        self._stalls_at: float | None = None
        self._unsent_bytes = 0

    # --- what the shell looks at ----------------------------------------------------------------

    @property
    def upgrade(self) -> tuple[bytes, bytes] | None:
        """Head and first bytes of a WebSocket that takes the connection over."""
        return self._reader.upgrade

    @property
    def due(self) -> float:
        """When `pass_time` wants to be called, if nothing else comes before."""
        return self.deadline if self._stalls_at is None else self._stalls_at

    @property
    def is_idle(self) -> bool:
        """Whether no request is being read or answered."""
        return self.active is None and self._incoming is None

    @property
    def waiting(self) -> Waiting:
        """Who is waited for, for the case that there are too many connections."""
        if self.is_idle:
            return Waiting.REQUEST
        if self._stalls_at is not None or (self._incoming is not None and self.is_reading):
            return Waiting.CLIENT
        return Waiting.US

    def take_output(self) -> bytes:
        """What must be written now, beside the answers of apps."""
        output, self._output = self._output, b""
        return output

    # --- from the client ------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Bytes have come."""
        self._now = now
        reader = self._reader
        try:
            reader.feed(data)
        except RefusedError as refusal:
            self._fail(refusal)
            return
        if reader.reading is _HEAD:
            self._time_head()
        elif reader.upgrade is not None:
            self.has_wishes = True

    def lose(self) -> None:
        """The connection is gone."""
        self._reader.stop()
        if self.active is not None:
            self.active.disconnect()
        self._queue = None
        self._incoming = None
        self.deadline = NEVER
        self._stalls_at = None

    def watch_writing(self, now: float, unsent_bytes: int) -> None:
        """From now on the client must take some bytes in every interval, `stall_bytes_min` or all:
        what was written is more than it takes, or the last of it."""
        self._unsent_bytes = unsent_bytes
        self._stalls_at = now + self._bounds.stall_seconds_max

    def resume_writing(self) -> None:
        """The client has taken enough; once the end is near it must take all."""
        if self.ending is not Ending.CLOSE:
            self._stalls_at = None

    # --- from the app ---------------------------------------------------------------------------

    def want_body(self) -> None:
        """The app waits for more of the body, or for the client to go."""
        self._read(True)

    def finish(self, turn: Turn, now: float) -> None:
        """The last byte of the active turn's answer is written: close, linger, or go on with the
        next one."""
        self._now = now
        self.active = None
        is_unread = turn is self._incoming
        if is_unread and not turn.keep_alive:
            self._incoming = None
            self._linger()
        elif not turn.keep_alive:
            self._end(Ending.CLOSE)
        elif is_unread:
            self._linger()
        elif self._queue:
            self.active = self.begun = self._queue.popleft()
        elif self._farewell is not None:
            self._output += self._farewell
            self._end(Ending.CLOSE)
        else:
            self._become_idle()

    def shut_down(self) -> None:
        """The server stops: idle connections close now, busy ones after their answer."""
        self._stopping = True
        if self.is_idle:
            self._end(Ending.CLOSE)
        for turn in (self.active, *(self._queue or ())):
            if turn is not None:
                turn.drain()

    # --- time -----------------------------------------------------------------------------------

    def pass_time(self, now: float, unsent_bytes: int) -> None:
        """It is `now`, and perhaps `due`; the client has `unsent_bytes` to take."""
        if self._stalls_at is None:
            if now >= self.deadline:
                self._end(Ending.CLOSE)
        elif now >= self._stalls_at:
            least = self._unsent_bytes - self._bounds.stall_bytes_min
            if unsent_bytes == self._unsent_bytes or unsent_bytes > max(least, 0):
                self._stalls_at = None
                self.deadline = NEVER
                self._end(Ending.ABORT)
            else:
                self.watch_writing(now, unsent_bytes)

    # --- the reader calls -----------------------------------------------------------------------

    def take_head(
        self, method: str, http_version: str, target: bytes, headers: list[Header], keep_alive: bool
    ) -> None:
        """A request begins: now the app's, or after those before it."""
        if self.ending is not _NONE:
            return  # The last word has been said already.
        self.deadline = NEVER
        try:
            scope = http_scope(self._facts, method, http_version, target, headers)
        except UnicodeDecodeError:
            text = "The request target is not ASCII"
            raise RefusedError(400, "BAD_REQUEST", text) from None
        turn = Turn(scope, keep_alive=keep_alive, expects_continue=_expects_continue(headers))
        if self.active is None:
            self.active = self.begun = turn
        else:
            self._enqueue(turn)
        self._incoming = turn

    def take_upgrade(self) -> None:
        """What follows is a WebSocket's, unless an answer is still owed."""
        self.deadline = NEVER
        if self.active is not None:
            text = "An upgrade must be a connection's last word"
            raise RefusedError(400, "BAD_REQUEST", text)

    def take_body(self, body: bytes) -> None:
        """A piece of the incoming request's body."""
        turn = self._incoming
        if turn is None or turn.answer is _COMPLETE:
            return
        if turn.add_body(body) > limits.REQUEST_BUFFER_BYTES:
            self._read(False)

    def take_end(self) -> None:
        """The incoming request is complete."""
        turn = self._incoming
        if turn is None:
            return
        self._incoming = None
        turn.more_body = False
        if turn.answer is _COMPLETE and self.active is None:
            # The answer was early and the body has now been thrown away: a usable connection.
            self._become_idle()

    # --- parts ----------------------------------------------------------------------------------

    def _enqueue(self, turn: Turn) -> None:
        if self._queue is None:
            self._queue = deque()
        if len(self._queue) >= limits.PIPELINED_REQUESTS_MAX:
            text = "Wait for answers before asking more"
            raise RefusedError(429, "TOO_MANY_PIPELINED", text)
        self._queue.append(turn)
        self._read(False)

    def _fail(self, refusal: RefusedError) -> None:
        """Bad bytes: answer what can still be answered, in order, and close."""
        if self.ending is not _NONE:
            return
        broken, self._incoming = self._incoming, None
        answer = error_response(refusal.status, refusal.code, refusal.message)
        if broken is not None and broken is self.active:
            self.active = None
            broken.disconnect()
            if broken.answer is Answer.SENT:
                self._end(Ending.ABORT)
                return
        elif broken is not None and self._queue and broken is self._queue[-1]:
            self._queue.pop()
        if self.active is not None:
            self._farewell = answer
            self._read(False)
            return
        if broken is None or broken.answer is not _COMPLETE:
            self._output += answer
        self._linger()

    def _time_head(self) -> None:
        """A head comes in pieces: hold it to its time."""
        if not self._is_head_timed:
            self._is_head_timed = True
            self.deadline = self._now + self._bounds.head_read_seconds_max

    def _become_idle(self) -> None:
        """Wait for the next request, which may have begun to arrive already."""
        self._is_head_timed = False
        if self._stopping:
            self._end(Ending.CLOSE)
            return
        if not self.is_reading:
            self._read(True)
        if self._reader.reading is _HEAD:
            self._time_head()
        else:
            self.deadline = self._now + self._bounds.keep_alive_seconds

    def _linger(self) -> None:
        """Throw away what the client still sends, for a while (see `Ending.HALF`).

        Where the rest of a body is all that is missing, the next request may follow it.
        """
        self._read(True)
        if self._reader.reading is _OVER or self._incoming is None:
            self._reader.stop()
            self._end(Ending.HALF)
        self.deadline = self._now + self._bounds.linger_seconds_max

    def _read(self, wanted: bool) -> None:
        if self.is_reading is not wanted:
            self.is_reading = wanted
            self.has_wishes = True

    def _end(self, ending: Ending) -> None:
        if ending > self.ending:
            self.ending = ending
            self.has_wishes = True


def _expects_continue(headers: list[Header]) -> bool:
    for name, value in headers:
        if name == b"expect":
            if value.strip().lower() != b"100-continue":
                text = "Only 100-continue can be expected"
                raise RefusedError(417, "EXPECTATION_FAILED", text)
            return True
    return False
