"""What a delete takes with it: the rows that name the row, as far as the app says what follows.

Found out inside the unit that deletes, which no other write comes between, and before anything is
written: what refuses leaves no trace. Here are the order and the bounds; each row is deleted or
changed by `data/write.py`, which alone changes rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Final, Protocol, TypeAlias

from msgspec import Struct, field

from pylon import limits
from pylon.data.errors import hooks_too_deep
from pylon.data.references import Reference, RowName
from pylon.errors import PylonError
from pylon.store.base import Tx

IN_THE_WAY: Final = "ROW_REFERENCED"
"""The code of a delete that a row is in the way of."""

TOO_LARGE: Final = "CASCADE_TOO_LARGE"
"""The code of a delete with which too many rows would go."""

Referrers: TypeAlias = Mapping[str, Sequence[Reference]]
"""By entity, the keys that name its rows and that say what becomes of theirs."""

Key: TypeAlias = tuple[Reference, str]
"""A key of the row with this id."""


class Follower(Protocol):
    """Whoever carries it out: the transaction."""

    async def remove_follower(self, entity: str, row_id: str) -> None:
        """Delete a row; nothing where it has gone meanwhile."""
        ...

    async def empty_key(self, reference: Reference, row_id: str) -> None:
        """Take the key out of a row; nothing where it has gone meanwhile."""
        ...


class Following(Struct, frozen=True, kw_only=True):
    """Rows that go, those that name others first, and keys of rows that stay."""

    rows: Sequence[RowName] = ()
    keys: Sequence[Key] = ()

    @property
    def count(self) -> int:
        return len(self.rows) + len(self.keys)

    async def carry_out(self, follower: Follower) -> None:
        """Empty the keys, then delete the rows."""
        for reference, row_id in self.keys:
            await follower.empty_key(reference, row_id)
        for entity, row_id in self.rows:
            await follower.remove_follower(entity, row_id)


async def follow(
    tx: Tx,
    referrers: Referrers,
    going: Sequence[RowName],
    follower: Follower,
    *,
    has_hooks: Callable[[str], bool],
    most: int,
) -> Following:
    """Delete and change what follows when the rows `going` go, and tell what that was.

    Hooks of what goes may write rows that name what has gone, so these are looked for until there
    are none; 500 `HOOKS_TOO_DEEP` for hooks that always do. Raises as `following` does.
    """
    rows: list[RowName] = []
    keys: list[Key] = []
    for _ in range(limits.HOOK_DEPTH_MAX):
        gone = (*going, *rows)
        found = await following(tx, referrers, gone, most=most - len(rows) - len(keys))
        await found.carry_out(follower)
        rows += found.rows
        keys += found.keys
        touched = {name for name, _ in (*gone, *rows)} | {each.entity for each, _ in keys}
        if not found.count or not any(map(has_hooks, touched)):
            return Following(rows=rows, keys=keys)
    raise hooks_too_deep()


async def following(
    tx: Tx, referrers: Referrers, gone: Collection[RowName], *, most: int
) -> Following:
    """What goes when the rows `gone` do.

    409 `ROW_REFERENCED` where a row that does not go itself restricts it, 413 `CASCADE_TOO_LARGE`
    where that is more than `most` rows.
    """
    found = _Found(tx, referrers, gone, most)
    await found.look()
    await found.refuse_restricted()
    return Following(rows=found.rows_in_order(), keys=found.keys_of_rows_that_stay())


class _Found:
    """What is found to go: each row with those that go because they name it."""

    def __init__(self, tx: Tx, referrers: Referrers, gone: Collection[RowName], most: int) -> None:
        self._tx = tx
        self._referrers = referrers
        self._gone = frozenset(gone)
        self._going: dict[RowName, list[RowName]] = {name: [] for name in gone}
        self._keys: dict[tuple[str, str, str], Key] = {}
        self._restricted: list[Key] = []
        self._most = most

    async def look(self) -> None:
        """Find it from row to row."""
        queue = deque(self._going)
        while queue:
            name = queue.popleft()
            for reference in self._referrers.get(name[0], ()):
                if reference.on_delete == "restrict":
                    self._restricted.append((reference, name[1]))
                else:
                    queue.extend(await self._take(reference, name))
                    if len(self._going) - len(self._gone) + len(self._keys) > self._most:
                        raise _too_large(self._most)

    async def _take(self, reference: Reference, name: RowName) -> list[RowName]:
        """Those that name a row by one key; the rows that are found to go by it."""
        # So many that there are too many, even if all that is known already is among them.
        enough = self._most + len(self._gone) + len(self._keys) + 1
        ids = await self._tx.fetch(reference.naming, (name[1], enough))
        new: list[RowName] = []
        for row_id in sorted(row[0] for row in ids):
            child = (reference.entity, row_id)
            if reference.on_delete == "set_null":
                self._keys[reference.entity, reference.field, row_id] = reference, row_id
                continue
            if child not in self._going:
                self._going[child] = []
                new.append(child)
            if child != name:
                self._going[name].append(child)
        return new

    async def refuse_restricted(self) -> None:
        """409 where a row is in the way that does not go."""
        counts: dict[str, int] = {}
        for entity, _ in self._going:
            counts[entity] = counts.get(entity, 0) + 1
        for reference, key in self._restricted:
            enough = counts.get(reference.entity, 0) + 1
            ids = await self._tx.fetch(reference.naming, (key, enough))
            if any((reference.entity, row[0]) not in self._going for row in ids):
                raise _in_the_way(reference)

    def rows_in_order(self) -> list[RowName]:
        """The rows that go, each before those that it names; in a circle, the last found first."""
        try:
            ordered = list(TopologicalSorter(self._going).static_order())
        except CycleError:
            ordered = list(reversed(self._going))
        return [name for name in ordered if name not in self._gone]

    def keys_of_rows_that_stay(self) -> list[Key]:
        return [key for key in self._keys.values() if (key[0].entity, key[1]) not in self._going]


# --- a part at a time ------------------------------------------------------------------------


class _Visit(Struct):
    """A row on the way from the root, and what names it that has not been looked at."""

    name: RowName
    waiting: list[RowName] = field(default_factory=list)


async def farthest(
    tx: Tx, referrers: Referrers, root: RowName, *, most: int
) -> tuple[Following, bool]:
    """Some of what follows when `root` goes, the farthest first, and whether that is all.

    For who deletes in several units what is too much for one. 409 `ROW_REFERENCED` where it comes
    upon a row that is in the way.
    """
    rows: dict[RowName, None] = {}
    keys: dict[tuple[str, str, str], Key] = {}
    seen = {root}
    path = [await _visit(tx, referrers, root, seen, keys, most)]
    while path and len(rows) + len(keys) < most:
        visit = path[-1]
        if visit.waiting:
            name = visit.waiting.pop()
            if name not in seen:
                seen.add(name)
                path.append(await _visit(tx, referrers, name, seen, keys, most))
            continue
        path.pop()
        if path:
            rows[visit.name] = None
    is_all = not path
    return Following(rows=list(rows), keys=list(keys.values())), is_all


async def _visit(
    tx: Tx,
    referrers: Referrers,
    name: RowName,
    seen: set[RowName],
    keys: dict[tuple[str, str, str], Key],
    most: int,
) -> _Visit:
    visit = _Visit(name)
    for reference in referrers.get(name[0], ()):
        ids = await tx.fetch(reference.naming, (name[1], most + 1))
        if reference.on_delete == "set_null":
            keys.update(
                ((reference.entity, reference.field, row[0]), (reference, row[0])) for row in ids
            )
            continue
        children = [(reference.entity, row[0]) for row in ids]
        if reference.on_delete == "cascade":
            visit.waiting += children
        elif any(child not in seen for child in children):
            raise _in_the_way(reference)
    return visit


def _in_the_way(reference: Reference) -> PylonError:
    through = "" if reference.is_private else f" ({reference.entity}.{reference.field})"
    return PylonError(
        409,
        IN_THE_WAY,
        f"A row of {reference.entity} names this row of {reference.target}{through} and does not"
        " go with it.",
        f"Delete or change the rows of {reference.entity} first.",
    )


def _too_large(most: int) -> PylonError:
    return PylonError(
        413,
        TOO_LARGE,
        f"More than {most} rows would be deleted or changed with this one.",
        "Delete the rows that name it first, in several requests.",
    )
