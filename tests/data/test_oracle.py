"""Every read door against a naive one, under random policies, rows, callers and questions.

A default run asks some thousands of questions, one with `PYLON_LONG=1` several hundred thousand;
they are counted. Search has its own (`test_search_oracle`), pulls and streams theirs
(`tests/sync/test_random_apps.py`).
"""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections import Counter
from collections.abc import Awaitable, Sequence
from contextlib import aclosing
from random import Random
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import Phase, given, settings

from pylon import limits
from pylon.calls import DirectCalls
from pylon.codec import decode, encode
from pylon.data.aggregate import Aggregates
from pylon.data.door import ReadDoor
from pylon.data.exports import Format
from pylon.data.graph import Graphs
from pylon.data.imports import ImportUnits
from pylon.data.lists import Asked, Lists, Total
from pylon.data.long_lists import LongList
from pylon.data.query import Queries
from pylon.data.rows import Rows
from pylon.data.transfer import Transfer
from pylon.errors import PylonError
from pylon.identity import ADMIN, Identity
from pylon.schema.model import EntitySpec, Manifest
from pylon.store.base import Row as Stored
from pylon.store.base import Value
from pylon.wire.export_format import LineSplitter, ObjectSplitter
from tests.data.naive import Around, Naive, as_float, compare_rows, folded_fields, kinds_of
from tests.data.questions import Asker
from tests.data.random_apps import apps, rows_of, values_of
from tests.data.reading import reading
from tests.policy.worlds import Pool, effort

T = TypeVar("T")
Row = dict[str, Any]

WORLDS = 40
ASKED: Counter[str] = Counter()
"""Questions by door."""

GOOD_TIMES = ("2026-01-01T00:00:00Z", "2024-02-29T12:00:00.5+01:00", "2025-12-31T23:59:59Z")
"""Such as may be written."""


