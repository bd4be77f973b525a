"""What the app of one request talks to: ASGI's `receive` and `send`, and the app's task.

The shell around `turn.Turn`, which knows what to write. Made by `connection.HttpConnection` when a
request's turn has come.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

from pylon.http.asgi import Message, Scope
from pylon.http.listener import ASGIApp
from pylon.http.shell import DateLine, Drain
from pylon.http.shown_path import shown_path
from pylon.http.turn import Answer, Turn
from pylon.tasks import Tasks

log = logging.getLogger("pylon.http")

_COMPLETE: Final = Answer.COMPLETE

_date: Final = DateLine()


class Line(Protocol):
    """What an exchange needs of its connection."""

    transport: asyncio.Transport
    drain: Drain
    tasks: Tasks

    def now(self) -> float: ...
    def want_body(self) -> None: ...
    def exchange_complete(self, turn: Turn, now: float) -> None: ...


class Exchange:
    """One request and its response."""

    __slots__ = ("_line", "_signal", "task", "turn")

    def __init__(self, line: Line, turn: Turn) -> None:
        self._line = line
        self.turn = turn
        self.task: asyncio.Task[None] | None = None
        self._signal: asyncio.Event | None = None

    def wake(self) -> None:
        """Something has come that a waiting `receive` wants to see."""
        if self._signal is not None:
            self._signal.set()

    async def receive(self) -> Message:
        """`http.request` pieces of the body, then `http.disconnect` when there is no more to do."""
        turn, line = self.turn, self._line
        if turn.expects_continue and (go_ahead := turn.go_ahead()):
            line.transport.write(go_ahead)
        while (message := turn.receive()) is None:
            line.want_body()
            if self._signal is None:
                self._signal = asyncio.Event()
            await self._signal.wait()
            self._signal.clear()
        return message

    def take_whole(self) -> bytes | None:
        """The body, without waiting, where `receive` would give all of it in one piece; else None.

        For `Request.body`, where nobody stands between it and this.
        """
        return None if self.turn.expects_continue else self.turn.take_whole()

    async def send(self, message: Message) -> None:
        """`http.response.start`, then `http.response.body` pieces. Waits while the client is slow.

        After a disconnect messages are dropped silently.
        """
        turn, line = self.turn, self._line
        if line.drain.is_paused and not turn.disconnected:
            await line.drain.wait()
        if turn.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.body":
            for data in turn.piece(message.get("body", b""), message.get("more_body", False)):
                line.transport.write(data)
            if turn.answer is _COMPLETE:
                if self._signal is not None:  # `_finish`, written out: this is the hot path
                    self._signal.set()
                line.exchange_complete(turn, line.now())
        elif kind == "http.response.start":
            date = _date.at(line.now())
            turn.start(message["status"], message.get("headers", ()), date)
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r}")

    def respond(self, status: int, head: bytes, body: bytes) -> bool:
        """Answer at once with a whole response; False when it must go through `send`.

        `head` as `Turn.whole` wants it.
        """
        line = self._line
        if line.drain.is_paused:
            return False
        now = line.now()
        data = self.turn.whole(status, head, body, _date.at(now))
        if not data:
            return False
        line.transport.write(data)
        if self._signal is not None:  # `_finish`, written out
            self._signal.set()
        line.exchange_complete(self.turn, now)
        return True

    def _finish(self, now: float) -> None:
        if self._signal is not None:
            self._signal.set()
        self._line.exchange_complete(self.turn, now)

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """The task: the last place that meets an app's failure, so it logs it and answers 500."""
        # Beside `send`: a response that is whole already leaves in one call.
        scope["extensions"] = {"pylon.respond": self.respond}
        turn = self.turn
        try:
            await app(scope, self.receive, self.send)
            if turn.answer is not _COMPLETE and not turn.disconnected:
                self._end_unfinished(scope)
        except asyncio.CancelledError:
            self._line.transport.abort()
            raise
        except Exception:
            log.exception("the app failed: %s %s", scope["method"], shown_path(scope["path"]))
            self._fail()
        finally:
            if self.task is not None:  # It is set before the task begins.
                self._line.tasks.ended(self.task)

    def _end_unfinished(self, scope: Scope) -> None:
        if self.turn.is_cut_short and self.turn.answer is Answer.SENT:
            self._line.transport.write(b"".join(self.turn.piece(b"", False)))
            self._finish(self._line.now())
            return
        log.error("the app sent no full response: %s", shown_path(scope["path"]))
        self._fail()

    def _fail(self) -> None:
        turn, line = self.turn, self._line
        if turn.disconnected or turn.answer is _COMPLETE:
            return
        answer = turn.fail()
        if answer is None:
            line.transport.abort()
            return
        line.transport.write(answer)
        self._finish(line.now())
