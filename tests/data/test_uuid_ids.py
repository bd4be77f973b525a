"""A UUID is one id however it is written, at every door; what was stored before stays reachable."""

from __future__ import annotations

from typing import Any

import pytest

from pylon.data.bulk import Bulk
from pylon.data.graph import Graphs
from pylon.data.query import Queries
from pylon.data.write import Transaction
from pylon.errors import PylonError
from pylon.identity import ADMIN, Identity
from tests.sync.world import World, field, world

ANN = Identity(user_id="ann")
SMALL = "9154f696-8872-4a7b-aa2e-e22b63ec197e"
LARGE = SMALL.upper()
MIXED = SMALL[:18].upper() + SMALL[18:]
APP = {
    "manifest_version": 1,
    "name": "uuids",
    "version": "1",
    "routes": [],
    "entities": [
        {
            "name": "List",
            "fields": [field("title", "string")],
            "indexes": [],
            "relations": [{"name": "items", "target": "Item", "field": "listId", "many": True}],
        },
        {
            "name": "Item",
            "fields": [field("listId", "id(List)"), field("text", "string")],
            "indexes": [],
            "relations": [{"name": "list", "target": "List", "field": "listId"}],
        },
    ],
    "policies": [
        {"name": "lists", "entity": "List", "allow": "true"},
        {"name": "items", "entity": "Item", "allow": "true"},
    ],
}


async def store(app: World, row_id: str) -> None:
    """A row with this id, as an import of what was there before keeps it."""

    async def work(tx: Transaction) -> None:
        await tx.insert("List", {"title": row_id}, row_id=row_id)

    await app.rows.write(ADMIN, work)


async def refused(work: Any) -> str:
    with pytest.raises(PylonError) as caught:
        await work
    return caught.value.code


@pytest.mark.parametrize("first", [SMALL, LARGE, MIXED])
@pytest.mark.parametrize("second", [SMALL, LARGE, MIXED])
async def test_one_row_however_it_is_written(first: str, second: str) -> None:
    async with world(APP) as app:
        stored = (await app.rows.insert(ANN, "List", {"id": first, "title": "a"}))["id"]
        assert stored == (SMALL if first == MIXED else first)
        again = app.rows.insert(ANN, "List", {"id": second, "title": "b"})
        assert await refused(again) == "ID_TAKEN"
        assert (await app.rows.get(ANN, "List", second))["id"] == stored
        await app.rows.update(ANN, "List", second, {"title": "c"})
        assert await app.rows.get(ANN, "List", stored) == {"id": stored, "title": "c"}
        await app.rows.delete(ANN, "List", second)
        assert await app.rows.list(ANN, "List", limit=None, offset=0) == []
        assert (await app.rows.insert(ANN, "List", {"id": second}))["id"]


async def test_rows_that_were_stored_both_ways_are_both_there() -> None:
    async with world(APP) as app:
        for row_id in (SMALL, LARGE):
            await store(app, row_id)
        for row_id in (SMALL, LARGE):
            assert (await app.rows.get(ANN, "List", row_id))["title"] == row_id
        await app.rows.delete(ANN, "List", LARGE)
        assert (await app.rows.get(ANN, "List", LARGE))["title"] == SMALL


@pytest.mark.parametrize("stored", [SMALL, LARGE])
async def test_filters_lookups_and_graphs_find_it(stored: str) -> None:
    async with world(APP) as app:
        await app.rows.insert(ANN, "List", {"id": stored, "title": "a"})
        await app.rows.insert(ANN, "Item", {"listId": stored, "text": "x"})
        queries = Queries(app.rows.door)
        for asked in (SMALL, LARGE, MIXED):
            for where in ({"id": asked}, {"id": {"$in": [asked]}}, {"id": {"$eq": asked}}):
                assert [row["id"] for row in await queries.find(ANN, "List", where)] == [stored]
                found = await Graphs(app.rows.door).find(ANN, {"List": {"where": where}})
                assert [row["id"] for row in found["List"]] == [stored]
            assert await queries.find(ANN, "List", {"id": {"$ne": asked}}) == []
            assert await queries.find(ANN, "List", {"id": {"$nin": [asked]}}) == []
            assert len(await queries.find(ANN, "Item", {"listId": asked})) == 1
            assert (await queries.lookup(ANN, "List", "id", asked))["id"] == stored
            assert (await queries.lookup(ANN, "Item", "listId", asked))["text"] == "x"
        assert await queries.find(ANN, "List", {"title": SMALL}) == []


async def test_a_reference_in_capitals_is_kept_as_the_row_is_stored() -> None:
    async with world(APP) as app:
        await app.rows.insert(ANN, "List", {"id": SMALL, "title": "a"})
        item = await app.rows.insert(ANN, "Item", {"listId": LARGE, "text": "x"})
        assert item["listId"] == SMALL
        await app.rows.update(ANN, "Item", item["id"], {"listId": None})
        changed = await app.rows.update(ANN, "Item", item["id"], {"listId": LARGE})
        assert changed["listId"] == SMALL
        graph = await Graphs(app.rows.door).find(ANN, {"List": {"include": {"items": True}}})
        assert len(graph["List"][0]["items"]) == 1
        alone = await app.rows.insert(ANN, "Item", {"listId": LARGE[:-1] + "0"})
        assert alone["listId"] == LARGE[:-1] + "0", "nobody says that it names a row"


async def test_links_by_another_spelling() -> None:
    async with world(APP) as app:
        await app.rows.insert(ANN, "List", {"id": SMALL, "title": "a"})
        item = await app.rows.insert(ANN, "Item", {"text": "x"})
        await relate(app, "link", "Item", item["id"], "list", LARGE)
        assert (await app.rows.get(ANN, "Item", item["id"]))["listId"] == SMALL
        await relate(app, "unlink", "List", LARGE, "items", item["id"])
        assert (await app.rows.get(ANN, "Item", item["id"]))["listId"] is None
        await relate(app, "link", "List", LARGE, "items", item["id"])
        assert (await app.rows.get(ANN, "Item", item["id"]))["listId"] == SMALL


async def relate(app: World, op: str, entity: str, row_id: str, name: str, target: str) -> None:
    operation = {"op": op, "entity": entity, "id": row_id, "relation": name, "target_id": target}
    await Bulk(app.rows).transact(ANN, [operation])


async def test_ids_of_other_forms_are_texts() -> None:
    async with world(APP) as app:
        for row_id in ("a", "A", "ab" * 20, "AB" * 20, SMALL[:-1] + "g", SMALL[:-1] + "G"):
            await store(app, row_id)
            assert (await app.rows.get(ANN, "List", row_id))["id"] == row_id
        assert len(await app.rows.list(ANN, "List", limit=None, offset=0)) == 6
