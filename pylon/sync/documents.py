"""Who follows which row's document, and what each of them is sent (spec 03 section 4.4).

A follower gets a snapshot, then every update in commit order, between the events of its commit and
those of the next. Only who may read the row follows it: asked on the full row at the start and at
each change. A row that is not there or not visible is waited for, and followed when it appears.

States of an interest: waiting -> asking -> (row visible: snapshot) following -> (row hidden or
deleted) waiting. An interest that asks keeps the changes that go by; those after the position of
its snapshot follow it, and one that may have shown or hidden the row makes it ask again. A snapshot
is made where the database is, by a call, since that may store the row's first document. Not here:
the documents themselves (`crdt/`), the order of writes (`hub.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence

import msgspec

from pylon import limits
from pylon.asking import ASKER
from pylon.calls import DIRECT, Call, Calls
from pylon.changes.model import Change
from pylon.codec import encode
from pylon.data.rows import Rows
from pylon.data.write import Transaction
from pylon.errors import PylonError
from pylon.http.close_codes import CLOSE_TRY_AGAIN
from pylon.identity import Identity
from pylon.live.budget import Write
from pylon.live.outlet import Encoding, Outlet
from pylon.policy.engine import Rule
from pylon.policy.lookup import NOTHING, Ask
from pylon.tasks import Tasks
from pylon.wire.crdt_frames import SNAPSHOT, UPDATE, document_frame

log = logging.getLogger("pylon.sync")

SNAPSHOT_BACKLOG_BYTES = limits.OUTBOX_BYTES_MAX // 4
"""No snapshot is made for a reader that has this much still to take."""

SNAPSHOT_WAIT_SECONDS = 0.02

Key = tuple[str, str]
"""Entity and id of a row."""


class Document(msgspec.Struct, frozen=True, array_like=True):
    """A row's document at the position `seq`: `snapshot` is None where the row cannot be seen,
    `gained` what others who follow it have yet to hear (`Transaction.snapshot`)."""

    seq: int
    snapshot: bytes | None
    gained: bytes | None


class Interest:
    """One reader's interest in one row."""

    __slots__ = ("asker", "asking", "following", "identity", "key", "outlet", "passed", "seq")

    def __init__(self, key: Key, identity: Identity, outlet: Outlet, seq: int) -> None:
        self.key = key
        self.identity = identity
        self.outlet = outlet
        self.asker = ASKER.get()
        self.following = False
        self.asking = False
        """Whether a snapshot is on its way."""
        self.passed: list[Change] = []
        """The changes that went by while it asks, `limits.DOCUMENT_PASSED_MAX` and one at most."""
        self.seq = seq
        """What was committed up to here is the snapshot's business."""


