"""What each live reader is told of each change, under random rules: the naive meaning of the rules,
asked for that reader and that row alone, against the hub, which groups, looks up and shares.

Changes are made up here, so nothing of the log, of pulls or of replays is in between.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import Any

from hypothesis import Phase, given, settings

from pylon.changes.model import Change, RowData, Seq
from pylon.codec import decode, encode
from pylon.errors import PylonError
from pylon.identity import ADMIN, ANONYMOUS, Identity
from pylon.schema.model import EntitySpec, Manifest
from pylon.sync.pull import PullPage
from tests.data.naive import Naive
from tests.data.random_apps import apps, values_of
from tests.policy.worlds import Pool, effort
from tests.sync.replica import Replica
from tests.sync.world import World, world

Told = tuple[str, str, str, Any]
"""Entity, id, kind and data of an event."""


class Listener(Replica):
    """A reader that keeps what it is told and knows nothing of cursors."""

    def write(self, data: bytes) -> None:
        self.events.extend(decode(line) for line in data.split(b"\n"))

    def take(self) -> list[Told]:
        told = [(e["entity"], e["row_id"], e["kind"], e.get("data")) for e in self.events]
        self.events = []
        assert self.closed is None
        return told


@settings(effort(15), phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(drawn=apps())
def test_every_reader_is_told_what_the_rules_mean(drawn: tuple[Manifest, Random]) -> None:
    manifest, random = drawn

    async def play() -> None:
        async with world(manifest) as app:
            await check(app, manifest, random)

    asyncio.run(play())


async def check(app: World, manifest: Manifest, random: Random) -> None:
    pool = Pool(random=random)
    stored = await store_rows(app, manifest, pool)
    # Some callers twice, since what one is told is made for all of its group.
    callers = [pool.identity() for _ in range(5)]
    readers = [Listener(each) for each in (ADMIN, ANONYMOUS, *callers, *callers[:2])]
    for reader in readers:
        await app.hub.join(reader.identity, reader, None)
    # The same once more, still being replayed what they missed before: nothing, but it takes long.
    may_go_on = asyncio.Event()

    async def page(_: Identity, since: int, **__: Any) -> PullPage:
        await may_go_on.wait()
        return PullPage(events=[], last_seq=since, has_more=False)

    app.puller.page = page  # type: ignore[method-assign, assignment]
    late = [Listener(reader.identity) for reader in readers]
    joins = [asyncio.ensure_future(app.hub.join(r.identity, r, app.store.seq)) for r in late]
    told_in_all: list[list[Told]] = [[] for _ in readers]
    changes = [change(manifest, pool, seq) for seq in range(1, 25)]
    head = app.store.seq
    for each in changes:
        each.seq = Seq(head + each.seq)
    while changes:
        turn, changes = changes[: (size := random.randrange(1, 6))], changes[size:]
        app.feed.deliver(turn, turn[-1].seq)
        await app.settle()
        meanings = [Meaning(manifest, stored, each) for each in turn]
        for reader, all_told in zip(readers, told_in_all, strict=True):
            expected = [
                told
                for meaning in meanings
                if (told := told_of(meaning, reader.identity)) is not None
            ]
            assert reader.take() == expected
            all_told += expected
    may_go_on.set()
    assert all(await asyncio.gather(*joins))
    assert [reader.take() for reader in late] == told_in_all


async def store_rows(app: World, manifest: Manifest, pool: Pool) -> dict[str, list[RowData]]:
    """Rows that the rules of the other entity may look for."""
    for entity in manifest.entities:
        for _ in range(pool.random.randrange(4)):
            data = row_of(entity, pool)
            with suppress(PylonError):  # a value that its field cannot hold
                await app.rows.insert(ADMIN, entity.name, data)
    await app.settle()
    return {
        entity.name: await app.rows.list(ADMIN, entity.name, limit=None, offset=0)
        for entity in manifest.entities
    }


def row_of(entity: EntitySpec, pool: Pool) -> RowData:
    row = {**pool.row(entity), **values_of(entity, {}, pool.random)}
    del row["id"]
    return row


def change(manifest: Manifest, pool: Pool, seq: int) -> Change:
    """One change of a row that was never stored."""
    entity = pool.random.choice(manifest.entities)
    row_id = str(seq)
    before: RowData | None = {"id": row_id, **row_of(entity, pool)}
    after: RowData | None = {"id": row_id, **row_of(entity, pool)}
    kind = pool.random.choice(("insert", "update", "update", "delete"))
    patch = None
    if kind == "insert":
        before = None
    elif kind == "delete":
        after = None
    else:
        assert before is not None
        assert after is not None
        names = [name for name in after if name != "id" and pool.random.random() < 0.5]
        patch = {name: after[name] for name in names}
        after = {**before, **patch}
    return Change(
        seq=Seq(seq),
        entity=entity.name,
        row_id=row_id,
        kind=kind,  # type: ignore[arg-type]
        before=before,
        after=after,
        patch=patch,
        at=1.0,
    )


class Meaning:
    """What the rules mean for one change: whoever sees the row before, and after."""

    def __init__(
        self, manifest: Manifest, stored: dict[str, list[RowData]], change: Change
    ) -> None:
        self.change = change
        self.spec = manifest.entities_by_name[change.entity]
        self.before, self.after = (
            Naive(manifest, {**stored, change.entity: [] if row is None else [row]})
            for row in (change.before, change.after)
        )


def told_of(meaning: Meaning, who: Identity) -> Told | None:
    """What one reader is told of one change."""
    change, entity = meaning.change, meaning.change.entity
    seen_before = bool(meaning.before.visible(who, entity))
    seen_after = bool(meaning.after.visible(who, entity))
    if not seen_after:
        return (entity, change.row_id, "delete", None) if seen_before else None
    kind = "update" if seen_before else "insert"
    data = change.patch if seen_before else change.after
    assert data is not None
    hidden = {field.name for field in meaning.spec.fields if field.is_private and not who.is_admin}
    shown = {name: value for name, value in data.items() if name not in hidden}
    if hidden and not shown:
        return None
    return (entity, change.row_id, kind, decode(encode(shown)))
