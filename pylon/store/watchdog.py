"""Ends code that computes for too long: a thread beside it interrupts it until it has ended.

For code that is not ours (functions, hooks) and runs on the loop. A `Watch` is made for one piece
of such work and runs its steps. On the main thread a signal is sent, whose handler raises `Overrun`
where the code stands, also in a sleep or a blocking read; on other threads the interpreter is asked
to raise it. When to strike is decided in `overrun.py`. Nothing here knows a database.

Why nobody else is hit, which signal, and what was measured: `docs/decisions/0011`.
"""

from __future__ import annotations

import ctypes
import logging
import signal
import threading
from collections.abc import Callable
from time import perf_counter, sleep
from types import FrameType
from typing import Any, Final, TypeVar

from pylon import limits
from pylon.loop_watch import stack_of
from pylon.store.overrun import NEVER, Case

log = logging.getLogger("pylon.watchdog")

T = TypeVar("T")

SIGNAL: Final[int | None] = (
    signal.SIGRTMIN + 5
    if hasattr(signal, "SIGRTMIN")
    else getattr(signal, "SIGUSR2", None)  # macOS has no real-time signals, Windows neither
)

QUIET_LOOKS: Final = 100
"""Looks at nothing after which the thread sleeps until it is called."""


class Overrun(BaseException):
    """Raised into code that has computed for too long; no `except Exception` stops it."""


class Slot:
    """Which watch runs on one thread; the watchdog looks at it, the thread alone changes it."""

    __slots__ = ("case", "ident", "is_signalled", "is_striking", "watch")

    def __init__(self, ident: int, *, is_signalled: bool) -> None:
        self.ident = ident
        self.is_signalled = is_signalled
        self.is_striking = False
        self.watch: Watch | None = None
        self.case = Case()

    def settle(self) -> None:
        """Wait until a strike under way is over, and take it back. For threads without signals:
        what the interpreter was asked to raise would hit whatever comes next."""
        if self.is_signalled:
            return
        while True:
            try:
                while self.is_striking:
                    sleep(0)
                _raise_in(self.ident, None)
                return
            except Overrun:
                continue


class Watch:
    """One piece of work that may compute `seconds` at a time, on the thread that made this."""

    __slots__ = ("_dog", "_slot", "deadline", "is_over", "seconds")

    def __init__(self, dog: Watchdog, slot: Slot, seconds: float) -> None:
        self._dog = dog
        self._slot = slot
        self.seconds = seconds
        self.deadline = NEVER
        self.is_over = False
        """Whether it was struck. It may have swallowed that, but its work does not count."""

    def step(self, call: Callable[[], T]) -> T:
        """Run `call` under watch; `Overrun` when it took too long, even if it went on after that.

        The interpreter looks for signals at calls, at loops and where functions begin. Between the
        end of `call` and the line that takes the watch away it does not, so no strike comes late.
        """
        slot, dog = self._slot, self._dog
        outer = slot.watch
        self.resume()
        try:
            slot.watch = self
            if dog.is_asleep:  # asked after the line above, see `Watchdog._sleep_until_called`
                dog.rouse()
            result = call()
            slot.watch = outer
        except BaseException:
            slot.watch = outer
            slot.settle()
            raise
        slot.settle()
        if self.is_over:
            raise Overrun
        return result

    def suspend(self) -> None:
        """What runs now, inside the step, is ours: it does not count and is not interrupted."""
        self.deadline = NEVER
        self._slot.settle()
        if self.is_over:
            raise Overrun

    def resume(self) -> None:
        """The work computes (again); its time begins anew."""
        again = limits.COMPUTE_AGAIN_SECONDS
        self.deadline = perf_counter() + (again if self.is_over else self.seconds)