class DocumentHub:
    """All interests of all open streams. Runs on the loop."""

    def __init__(self, rows: Rows, *, calls: Calls = DIRECT) -> None:
        """`calls` is the way to where the database is."""
        self._rows = rows
        self._calls = calls
        self.call: Call[Key, Document] = Call(
            name="documents.open", takes=tuple[str, str], gives=Document, run=self._open
        )
        self._by_row: dict[Key, dict[Outlet, Interest]] = {}
        self._by_outlet: dict[Outlet, dict[Key, Interest]] = {}
        self._tasks = Tasks()
        self._in_turn = asyncio.Semaphore(limits.DOCUMENTS_OPENED_AT_ONCE)
        self._lookup = NOTHING
        self.frames = 0

    def __len__(self) -> int:
        return sum(map(len, self._by_outlet.values()))

    # --- readers come and go -----------------------------------------------------------------

    async def subscribe(self, identity: Identity, outlet: Outlet, entity: str, row_id: str) -> None:
        """Follow a row, now or as soon as it can be seen. Says nothing where it never can."""
        key = (entity, row_id)
        of_outlet = self._by_outlet.setdefault(outlet, {})
        interest = of_outlet.get(key)
        if interest is None:
            if len(of_outlet) >= limits.SUBSCRIPTIONS_PER_SOCKET_MAX or not self._can_follow(key):
                return
            interest = of_outlet[key] = Interest(key, identity, outlet, self._rows.store.seq)
            self._by_row.setdefault(key, {})[outlet] = interest
        # A reader that asks for much takes it at its own pace; the hub closes one that stops.
        while outlet.backlog() > SNAPSHOT_BACKLOG_BYTES and self._is_current(interest):  # noqa: ASYNC110
            await asyncio.sleep(SNAPSHOT_WAIT_SECONDS)
        if self._is_current(interest):
            await self._ask(interest)

    def unsubscribe(self, outlet: Outlet, entity: str, row_id: str) -> None:
        """No longer follow a row."""
        interest = self._by_outlet.get(outlet, {}).get((entity, row_id))
        if interest is not None:
            self._remove(interest)

    def leave(self, outlet: Outlet) -> None:
        """The stream has ended."""
        for interest in list(self._by_outlet.pop(outlet, {}).values()):
            self._remove(interest)

    def _can_follow(self, key: Key) -> bool:
        try:
            spec = self._rows.table(key[0]).spec
        except PylonError:
            return False
        return spec.crdt and len(key[1]) <= limits.ROW_ID_CHARACTERS_MAX

    def _remove(self, interest: Interest) -> None:
        interest.following = False
        of_outlet = self._by_outlet.get(interest.outlet)
        if of_outlet is not None:
            of_outlet.pop(interest.key, None)
            if not of_outlet:
                del self._by_outlet[interest.outlet]
        of_row = self._by_row.get(interest.key)
        if of_row is not None:
            of_row.pop(interest.outlet, None)
            if not of_row:
                del self._by_row[interest.key]

    def _is_current(self, interest: Interest) -> bool:
        return self._by_row.get(interest.key, {}).get(interest.outlet) is interest

    # --- snapshots ---------------------------------------------------------------------------

    async def _ask(self, interest: Interest) -> None:
        """Send the snapshot if the row can be seen now, then what has gone by since."""
        interest.asking = True
        ASKER.set(interest.asker)  # not that of the write that made it ask
        try:
            while True:
                interest.passed.clear()
                found = await self._document(interest)
                interest.seq = found.seq
                passed = [change for change in interest.passed if change.seq > interest.seq]
                if len(interest.passed) <= limits.DOCUMENT_PASSED_MAX and not any(
                    self._may_decide(change) for change in passed
                ):
                    break
        except PylonError as error:
            log.info("no document of %s: %s", interest.key[0], error.code)
            self._remove(interest)
            if error.status in (429, 503):
                # The client asks for everything again when it comes back.
                interest.outlet.close(CLOSE_TRY_AGAIN, "overloaded")
            else:
                self._tell_failure(interest, error)
            return
        finally:
            interest.asking = False
            interest.passed = []
        interest.following = found.snapshot is not None and self._is_current(interest)
        if found.snapshot is None or not interest.following:
            return
        if found.gained is not None:
            self._tell_others(interest, found.gained)
        frames = [document_frame(SNAPSHOT, *interest.key, found.snapshot)]
        frames += [
            document_frame(UPDATE, *interest.key, change.document_update)
            for change in passed
            if change.document_update is not None
        ]
        for frame in frames:
            self._write(interest.outlet, interest.outlet.encoding.binary(frame))

    async def _document(self, interest: Interest) -> Document:
        """Its document now. When many ask for large ones at the same time, some after others."""
        try:
            return await self._calls.ask(self.call, interest.identity, interest.key)
        except PylonError as error:
            if error.code != "OVERLOADED":
                raise
        async with self._in_turn:
            return await self._calls.ask(self.call, interest.identity, interest.key)

    async def _open(self, identity: Identity, key: Key) -> Document:
        async def unit(tx: Transaction) -> Document:
            snapshot, gained = await tx.snapshot(*key) or (None, None)
            return Document(tx.tx.next_seq - 1, snapshot, gained)

        return await self._rows.write(identity, unit)

    def _tell_failure(self, interest: Interest, error: PylonError) -> None:
        """Say why there will be no frames: who waited for them would wait for ever."""
        entity, row_id = interest.key
        told = {"type": "crdt-error", "entity": entity, "rowId": row_id}
        payload = encode({**told, "code": error.code, "message": error.message})
        interest.outlet.write(interest.outlet.encoding.join([(0, payload)]))

    def _may_decide(self, change: Change) -> bool:
        """Whether a change that went by may have shown or hidden its row: then ask again."""
        return _watched_changed(self._rows.policies.entity(change.entity).read, change)

    def _tell_others(self, interest: Interest, update: bytes) -> None:
        frame = document_frame(UPDATE, *interest.key, update)
        for other in self._by_row[interest.key].values():
            if other.following and other is not interest:
                self._write(other.outlet, other.outlet.encoding.binary(frame))

    def _write(self, outlet: Outlet, data: bytes) -> None:
        self.frames += 1
        outlet.write(data)

    # --- changes go out ----------------------------------------------------------------------

    def asks(self, changes: Sequence[object]) -> list[Ask]:
        """What is to be gathered before `writes` is asked for the same changes."""
        self._lookup = self._rows.policies.lookup()
        asks: list[Ask] = []
        for change in changes if self._by_row else ():
            if not isinstance(change, Change) or change.after is None:
                continue
            rule = self._rows.policies.entity(change.entity).read
            if rule.asked and (interests := self._concerned(change)):
                watched, rows = _watched_changed(rule, change), [(change.after, None)]
                asks += [
                    Ask(self._lookup, rule, interest.identity, rows)
                    for interest in interests
                    if watched or not interest.following
                ]
        return asks

    def _concerned(self, change: Change) -> list[Interest]:
        of_row = self._by_row.get((change.entity, change.row_id))
        if not of_row:
            return []
        return [interest for interest in of_row.values() if interest.seq < change.seq]

    def writes(self, changes: Sequence[object]) -> Iterator[Write]:
        """What followers are to be sent of a commit: stream, bytes, and 1 for the count.

        Who follows is decided at once; the hub draws the writes after those of the events.
        """
        planned: list[tuple[Interest, bytes]] = []
        for change in changes if self._by_row else ():
            if not isinstance(change, Change):
                continue
            interests = [each for each in self._concerned(change) if not _keeps(each, change)]
            if interests:
                self._route(change, interests, planned)
        return self._draw(planned)

    def _route(
        self, change: Change, interests: list[Interest], planned: list[tuple[Interest, bytes]]
    ) -> None:
        rule = self._rows.policies.entity(change.entity).read
        watched = _watched_changed(rule, change)
        update = change.document_update
        made: dict[Encoding, bytes] = {}
        frame = b""
        if update is not None:
            frame = document_frame(UPDATE, change.entity, change.row_id, update)
        for interest in interests:
            if watched or not interest.following:
                is_visible = change.after is not None and rule.allows(
                    interest.identity, change.after, None, self._lookup
                )
                if not is_visible:
                    interest.following = False
                    continue
                if not interest.following:
                    self._ask_later(interest)
                    continue
            if update is not None:
                encoding = interest.outlet.encoding
                data = made.get(encoding)
                if data is None:
                    data = made[encoding] = encoding.binary(frame)
                planned.append((interest, data))

    def _ask_later(self, interest: Interest) -> None:
        interest.asking = True
        self._tasks.start("send a document", self._ask(interest))

    def ask_anew(self) -> None:
        """Updates were missed: every follower gets a snapshot again, one after another."""
        interests = [each for of_row in self._by_row.values() for each in of_row.values()]
        for interest in interests:
            interest.following = False
        if interests:
            self._tasks.start("send documents after a gap", self._ask_all(interests))

    async def _ask_all(self, interests: Sequence[Interest]) -> None:
        for interest in interests:
            # One whose row has changed since may have been asked for already.
            if self._is_current(interest) and not (interest.following or interest.asking):
                await self._ask(interest)

    def _draw(self, planned: list[tuple[Interest, bytes]]) -> Iterator[Write]:
        for interest, data in planned:
            if interest.following:
                self.frames += 1
                yield interest.outlet, data, 1

    async def close(self) -> None:
        """End what is under way."""
        await self._tasks.stop()


def _keeps(interest: Interest, change: Change) -> bool:
    """Keep a change for an interest whose snapshot is on its way; False for any other interest."""
    if interest.asking and len(interest.passed) <= limits.DOCUMENT_PASSED_MAX:
        interest.passed.append(change)
    return interest.asking


def _watched_changed(rule: Rule, change: Change) -> bool:
    """Whether the change may decide anew who sees the row."""
    before, after = change.before, change.after
    if before is None or after is None:
        return True
    return any(before.get(name) != after.get(name) for name in rule.fields)
