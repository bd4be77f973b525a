"""What a suite asks of a peer that stores rows: our server and PocketBase alike."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeVar

from bench.load import Plan
from bench.processes import Child, Fleet

T = TypeVar("T")

ITEM_TITLE = "Buy {number:010d} bottles of milk"
"""Thirty characters, the same on both sides."""

PLAN_REQUESTS = 256
"""Different requests in a plan, so that no side answers one row from a hot cache only."""

LIST_ROWS = 20


class RowPeer(Protocol):
    """A running server with `items` seeded for one signed-in owner."""

    name: str
    port: int
    child: Child

    def start(self, fleet: Fleet, folder: Path) -> None:
        """Start, make the collections, sign a user in."""
        ...

    def seed(self, rows: int) -> None:
        """Make it hold `rows` items of the caller."""
        ...

    def get_plan(self) -> Plan:
        """Get one row by id; the ids lie all over the table."""
        ...

    def list_plan(self) -> Plan:
        """List 20 rows after an id; the ids lie all over the table."""
        ...

    def insert_plan(self) -> Plan:
        """Insert one item of the caller."""
        ...


def title_of(number: int) -> str:
    """The title of the item with this number."""
    return ITEM_TITLE.format(number=number)


def spread_over(values: list[T], count: int) -> list[T]:
    """`count` values at even distances over the whole list."""
    return [values[index * len(values) // count] for index in range(count)]
