"""A big stack for decoding strangers' bytes in this process: the library recurses into what nests.

For a workshop without processes (`workshop.py`); a service decodes in its processes, which have
such a stack of their own. Knows nothing of documents.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

DEEP_STACK_BYTES = 1 << 29
"""Stack of the decoding thread. Only what is touched of it is real memory."""


class DeepStack:
    """A thread with room for deep recursion; calls run there one at a time.

    The caller waits, as if it had called by itself: a unit of the writer must not suspend. The
    thread starts with the first call.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None]] | None = None

    def run(self, call: Callable[[], T]) -> T:
        """The result of `call`, or what it raised."""
        if self._calls is None:
            self._calls = SimpleQueue()
            before = threading.stack_size(DEEP_STACK_BYTES)
            try:
                threading.Thread(target=self._work, name="pylon-decode", daemon=True).start()
            finally:
                threading.stack_size(before)
        outcome: SimpleQueue[tuple[bool, Any]] = SimpleQueue()

        def answer() -> None:
            try:
                outcome.put((True, call()))
            except BaseException as error:  # handed to the caller below
                outcome.put((False, error))

        self._calls.put(answer)
        succeeded, result = outcome.get()
        if not succeeded:
            raise result
        return result  # type: ignore[no-any-return]

    def _work(self) -> None:
        assert self._calls is not None
        while True:
            self._calls.get()()


DEEP_STACK = DeepStack()
