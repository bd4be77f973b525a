"""Every read door against a naive one, under random policies, rows, callers and questions.

A default run asks some thousands of questions, one with `PYLON_LONG=1` several hundred thousand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from random import Random
from typing import Any, TypeVar

import msgspec
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pylon.codec import decode
from pylon.data.aggregate import Aggregates
from pylon.data.graph import Graphs
from pylon.data.query import Queries, ReadDoor
from pylon.data.rows import Rows
from pylon.errors import PylonError
from pylon.identity import ADMIN, Identity
from pylon.policy.nodes import Expr
from pylon.policy.syntax import format_expr
from pylon.schema.model import EntitySpec, FieldSpec, Manifest, PolicySpec, RelationSpec
from tests.data.naive import Naive
from tests.data.questions import TEXTS, TIMES, Asker
from tests.data.reading import reading
from tests.policy.worlds import Draw, Pool, effort, entities, exprs_of

T = TypeVar("T")
Row = dict[str, Any]

OTHER = EntitySpec(
    name="Other",
    fields=(
        FieldSpec(name="thingId", type="id(Thing)", optional=True),
        FieldSpec(name="key", type="string", optional=True),
        FieldSpec(name="n", type="int", optional=True),
        FieldSpec(name="orgId", type="string", optional=True),
        FieldSpec(name="at", type="datetime", optional=True),
    ),
    relations=(
        RelationSpec(name="thing", target="Thing", field="thingId"),
        RelationSpec(name="likes", target="Thing", field="key", many=True),
        RelationSpec(name="things", target="Thing", field="otherId", many=True),
    ),
)
THING_FIELDS = (
    FieldSpec(name="upId", type="id(Thing)", optional=True),
    FieldSpec(name="otherId", type="id(Other)", optional=True),
    FieldSpec(name="key", type="string", optional=True),
)
THING_RELATIONS = (
    RelationSpec(name="up", target="Thing", field="upId"),
    RelationSpec(name="downs", target="Thing", field="upId", many=True),
    RelationSpec(name="other", target="Other", field="otherId"),
    RelationSpec(name="others", target="Other", field="thingId", many=True),
)


@st.composite
def worlds(draw: Draw) -> tuple[Manifest, Random]:
    """Two entities that refer to each other and themselves, and a read policy of each."""
    random = Random(draw(st.integers(min_value=0, max_value=2**32)))
    drawn: EntitySpec = draw(entities)
    fields = tuple(
        msgspec.structs.replace(field, optional=True, private=random.random() < 0.2)
        for field in drawn.fields
    )
    thing = EntitySpec(name="Thing", fields=(*fields, *THING_FIELDS), relations=THING_RELATIONS)
    policies = tuple(
        PolicySpec(name=entity.name, entity=entity.name, allow=format_expr(expr))
        for entity in (thing, OTHER)
        for expr in _policies(draw, entity, random)
    )
    manifest = Manifest(name="app", version="1", entities=(thing, OTHER), policies=policies)
    return manifest, random


def _policies(draw: Draw, entity: EntitySpec, random: Random) -> list[Expr]:
    """None, one or two; without any the entity is open."""
    return [draw(exprs_of(entity)) for _ in range(random.choice((0, 1, 1, 2)))]


# Without shrinking, which would take minutes: the failing question says enough.
@settings(effort(15), phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(world=worlds())
def test_every_door_shows_what_the_naive_one_shows(world: tuple[Manifest, Random]) -> None:
    asyncio.run(_compare(*world))


async def _compare(manifest: Manifest, random: Random) -> None:
    stored = _rows(manifest, random)
    indexed = [
        (entity.name, field.name)
        for entity in manifest.entities
        if random.random() < 0.5
        for field in entity.fields[::2]
    ]
    async with reading(manifest, stored, indexed=indexed) as rows:
        naive = Naive(manifest, rows.policies, stored)
        pool = Pool(random=random)
        for identity in (ADMIN, *(pool.identity() for _ in range(3))):
            await _ask(identity, rows, naive, Asker(random, manifest), manifest)


def _rows(manifest: Manifest, random: Random) -> dict[str, list[Row]]:
    pool = Pool(random=random)
    ids = {entity.name: [*TEXTS, *map(str, range(100, 106))] for entity in manifest.entities}
    made: dict[str, list[Row]] = {}
    for entity in manifest.entities:
        chosen = random.sample(ids[entity.name], random.randrange(14))
        made[entity.name] = [{**pool.row(entity), "id": row_id} for row_id in chosen]
    for entity in manifest.entities:
        for row in made[entity.name]:
            for field in entity.fields:
                if field.kind == "datetime" and random.random() < 0.6:
                    row[field.name] = random.choice(TIMES)
                target = made.get(field.target or "")
                if target and random.random() < 0.7:
                    row[field.name] = random.choice(target)["id"]
    return made


async def _ask(
    identity: Identity, rows: Rows, naive: Naive, asker: Asker, manifest: Manifest
) -> None:
    random = asker.random
    door = ReadDoor(rows)
    queries = Queries(door)
    hopeless = set()
    for entity in manifest.entities:
        name = entity.name
        seen = naive.visible(identity, name)
        if await _or_denied(rows.list(identity, name, limit=None, offset=0)) is None:
            assert seen == []
            hopeless.add(name)
            continue
        shown = [naive.shown(identity, name, row) for row in seen]
        assert await rows.list(identity, name, limit=5, offset=2) == shown[2:7]
        assert await _pages(rows, identity, name, random.randrange(1, 5)) == [
            row for row in shown if row["id"] != ""
        ]
        for _ in range(6):
            body = asker.query(identity, entity, seen)
            expected = naive.query(identity, name, body)
            assert await queries.find(identity, name, body) == expected, body
            assert decode(await queries.find_json(identity, name, body)) == expected, body
        for _ in range(3):
            await _look_up(identity, queries, naive, asker, entity)
        for _ in range(4):
            body = asker.aggregate(identity, entity)
            found = await Aggregates(door).run(identity, name, body)
            counted = naive.aggregate(identity, name, body)
            assert counted == found, (body, counted, found)
    for _ in range(5):
        body = asker.graph(identity)
        found_graph = await _or_denied(Graphs(door).find(identity, body))
        if found_graph is None:
            assert hopeless & set(body)
        else:
            assert found_graph == naive.graph(identity, body), body


async def _or_denied(answer: Awaitable[T]) -> T | None:
    try:
        return await answer
    except PylonError as error:
        if error.code == "POLICY_DENIED":
            return None
        raise


async def _pages(rows: Rows, identity: Identity, entity: str, limit: int) -> list[Row]:
    found: list[Row] = []
    after = ""
    while True:
        page = await rows.page(identity, entity, after=after, limit=limit)
        found += page.rows
        if not page.has_more:
            return found
        assert len(page.rows) == limit
        assert page.next_cursor is not None
        after = page.next_cursor


async def _look_up(
    identity: Identity, queries: Queries, naive: Naive, asker: Asker, entity: EntitySpec
) -> None:
    columns = asker.columns(identity, entity)
    field = asker.random.choice(list(columns))
    value = asker.value(columns[field])
    if columns[field] == "float":
        value = float(value)
    text = {True: "true", False: "0"}[value] if columns[field] == "bool" else str(value)
    expected = naive.query(identity, entity.name, {field: value, "$limit": 1})
    try:
        found = [await queries.lookup(identity, entity.name, field, text)]
    except PylonError as error:
        if error.code != "NOT_FOUND":
            raise
        found = []
    if not (columns[field] == "int" and isinstance(value, float)):
        assert found == expected, (field, text)
