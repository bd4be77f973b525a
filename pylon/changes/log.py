"""The change log: a table, written in the transaction that changes the row (design 4.3).

Only the latest change of each row is kept. Beside it stand the earlier *audiences* of the row:
the values of those fields that its read rule looks at, each with the position until which they
held. That is enough to tell, later, who must forget the row, and to tell nobody else.

Not here: who may see a change (`sync/visibility.py`), reading it from a cursor (`scan.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from pylon import limits
from pylon.changes.epochs import EVERYBODY, good_from, raise_epoch, subject_of
from pylon.changes.facts import OldestRaised
from pylon.changes.feed import Message
from pylon.changes.model import Change, Kind, RowData, Seq
from pylon.clock import Clock
from pylon.codec import decode_trusted, encode
from pylon.identity import Identity
from pylon.policy.membership import Watch
from pylon.store.base import Store, Tx
from pylon.store.naming import load_queries
from pylon.store.system import load_steps

SQL = load_queries("pylon.changes")

LOG_TABLES: Final = load_steps("pylon.changes")

_NEVER: Final = 2**62
"""Later than any change."""

Audiences: TypeAlias = list[tuple[int, RowData]]
"""Earlier values of a row's watched fields, each with the seq of the change that ended them."""


def read_audiences(text: str | None) -> Audiences:
    """The audiences column as a list; None is an empty one."""
    return [] if text is None else [(until, values) for until, values in decode_trusted(text)]


def remember(audiences: Audiences, until: int, values: RowData) -> tuple[Audiences, int]:
    """Add `values`, which held until the change `until`; also the position of what was dropped.

    A reader at cursor `c` is told to forget the row when it could see any values that ended after
    `c`, so of equal values only the latest end matters. When too many differ the oldest is dropped,
    and cursors below its end must start anew (0: nothing was dropped).
    """
    kept = [entry for entry in audiences if entry[1] != values]
    kept.append((until, values))
    if len(kept) <= limits.AUDIENCES_PER_ROW_MAX:
        return kept, 0
    return kept[1:], kept[0][0]


