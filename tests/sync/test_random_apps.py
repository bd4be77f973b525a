"""Pulls and streams of random apps under random rules, `exists` included, against a naive view.

However rows are written and readers pull, connect or drop out, in the end each holds exactly what
the meaning of the rules lets it see; and nothing that it was told on the way was hidden from it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings

from pylon.changes.model import Change
from pylon.errors import PylonError
from pylon.identity import ADMIN, ANONYMOUS, Identity
from pylon.schema.model import EntitySpec, Manifest
from tests.data.naive import Naive
from tests.data.random_apps import apps, values_of
from tests.policy.worlds import Pool, effort
from tests.sync.replica import Replica
from tests.sync.test_convergence import Play
from tests.sync.world import World, world

Row = dict[str, Any]

STEPS = (
    *("insert", "insert", "update", "update", "update", "delete", "revive"),
    *("pull", "connect", "connect", "drop", "settle", "purge"),
)
WORLDS = 80
TOLD: Counter[str] = Counter()
"""Replicas that were compared, and events that they were told."""


class RandomPlay(Play):
    """A history of one app. Keeps what every row was after each change."""

    def __init__(
        self, app: World, manifest: Manifest, readers: list[Identity], random: Random
    ) -> None:
        super().__init__(app, readers, [each.name for each in manifest.entities])
        self.manifest = manifest
        self.random = random
        self.pool = Pool(random=random)
        self.states: dict[int, Change] = {}
        app.store.on_commit(self.record)

    def record(self, changes: Any) -> None:
        self.states.update({change.seq: change for change in changes if isinstance(change, Change)})

    async def play(self, steps: int) -> None:
        for _ in range(steps):
            kind = self.random.choice(STEPS)
            entity = self.random.choice(self.manifest.entities)
            target = (entity.name, self.data(entity))
            place, reader = self.random.randrange(10), self.random.randrange(len(self.replicas))
            parts: dict[str, tuple[Any, ...]] = {
                "insert": (target,),
                "update": (place, target),
                "revive": (place, target),
                "delete": (place,),
                "settle": (),
                "purge": (),
            }
            await getattr(self, kind)(*parts.get(kind, (reader,)))
            await asyncio.sleep(0)
        await self.end()
        await self.compare()

    def data(self, entity: EntitySpec) -> Row:
        """Values for some fields."""
        ids: dict[str, list[str]] = {}
        for name, row_id in self.ids:
            ids.setdefault(name, []).append(row_id)
        row = {**self.pool.row(entity), **values_of(entity, ids, self.random)}
        for field in entity.fields:
            if field.kind == "datetime":
                row[field.name] = self.random.choice((None, "2026-01-01T00:00:00Z"))
        del row["id"]
        return {name: row[name] for name in row if self.random.random() < 0.7}

    async def compare(self) -> None:
        """Each copy with the naive view, and what was told with what could be seen."""
        rows = {
            name: await self.app.rows.list(ADMIN, name, limit=None, offset=0)
            for name in self.entities
        }
        naive = Naive(self.manifest, rows)
        for replica in self.replicas:
            TOLD["replicas"] += 1
            for name in self.entities:
                seen = naive.visible(replica.identity, name)
                shown = {row["id"]: naive.shown(replica.identity, name, row) for row in seen}
                assert replica.rows.get(name, {}) == shown
            self.check_told(replica)

    def check_told(self, replica: Replica) -> None:
        """Live events carry no private field, and only rows that their own change shows, where
        no other row has a say in it."""
        who = replica.identity
        for event in replica.events:
            TOLD["events"] += 1
            spec = self.manifest.entities_by_name[event["entity"]]
            hidden = {f.name for f in spec.fields if f.is_private and not who.is_admin}
            assert not hidden & set(event.get("data", {}))
            change = self.states[event["seq"]]
            rule = self.app.rows.policies.entity(spec.name).read
            asks = any("exists(" in str(p.allow) for p in self.manifest.policies)
            if event["kind"] != "delete" and not asks:
                assert change.after is not None
                assert rule.allows(who, change.after)


@settings(effort(WORLDS), phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(drawn=apps())
def test_every_replica_ends_as_the_naive_view(drawn: tuple[Manifest, Random]) -> None:
    manifest, random = drawn

    async def play() -> None:
        pool = Pool(random=random)
        readers = [ADMIN, ANONYMOUS, *(pool.identity() for _ in range(4))]
        async with world(manifest, slow=random.random() < 0.5) as app:
            await RandomPlay(app, manifest, readers, random).play(random.randrange(10, 60))

    try:
        asyncio.run(play())
    except PylonError as error:
        raise AssertionError(error) from error


def test_something_was_told() -> None:
    """After the other."""
    if not TOLD:
        pytest.skip("nothing was played in this run")
    print(dict(TOLD))
    assert TOLD["events"] > WORLDS
