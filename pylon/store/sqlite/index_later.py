"""Rows of the open transaction whose words are put into their search index at its end.

A statement with triggers is a savepoint of its own, and at each FTS5 writes down what it has: an
index that is kept row by row gets a segment for each, and merges them. So the triggers ask here
whether a row may wait, and those that may are indexed together: before the transaction is
committed, on the commit thread, or before an index is asked within it. docs/decisions/0022 says
what it bought. One for the write connection of a store; other connections index at once.
"""

from __future__ import annotations

from collections.abc import Mapping

import apsw

from pylon import limits
from pylon.codec import encode
from pylon.store.sqlite.functions import set_later


class IndexLater:
    """The rows that wait, by entity and the number that their index knows them by.

    They are found again by it when their time has come, as they then are: what was undone or
    deleted meanwhile is not there, and what was changed is indexed as it was left.
    """

    __slots__ = (
        *("_bytes", "_connection", "_cursor", "_has_met", "_settled", "_statements", "_waiting"),
    )

    def __init__(self, cursor: apsw.Cursor) -> None:
        self._connection = cursor.connection
        self._cursor = cursor
        self._statements: Mapping[str, str] = {}
        self._waiting: dict[str, set[int]] = {}
        self._settled: dict[str, set[int]] = {}
        self._bytes = 0
        self._has_met = False
        set_later(self._connection, self._may_wait)

    def learn(self, statements: Mapping[str, str]) -> None:
        """By entity, what indexes the rows of a JSON list of numbers; rows of others never wait."""
        self._statements = statements

    @property
    def is_waiting(self) -> bool:
        """Whether any row is not in its index yet."""
        return bool(self._waiting)

    def begin(self) -> None:
        """A transaction begins; what waited in another, which was undone, is forgotten."""
        self._has_met = False
        self._settled = {}
        self._forget()

    def settle(self) -> None:
        """Index what waits. Raises `apsw.Error` as any write may; it waits on then."""
        for entity, numbers in self._waiting.items():
            self._cursor.execute(self._statements[entity], (encode(sorted(numbers)).decode(),))
            self._settled.setdefault(entity, set()).update(numbers)
        self._forget()

    def undone(self) -> None:
        """A part of the transaction was undone, and with it perhaps what was indexed in it of rows
        from before: they wait once more."""
        for entity, numbers in self._settled.items():
            self._waiting.setdefault(entity, set()).update(numbers)
        self._settled = {}

    def _forget(self) -> None:
        self._waiting = {}
        self._bytes = 0

    def _may_wait(self, entity: str, number: int, size: int) -> bool:
        """Whether a row with texts of `size` bytes may; it is noted then."""
        if not self._has_met:  # The first is perhaps the only one, which would gain nothing.
            self._has_met = True
            return False
        if (
            size > limits.WRITE_TEXT_SHORT_MAX
            or self._bytes + size > limits.SEARCH_LATER_BYTES_MAX
            or entity not in self._statements
            or not self._connection.in_transaction
        ):
            return False
        self._bytes += size
        self._waiting.setdefault(entity, set()).add(number)
        return True