class Watchdog:
    """The thread that looks at watches and strikes. Starts with the first step, ends at `close`."""

    def __init__(self) -> None:
        self.is_asleep = True
        self.slots: dict[int, Slot] = {}
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._called = threading.Event()

    @property
    def is_stuck(self) -> bool:
        """Whether code has ignored all strikes for so long that the process counts as not ready."""
        now = perf_counter()
        return any(slot.case.is_stuck(now) for slot in list(self.slots.values()))

    def watch(self, seconds: float) -> Watch:
        """A watch for work on this thread that may compute `seconds` between two of its waits."""
        ident = threading.get_ident()
        slot = self.slots.get(ident)
        if slot is None:
            is_main = ident == threading.main_thread().ident
            slot = Slot(ident, is_signalled=is_main and _HANDLER.add(self))
            self.slots[ident] = slot
        return Watch(self, slot, seconds)

    def rouse(self) -> None:
        """Have the thread look again; called by a watch that begins while it sleeps."""
        if self._thread is None and not self._is_closed:
            self._thread = threading.Thread(target=self._look, name="pylon-watchdog", daemon=True)
            self._thread.start()
        self._called.set()

    def close(self) -> None:
        """End the thread and give the signal back."""
        self._is_closed = True
        self._called.set()
        if self._thread is not None:
            self._thread.join()
        _HANDLER.remove(self)
        self.slots.clear()

    # --- on its thread -----------------------------------------------------------------------

    def _look(self) -> None:
        quiet = 0
        planned = perf_counter()
        while not self._is_closed:
            now = perf_counter()
            late = max(0.0, now - planned)
            slots = list(self.slots.values())
            for slot in slots:
                self._judge(slot, now, late)
            if all(slot.watch is None for slot in slots):
                quiet += 1
            else:
                quiet = 0
            if quiet > QUIET_LOOKS:
                self._sleep_until_called()
                quiet = 0
                planned = perf_counter()
                continue
            planned = now + limits.COMPUTE_AGAIN_SECONDS
            sleep(limits.COMPUTE_AGAIN_SECONDS)

    def _sleep_until_called(self) -> None:
        self._called.clear()
        self.is_asleep = True
        # A step that began before this line did not call.
        if all(slot.watch is None for slot in list(self.slots.values())):
            self._called.wait()
        self.is_asleep = False

    def _judge(self, slot: Slot, now: float, late: float) -> None:
        watch = slot.watch
        if watch is None:
            slot.case.close()
            return
        verdict = slot.case.look(watch, watch.deadline, watch.seconds, now, late)
        if verdict.strikes:
            self._strike(slot, watch)
        if verdict.names:
            log.error(
                "code that is not interrupted by signals holds the loop for %.0f seconds: %s",
                verdict.seconds,
                stack_of(slot.ident),
            )

    def _strike(self, slot: Slot, watch: Watch) -> None:
        if slot.is_signalled:
            assert SIGNAL is not None
            signal.pthread_kill(slot.ident, SIGNAL)
            return
        slot.is_striking = True
        # Looked at after the flag was set: the thread takes the watch away, then looks at the flag.
        if slot.watch is watch and perf_counter() >= watch.deadline:
            watch.is_over = True
            _raise_in(slot.ident, Overrun)
        slot.is_striking = False


class _Handler:
    """The handler of the signal: one for the process, there while any watchdog needs it."""

    def __init__(self) -> None:
        self._dogs: tuple[Watchdog, ...] = ()
        self._previous: Any = None

    def add(self, dog: Watchdog) -> bool:
        """Listen for `dog`, on the main thread; whether this system has such signals."""
        if SIGNAL is None or not hasattr(signal, "pthread_kill"):
            return False
        if not self._dogs:
            self._previous = signal.signal(SIGNAL, self)
        self._dogs = (*self._dogs, dog)
        return True

    def remove(self, dog: Watchdog) -> None:
        """`dog` needs it no more; what was there before comes back with the last."""
        if dog not in self._dogs:
            return
        self._dogs = tuple(each for each in self._dogs if each is not dog)
        if self._dogs or SIGNAL is None:
            return
        current: object = signal.getsignal(SIGNAL)
        if current is self:  # else somebody has taken the signal over since
            # None is a handler that was not made from Python; it cannot be put back.
            signal.signal(SIGNAL, signal.SIG_DFL if self._previous is None else self._previous)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise in what is on watch this moment and over its time; a late signal does nothing."""
        ident = threading.get_ident()
        for dog in self._dogs:
            slot = dog.slots.get(ident)
            watch = None if slot is None else slot.watch
            if watch is not None and perf_counter() >= watch.deadline:
                watch.is_over = True
                raise Overrun


_HANDLER = _Handler()


def _raise_in(ident: int, error: type[BaseException] | None) -> None:
    """Ask the interpreter to raise in another thread; None takes it back."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(ident), None if error is None else ctypes.py_object(error)
    )