# Without shrinking, which would take minutes: the failing question says enough.
@settings(effort(WORLDS), phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(world=apps())
def test_every_door_shows_what_the_naive_one_shows(world: tuple[Manifest, Random]) -> None:
    asyncio.run(_compare(*world))


async def _compare(manifest: Manifest, random: Random) -> None:
    stored = rows_of(manifest, random)
    indexed = [
        (entity.name, field.name)
        for entity in manifest.entities
        if random.random() < 0.5
        for field in entity.fields[::2]
    ]
    async with reading(manifest, stored, indexed=indexed) as rows:
        naive = Naive(manifest, stored)
        pool = Pool(random=random)
        for identity in (ADMIN, *(pool.identity() for _ in range(3))):
            await ask(identity, rows, naive, Asker(random, manifest), manifest)
        await _export(rows, naive, manifest)


async def ask(
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
        ASKED["list"] += 3
        assert await rows.list(identity, name, limit=None, offset=0) == shown
        assert await rows.list(identity, name, limit=5, offset=2) == shown[2:7]
        stingy = Stingy(rows)
        long = await stingy.list_or_long(identity, name, limit=5, offset=2)
        assert isinstance(long, LongList)
        assert [row async for piece in long.pieces() for row in piece.rows] == shown[2:7]
        await _get_each(rows, identity, naive, name)
        ASKED["cursor"] += 1
        for door_of_pages in (rows.door, stingy):
            assert await _pages(door_of_pages, identity, name, random.randrange(1, 5)) == [
                row for row in shown if row["id"] != ""
            ]
        for _ in range(6):
            body = asker.query(identity, entity, seen)
            expected = naive.query(identity, name, body)
            ASKED["query"] += 2
            await _list_and_page(Lists(door), identity, name, body, expected)
            assert await queries.find(identity, name, body) == expected, body
            assert await _as_json(queries, identity, name, body) == expected, body
        for _ in range(3):
            await _look_up(identity, queries, naive, asker, entity)
        for _ in range(4):
            body = asker.aggregate(identity, entity)
            ASKED["aggregate"] += 1
            counted = naive.aggregate(identity, name, body)
            totals = [each for line in counted for each in line.values() if type(each) is Around]
            if not all(each.is_held for each in totals):
                with pytest.raises(PylonError, match="larger than a number can be"):
                    await Aggregates(door).run(identity, name, body)
                continue
            found = await Aggregates(door).run(identity, name, body)
            assert counted == found, (body, counted, found)
    for _ in range(5):
        body = asker.graph(identity)
        ASKED["graph"] += 1
        found_graph = await _or_denied(Graphs(door).find(identity, body))
        if found_graph is None:
            assert hopeless & set(body)
        else:
            assert found_graph == naive.graph(identity, body), body


class Stingy(ReadDoor):
    """A door that finds every answer too large to be made at once."""

    async def fetch_within(
        self, sql: str, params: Sequence[Value], bytes_max: int | None
    ) -> list[Stored]:
        if bytes_max == limits.ANSWER_BYTES_WHOLE_MAX:
            raise PylonError(400, "ANSWER_TOO_LARGE", "")
        return await super().fetch_within(sql, params, bytes_max)


async def _as_json(queries: Queries, identity: Identity, name: str, body: object) -> object:
    """A query's answer as its route gives it: whole, and where that is too large in pieces."""
    whole = await queries.find_json(identity, name, body)
    assert isinstance(whole, bytes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "ANSWER_PIECE_BYTES", 100)
        stingy = Stingy(queries._door._context)
        found = await Queries(stingy).find_json(identity, name, body)
        assert isinstance(found, LongList)
        ASKED["long query"] += 1
        pieces = [piece.text async for piece in found.pieces()]
        assert decode(b"[" + b",".join(pieces) + b"]") == decode(whole)
        assert found.count == len(found)
    return decode(whole)


async def _or_denied(answer: Awaitable[T]) -> T | None:
    try:
        return await answer
    except PylonError as error:
        if error.code == "POLICY_DENIED":
            return None
        raise


async def _list_and_page(
    lists: Lists, identity: Identity, name: str, body: dict[str, Any], expected: list[Row]
) -> None:
    """The same question in the words of a list, and page by page."""
    if body.keys() & {"$after", "$limit", "$offset"}:
        return
    condition = {key: value for key, value in body.items() if key != "$order"}
    order = body.get("$order", {})
    signs = {"asc": "", "desc": "-"}
    sort = ",".join(f"{signs[word.lower()]}{field}" for field, word in order.items())
    asked = Asked(filter=condition, sort=sort, count="exact")
    found = await lists.find(identity, name, asked)
    assert isinstance(found.rows, bytes)
    assert decode(found.rows) == decode(encode(expected)), (condition, sort)
    assert found.total == Total(len(expected), "eq")
    seen: list[Row] = []
    after = ""
    for _ in range(len(expected) + 1):
        ASKED["page in an order"] += 1
        paged = msgspec.structs.replace(asked, limit=2, after=after)
        page, total = await lists.page(identity, name, paged)
        assert total == found.total
        seen += page.rows
        if not page.has_more:
            break
        assert page.next_cursor is not None
        after = page.next_cursor
    assert seen == expected, (condition, sort)


async def _pages(door: ReadDoor, identity: Identity, entity: str, limit: int) -> list[Row]:
    found: list[Row] = []
    after = ""
    while True:
        page = await door.page(identity, entity, after=after, limit=limit)
        found += page.rows
        if not page.has_more:
            return found
        assert len(page.rows) == limit
        assert page.next_cursor is not None
        after = page.next_cursor


async def _get_each(rows: Rows, identity: Identity, naive: Naive, entity: str) -> None:
    """Every row by its id, those that are hidden too."""
    seen = {
        row["id"]: naive.shown(identity, entity, row) for row in naive.visible(identity, entity)
    }
    for row_id in [*naive.ids(entity), "no row"]:
        ASKED["get"] += 1
        if row_id in seen:
            assert await rows.get(identity, entity, row_id) == seen[row_id]
        else:
            with pytest.raises(PylonError, match="No such row"):
                await rows.get(identity, entity, row_id)


async def _export(rows: Rows, naive: Naive, manifest: Manifest) -> None:
    """All rows, of all entities and of each, in both forms."""
    transfer = Transfer(rows, manifest, ImportUnits(rows), DirectCalls())
    everything = {each.name: naive.visible(ADMIN, each.name) for each in manifest.entities}
    forms: tuple[Format, ...] = ("json", "ndjson")
    for entity in (None, *everything):
        expected = everything if entity is None else {entity: everything[entity]}
        for form in forms:
            ASKED["export"] += 1
            async with aclosing(await transfer.export(entity, form=form)) as chunks:
                text = b"".join([chunk async for chunk in chunks])
            splitter = ObjectSplitter() if form == "json" else LineSplitter()
            found: dict[str, list[Row]] = {name: [] for name in expected}
            for read in [*splitter.feed(text), *splitter.finish()]:
                if read is None:
                    continue
                found[read.entity].append(read.row)
            assert found == expected
            if form == "json":
                assert decode(text)["counts"] == {n: len(of) for n, of in expected.items()}


async def _look_up(
    identity: Identity, queries: Queries, naive: Naive, asker: Asker, entity: EntitySpec
) -> None:
    ASKED["lookup"] += 1
    columns = asker.columns(identity, entity)
    field = asker.random.choice(list(columns))
    value = asker.value(columns[field])
    if columns[field] == "float":
        value = as_float(value)
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


# --- lists that are written to while they are read -------------------------------------------


@settings(effort(30), phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(world=apps())
def test_pages_show_what_stayed_whatever_is_written_between_them(
    world: tuple[Manifest, Random],
) -> None:
    asyncio.run(_walk(*world))


async def _walk(manifest: Manifest, random: Random) -> None:
    """Rows that a reader could see throughout come once each, in order; of the others each at
    most once, and only such as could be seen at the time."""
    stored = rows_of(manifest, random)
    pool = Pool(random=random)
    async with reading(manifest, stored) as rows:
        for identity in (ADMIN, pool.identity(), pool.identity()):
            for entity in manifest.entities:
                seen = await _or_denied(rows.list(identity, entity.name, limit=None, offset=0))
                if seen is None:
                    continue
                walks: tuple[_Walk, ...] = (_ByCursor(rows, identity, entity.name),)
                asker = Asker(random, manifest)
                order = asker.order(asker.columns(identity, entity))
                walks += (_ByOrder(rows, identity, entity.name, order),)
                for walk in walks:
                    await _hold(walk, rows, manifest, pool)


class _Walk:
    """A walk over an entity's pages."""

    def __init__(self, rows: Rows, identity: Identity, entity: str) -> None:
        self.rows = rows
        self.identity = identity
        self.entity = entity

    order: dict[str, str] = {"id": "asc"}

    async def after(self, last: Row | None, limit: int) -> list[Row]:
        raise NotImplementedError

    async def all(self) -> list[Row]:
        return await self.after(None, 1_000)


class _ByCursor(_Walk):
    async def after(self, last: Row | None, limit: int) -> list[Row]:
        after = "" if last is None else last["id"]
        page = await self.rows.page(self.identity, self.entity, after=after, limit=limit)
        return page.rows


class _ByOrder(_Walk):
    def __init__(self, rows: Rows, identity: Identity, entity: str, order: dict[str, str]) -> None:
        super().__init__(rows, identity, entity)
        self.order = order if "id" in order else {**order, "id": list(order.values())[-1]}

    async def after(self, last: Row | None, limit: int) -> list[Row]:
        body: Row = {"$order": self.order, "$limit": limit}
        if last is not None:
            body["$after"] = {name: last[name] for name in self.order}
        return await Queries(ReadDoor(self.rows)).find(self.identity, self.entity, body)


async def _hold(walk: _Walk, rows: Rows, manifest: Manifest, pool: Pool) -> None:
    versions: dict[str, list[Row | None]] = {}
    shown: list[Row] = []

    async def look() -> None:
        now = {row["id"]: row for row in await walk.all()}
        for row_id in now.keys() | versions.keys():
            versions.setdefault(row_id, [None] * steps).append(now.get(row_id))

    steps = 0
    await look()
    last: Row | None = None
    while page := await walk.after(last, pool.random.randrange(1, 4)):
        ASKED["page under writes"] += 1
        for row in page:
            assert versions[row["id"]][-1] == row, "as it is now"
        shown += page
        last = page[-1]
        for _ in range(pool.random.randrange(3)):
            await _write(rows, manifest, pool)
        steps += 1
        await look()
        if steps > 30:
            break
    entity = manifest.entities_by_name[walk.entity]
    folded = folded_fields(entity)
    compare = functools.partial(compare_rows, walk.order, kinds_of(entity), folded=folded)
    assert all(compare(one, other) < 0 for one, other in itertools.pairwise(shown)), "in order"
    if steps <= 30:
        unmoved = [
            row_id
            for row_id, rows_then in versions.items()
            if all(row is not None and row == rows_then[0] for row in rows_then) and row_id
        ]
        counted = Counter(row["id"] for row in shown)
        assert all(counted[row_id] == 1 for row_id in unmoved)


async def _write(rows: Rows, manifest: Manifest, pool: Pool) -> None:
    """One row comes, changes or goes, as an administrator or the server writes it."""
    random = pool.random
    entity = random.choice(manifest.entities)
    listed = await rows.list(ADMIN, entity.name, limit=None, offset=0)
    kind = random.choice(("insert", "update", "delete"))
    ids = {each.name: [row["id"] for row in listed] for each in (entity,)}
    data = {**pool.row(entity), **values_of(entity, ids, random)}
    data.pop("id")
    for field in entity.fields:
        if field.kind == "datetime":
            data[field.name] = random.choice((None, *GOOD_TIMES))
    if kind == "insert" or not listed:
        await rows.insert(ADMIN, entity.name, data)
    elif kind == "update":
        some = random.sample(sorted(data), random.randrange(1, len(data) + 1))
        patch = {name: data[name] for name in some}
        await rows.update(ADMIN, entity.name, random.choice(listed)["id"], patch)
    else:
        await rows.delete(ADMIN, entity.name, random.choice(listed)["id"])


def test_the_long_run_is_long() -> None:
    """After the others: how much they have asked."""
    if not ASKED:
        pytest.skip("nothing was asked in this run")
    print(f"asked {ASKED.total()}: {dict(ASKED)}")
    assert ASKED.total() >= 1_000
    assert ASKED.total() >= 100_000 or effort(WORLDS).max_examples == WORLDS
