"""Where a statement begins: on the loop, or on a thread since it was seen to outgrow the budget of
the loop lately, or is known to be long.

Used by the reads of `readers.py` and by those inside of units, `unit.py`.
"""

from __future__ import annotations

from time import perf_counter
from typing import Final

from pylon.store.sqlite.dialect import is_for_threads

SLOW_SECONDS: Final = 30.0
"""How long a statement that outgrew the budget twice goes straight to a thread."""

SLOW_STATEMENTS_MAX: Final = 256
"""Statements remembered as slow."""

BRIEF_STATEMENTS_MAX: Final = 1_024
"""Statements remembered as fit for the loop."""


class SlowStatements:
    """By their text, of one connection or several."""

    __slots__ = ("_until", "brief")

    def __init__(self) -> None:
        self.brief: set[str] = set()
        """Statements that may begin on the loop, as far as known: to be looked into before
        `may_be_brief` is asked, since that is done for each read."""
        self._until: dict[str, float] = {}
        """The time until which each counts; negative after the first time, which may have been a
        hiccup of the machine."""

    def __contains__(self, sql: str) -> bool:
        return bool(self._until) and self._until.get(sql, 0.0) >= perf_counter()

    def may_be_brief(self, sql: str) -> bool:
        """Whether a statement may begin on the loop; if so, it is put among the `brief` ones."""
        if is_for_threads(sql) or sql in self:
            return False
        if len(self.brief) >= BRIEF_STATEMENTS_MAX:
            self.brief.clear()
        self.brief.add(sql)
        return True

    def note(self, sql: str) -> None:
        """It has outgrown the budget."""
        self.brief.discard(sql)
        if len(self._until) >= SLOW_STATEMENTS_MAX:
            self._until.clear()
        now = perf_counter()
        is_second = now < abs(self._until.get(sql, 0.0))
        self._until[sql] = now + SLOW_SECONDS if is_second else -(now + SLOW_SECONDS)