class ChangeLog:
    """Appends changes inside a unit, and knows how far back cursors are still good.

    `watched` names, per entity, the fields that its read rule looks at; `watches` whom a row of
    the entity concerns because the read rules of others look for it.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        watched: Mapping[str, tuple[str, ...]],
        watches: Mapping[str, tuple[Watch, ...]] | None = None,
    ) -> None:
        self._watches = watches or {}
        self._store = store
        self._clock = clock
        self._watched = watched
        self._oldest_seq = 0

    @property
    def oldest_seq(self) -> int:
        """Cursors above 0 and below this position cannot be continued, as far as this process has
        heard. A figure for operators; what a cursor is judged by is `good_from`."""
        return self._oldest_seq

    async def good_from(self, identity: Identity) -> int:
        """The position that cursors of this caller must not lie below, by the latest commit."""
        oldest, epoch = await good_from(self._store, identity)
        self._oldest_seq = max(self._oldest_seq, oldest)
        return max(oldest, epoch)

    def hear(self, messages: Sequence[Message], _: int) -> None:
        """Listen to the feed."""
        for message in messages:
            if isinstance(message, OldestRaised):
                self._oldest_seq = max(self._oldest_seq, message.oldest_seq)

    async def start(self, read_rules: str, *, owns_database: bool = True) -> None:
        """Load the positions; `read_rules` is a fingerprint of all read rules.

        When the rules are not those of the last start, rows may have become visible or hidden
        without a change of their own, so every older cursor is made to start anew. That
        is for the owner to do; other processes start after it.
        """
        (known,) = (await self._store.read(SQL["read_rules"]))[0]

        async def unit(tx: Tx) -> None:
            await tx.execute(SQL["save_read_rules"], (read_rules,))
            if known:
                # Takes up a position, so that even the newest cursor lies before it.
                oldest = tx.next_seq
                tx.publish(OldestRaised(oldest_seq=oldest))
                await tx.execute(SQL["raise_oldest_seq"], (oldest,))

        if owns_database and known != read_rules:
            await self._store.write(unit)
        self._oldest_seq = int((await self._store.read(SQL["oldest_seq"]))[0][0])

    async def append(
        self,
        tx: Tx,
        *,
        entity: str,
        row_id: str,
        kind: Kind,
        before: RowData | None,
        after: RowData | None,
        patch: RowData | None = None,
        document_update: bytes | None = None,
    ) -> Change:
        """Write the change of a row to the log and publish it with the commit."""
        if entity in self._watches:
            # Before the change, so that no cursor that knows of it lies below.
            await self._raise_epochs(tx, entity, before, after)
        seq, now = tx.next_seq, self._clock.now()
        ended = None if before is None else self._ended_values(entity, before, after)
        audiences: str | None = None
        if ended is not None:
            audiences = await self._remember(tx, entity, row_id, seq, ended)
        await tx.execute(
            SQL["append"],
            (
                seq,
                entity,
                row_id,
                kind,
                seq,
                audiences,
                int(now),
            ),
        )
        change = Change(
            seq=Seq(seq),
            entity=entity,
            row_id=row_id,
            kind=kind,
            before=before,
            after=after,
            patch=patch,
            at=now,
            document_update=document_update,
        )
        tx.publish(change)
        return change

    async def _raise_epochs(
        self, tx: Tx, entity: str, before: RowData | None, after: RowData | None
    ) -> None:
        """Begin a new epoch for those to whom this change shows or hides rows of others."""
        subjects: set[str] = set()
        for watch in self._watches[entity]:
            concerned = watch.concerns(before, after)
            if concerned is None:
                subjects = {EVERYBODY}
                break
            subjects.update(subject_of(*each) for each in concerned)
        for subject in sorted(subjects):
            await raise_epoch(tx, subject)

    def _ended_values(
        self, entity: str, before: RowData, after: RowData | None
    ) -> dict[str, Any] | None:
        """The watched values that end with this change; None when they go on."""
        watched = self._watched.get(entity, ())
        if after is not None and all(before[name] == after[name] for name in watched):
            return None
        return {name: before[name] for name in watched}

    async def _remember(self, tx: Tx, entity: str, row_id: str, seq: int, ended: RowData) -> str:
        known = await tx.fetch(SQL["audiences_of_row"], (entity, row_id))
        audiences, dropped = remember(read_audiences(known[0][0] if known else None), seq, ended)
        if dropped:
            await tx.execute(SQL["raise_oldest_seq"], (dropped,))
            tx.tell(OldestRaised(oldest_seq=dropped))
        return encode(audiences).decode()

    async def purge(self, retain_seconds: float) -> int:
        """Drop tombstones older than `retain_seconds`, and of the others the oldest beyond
        `limits.TOMBSTONES_MAX`; the number dropped.

        Cursors from before the newest of them are answered 410 from then on.
        """
        dropped = await self._purge(int(self._clock.now() - retain_seconds), None)
        kept = (await self._store.read(SQL["count_tombstones"], heavy=True))[0][0]
        if kept > limits.TOMBSTONES_MAX:
            dropped += await self._purge(_NEVER, kept - limits.TOMBSTONES_MAX)
        return dropped

    async def _purge(self, before: int, rows_max: int | None) -> int:
        """Drop the oldest tombstones from before a time, in units between which others write."""
        dropped = after = 0
        while rows_max is None or dropped < rows_max:
            rows = limits.PURGE_UNIT_ROWS
            if rows_max is not None:
                rows = min(rows, rows_max - dropped)
            # Looked for outside the unit: it may be a long way through the log.
            found = await self._store.read(
                SQL["tombstones_before"], (before, after, rows), heavy=True
            )
            seqs = [int(row[0]) for row in found]
            if seqs:
                after = seqs[-1]
                dropped += await self._store.write(partial(self._drop, seqs))
            if len(seqs) < rows:
                break
        return dropped

    async def _drop(self, seqs: list[int], tx: Tx) -> int:
        """Delete those of these tombstones that still are, the oldest first."""
        await tx.execute(SQL["raise_oldest_seq"], (seqs[-1],))
        tx.tell(OldestRaised(oldest_seq=seqs[-1]))
        return sum([await tx.execute(SQL["purge_tombstone"], (seq,)) for seq in seqs])

    async def seq_before(self, seconds: float) -> int:
        """The position that the log had `seconds` ago."""
        return int(
            (await self._store.read(SQL["seq_at"], (int(self._clock.now() - seconds),)))[0][0]
        )
