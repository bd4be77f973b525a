"""Statements that were seen to outgrow the budget of the loop; they start on a thread for a while.

Used by the reads of `readers.py` and by those inside of units, `unit.py`.
"""

from __future__ import annotations

from time import perf_counter
from typing import Final

SLOW_SECONDS: Final = 30.0
"""How long a statement that outgrew the budget twice goes straight to a thread."""

SLOW_STATEMENTS_MAX: Final = 256
"""Statements remembered as slow."""


class SlowStatements:
    """By their text, of one connection or several."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        """The time until which each counts; negative after the first time, which may have been a
        hiccup of the machine."""

    def __contains__(self, sql: str) -> bool:
        return bool(self._until) and self._until.get(sql, 0.0) >= perf_counter()

    def note(self, sql: str) -> None:
        """It has outgrown the budget."""
        if len(self._until) >= SLOW_STATEMENTS_MAX:
            self._until.clear()
        now = perf_counter()
        is_second = now < abs(self._until.get(sql, 0.0))
        self._until[sql] = now + SLOW_SECONDS if is_second else -(now + SLOW_SECONDS)
