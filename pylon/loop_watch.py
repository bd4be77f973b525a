"""Tells when one piece of work held the event loop: for how long, why, and where the code stood.

A timer on the loop says that it turns; a thread beside it looks where the loop stands when that
timer is late. Here is only what finds and tells; what ends code that computes for too long is
`store/watchdog.py`. Each service has one (`assembly/loop.py`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter, sleep, thread_time
from typing import Final, Literal, TypeAlias, get_args

from msgspec import Struct

from pylon import limits
from pylon.metrics import Histogram

log = logging.getLogger("pylon.loop")

Cause: TypeAlias = Literal["computing", "waiting", "starved"]
"""Why the loop did not turn: code computed; it waited for something else than the loop (a lock, a
file, another thread); or the machine gave the processor to others, which is nobody's fault here."""

CAUSES: Final[tuple[Cause, ...]] = get_args(Cause)

_FRAMES_MAX: Final = 8
_PLACES_MAX: Final = 256
_SHORT_SECONDS: Final = 1.0
_EDGES_SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Spent(Struct, frozen=True, kw_only=True):
    """How a stretch of time of one thread was spent, in seconds."""

    passed: float
    computed: float
    queued: float
    """Ready to run, while the machine ran others; 0 where the system does not say."""


def judge(late: float, spent: Spent, seconds: float) -> Cause | None:
    """Why a timer was `late`; None when that is less than `seconds`. `spent` is since the one
    before."""
    if late < seconds:
        return None
    if spent.computed >= seconds:
        return "computing"
    if min(late, spent.passed - spent.computed) - spent.queued >= seconds:
        return "waiting"
    return "starved"


class LoopWatch:
    """Watches the loop that it is started on. A hold of `seconds` or more is counted and logged;
    one that has no end is logged while it lasts. With 0 it does nothing."""

    def __init__(self, seconds: float, *, beat_seconds: float = limits.LOOP_BEAT_SECONDS) -> None:
        self.seconds = seconds
        self.holds: dict[str, int] = dict.fromkeys(CAUSES, 0)
        """Holds since the start, by cause."""
        self.lengths = Histogram(_EDGES_SECONDS)
        """Their lengths, those of a starved machine left out."""
        self._beat_seconds = beat_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._ident = 0
        self._queue = _Queue(0)
        self._due = 0.0
        self._computed = self._queued = 0.0
        self._seen: tuple[float, str] = (0.0, "")
        self._told: dict[str, float] = {}

    def counted(self) -> Mapping[str, float]:
        """`holds`, for the metrics."""
        return self.holds

    def start(self) -> None:
        """Begin, on the loop and its thread."""
        if self.seconds <= 0:
            return
        self._ident = threading.get_ident()
        self._queue = _Queue(threading.get_native_id())
        self._thread = threading.Thread(target=self._look, name="pylon-loop-watch", daemon=True)
        self._rest()
        self._thread.start()

    def stop(self) -> None:
        """End the timer and the thread."""
        thread, self._thread = self._thread, None
        if self._timer is not None:
            self._timer.cancel()
        if thread is not None:
            thread.join()
            self._queue.close()

    # --- on the loop -------------------------------------------------------------------------

    def _rest(self) -> None:
        self._computed, self._queued = thread_time(), self._queue.seconds()
        self._due = perf_counter() + self._beat_seconds
        self._timer = asyncio.get_running_loop().call_later(self._beat_seconds, self._beat)

    def _beat(self) -> None:
        due = self._due
        late = perf_counter() - due
        if late >= self.seconds:
            self._note(due, late)
        self._rest()

    def _note(self, due: float, late: float) -> None:
        spent = Spent(
            passed=late + self._beat_seconds,
            computed=thread_time() - self._computed,
            queued=self._queue.seconds() - self._queued,
        )
        cause = judge(late, spent, self.seconds)
        if cause is None:
            return
        self.holds[cause] += 1
        seen, stack = self._seen
        if seen != due:
            stack = "not seen: it ended before anything else could look"
        if cause == "starved":
            log.debug("the loop stood still for %.0f ms: the machine was busy", late * 1000)
            return
        self.lengths.observe(late)
        if self._is_news(stack):
            log.warning("the loop was held for %.0f ms (%s) by %s", late * 1000, cause, stack)

    def _is_news(self, stack: str) -> bool:
        """Whether a place has not been told of lately."""
        place, now = stack.partition(" < ")[0], perf_counter()
        if now - self._told.get(place, -limits.LOOP_HOLD_SILENCE_SECONDS) < (
            limits.LOOP_HOLD_SILENCE_SECONDS
        ):
            return False
        if len(self._told) >= _PLACES_MAX:
            self._told.clear()
        self._told[place] = now
        return True

    # --- on the thread -----------------------------------------------------------------------

    def _look(self) -> None:
        told = 0.0
        while self._thread is not None:
            # Not before the timer can be late: on a busy loop, a thread that only wants to look is
            # woken, and waits again, each time that a statement lets go of the interpreter's lock.
            sleep(max(self._beat_seconds, self._due + self.seconds - perf_counter()))
            due = self._due
            late = perf_counter() - due
            if late < self.seconds:
                continue
            if self._seen[0] != due:
                self._seen = (due, stack_of(self._ident))
                told = _SHORT_SECONDS
            elif late >= told:
                told *= 10
                log.error(
                    "the loop has been held for %.0f s so far by %s", late, stack_of(self._ident)
                )


class _Queue:
    """How long a thread was ready to run and had no processor, as Linux counts it."""

    def __init__(self, thread_id: int) -> None:
        path = Path(f"/proc/self/task/{thread_id}/schedstat")
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path.exists() else None

    def seconds(self) -> float:
        """In all; 0 where nobody counts."""
        if self._file is None:
            return 0.0
        # Nanoseconds that it ran, nanoseconds that it waited to run, and how often it ran.
        return int(os.pread(self._file, 128, 0).split()[1]) / 1e9

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def stack_of(ident: int) -> str:
    """Where a thread stands: its calls, the innermost first. Code only, no values."""
    frame = sys._current_frames().get(ident)
    lines: list[str] = []
    while frame is not None and len(lines) < _FRAMES_MAX:
        code = frame.f_code
        lines.append(f"{code.co_qualname} ({code.co_filename}:{frame.f_lineno})")
        frame = frame.f_back
    return " < ".join(lines) or "unknown"
