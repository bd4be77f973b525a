"""Fields in which A to Z in either case are one value: at every door, and as they were sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from pylon.data.imports import ImportRow, ImportUnit, ImportUnits, key_of
from pylon.errors import PylonError
from pylon.identity import ADMIN, Identity
from tests.data.searching import World, column, manifest_of, searching
from tests.schema.samples import an_entity

PRODUCT = an_entity(
    "Product",
    column("name", unique=True, caseInsensitive=True),
    column("brand", caseInsensitive=True),
    column("code"),
    column("ownerMail", caseInsensitive=True),
    indexes=[{"name": "code", "fields": ["code"], "unique": True, "caseInsensitive": True}],
    search={"text": ["name"], "facets": ["brand"], "sortable": ["name"]},
    crdt=False,
)
NOTE = an_entity(
    "Note", column("rank", caseInsensitive=True), column("text"), search={"text": ["text"]},
    crdt=False,
)  # fmt: skip
ROWS = (("Kim@Example.org", "ACME"), ("bob@x", "acme"), ("Ann@x", None), ("É@x", "Éa"))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with searching(manifest_of(PRODUCT, NOTE)) as made:
        for name, brand in ROWS:
            await made.add(name=name, brand=brand)
        yield made


async def names(world: World, body: dict[str, Any], by: Identity = ADMIN) -> list[str]:
    return [row["name"] for row in await world.queries.find(by, "Product", body)]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ({"name": "kim@example.ORG"}, ["Kim@Example.org"]),
        ({"name": {"$in": ["BOB@X", "ann@x", "é@x"]}}, ["Ann@x", "bob@x"]),
        ({"name": {"$nin": ["BOB@X", "ann@x"]}}, ["Kim@Example.org", "É@x"]),
        ({"name": {"$ne": "KIM@EXAMPLE.ORG"}}, ["Ann@x", "bob@x", "É@x"]),
        ({"name": {"$startsWith": "kIM@"}}, ["Kim@Example.org"]),
        ({"name": {"$contains": "EXAMPLE"}}, ["Kim@Example.org"]),
        ({"name": {"$gte": "B", "$lt": "l"}}, ["bob@x", "Kim@Example.org"]),
        ({"$not": {"name": {"$not": {"$eq": "BOB@x"}}}}, ["bob@x"]),
        ({"name": {"$not": None}, "brand": "Acme"}, ["bob@x", "Kim@Example.org"]),
    ],
)
async def test_filters(world: World, condition: dict[str, Any], found: list[str]) -> None:
    assert await names(world, {**condition, "$order": {"name": "asc"}}) == found


async def test_orders_and_pages(world: World) -> None:
    everyone = ["Ann@x", "bob@x", "Kim@Example.org", "É@x"]
    assert await names(world, {"$order": {"name": "asc"}}) == everyone
    assert await names(world, {"$order": {"name": "desc"}}) == everyone[::-1]
    for order in ("asc", "desc"):
        shown: list[str] = []
        after: dict[str, Any] = {}
        while page := await world.queries.find(
            ADMIN, "Product", {"$order": {"name": order}, "$limit": 1, **after}
        ):
            shown += [row["name"] for row in page]
            after = {"$after": {"name": page[-1]["name"], "id": page[-1]["id"]}}
        assert shown == (everyone if order == "asc" else everyone[::-1])


async def test_lookups_searches_and_groups(world: World) -> None:
    found = await world.queries.lookup(ADMIN, "Product", "name", "KIM@EXAMPLE.ORG")
    assert found["name"] == "Kim@Example.org"
    answer = await world.search({"filters": {"brand": "aCmE"}, "sort": ["name", "asc"]}, by=ADMIN)
    assert [row["name"] for row in answer.rows] == ["bob@x", "Kim@Example.org"]
    everything = await world.search({"facetMode": "exclude", "filters": {"brand": "ACME"}})
    assert everything.facet_counts == {"brand": {"ACME": 2, "Éa": 1}}
    groups = await world.aggregates.run(
        ADMIN, "Product", {"groupBy": ["brand"], "count": "*", "countDistinct": ["brand"]}
    )
    assert [(row["brand"], row["count"]) for row in groups] == [(None, 1), ("ACME", 2), ("Éa", 1)]


async def test_unique_fields_and_indexes(world: World) -> None:
    for data in ({"name": "kim@example.org"}, {"name": "ANN@X"}):
        with pytest.raises(PylonError) as caught:
            await world.add(**data)
        assert (caught.value.status, caught.value.code) == (400, "INSERT_FAILED")
        assert "Product.name" in caught.value.message
    await world.add(name="é@x")  # another letter, as far as we know
    row_id = await world.add(name="1", code="AB")
    other = await world.add(name="2", code="ABC")
    with pytest.raises(PylonError) as caught:
        await world.rows.update(ADMIN, "Product", other, {"code": "ab"})
    assert "Product.code" in caught.value.message
    # The index folds, the field does not.
    assert await names(world, {"code": "ab"}) == []
    await world.rows.update(ADMIN, "Product", row_id, {"code": "aB", "name": "one"})
    assert await names(world, {"code": "aB"}) == ["one"]


async def test_an_index_serves_what_is_asked(world: World) -> None:
    sql = 'EXPLAIN QUERY PLAN SELECT 1 FROM "Product" t WHERE lower(t."name") = ?'
    ((*_, plan),) = await world.rows.store.read(sql, ("x",))
    assert "Product_name_unique" in plan


RULES = {
    "by the caller": "data.ownerMail == auth.email",
    "by a literal": 'data.ownerMail == "ANN@x" || data.brand == "aCME"',
    "by another row": "exists(Note, rank == data.ownerMail && text == auth.userId)",
    "by the caller's rows": "exists(Note, rank == auth.email)",
    "by order": 'data.ownerMail >= "ANN@X" && data.ownerMail <= "aNN@x"',
    "in a list": 'data.ownerMail in ["b", "ANN@x"]',
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
async def test_policies(rule: str) -> None:
    ann = Identity(user_id="ann", email="aNN@X")
    bob = Identity(user_id="bob", email="bob@x")
    async with searching(manifest_of(PRODUCT, NOTE, policies={"Product": rule})) as world:
        await world.add("Note", rank="Ann@x", text="ann")
        await world.add(name="hers", ownerMail="ANN@x")
        policy = world.rows.policies.entity("Product").read
        (row,) = await world.queries.find(ADMIN, "Product", {})
        lookup = world.rows.policies.lookup()
        await lookup.gather(policy, ann, [(row, row)])
        assert policy.allows(ann, row, row, lookup)
        assert await names(world, {}, by=ann) == ["hers"]
        if "auth" in rule:
            await lookup.gather(policy, bob, [(row, row)])
            assert not policy.allows(bob, row, row, lookup)
            assert not policy.where(bob).never
            assert await names(world, {}, by=bob) == []


async def test_what_was_sent_comes_back(world: World) -> None:
    row_id = await world.add(name="NeW@X.org", ownerMail="ÄB")
    row = await world.rows.get(ADMIN, "Product", row_id)
    assert (row["name"], row["ownerMail"]) == ("NeW@X.org", "ÄB")


async def test_an_import_finds_rows_by_a_key_in_either_case(world: World) -> None:
    units = ImportUnits(world.rows)
    await world.add(name="coded", code="AB")
    for fields, row in ((["name"], {"name": "KIM@example.org", "brand": "new"}), (
        ["code"], {"name": "coded", "code": "aB", "brand": "new"}
    )):  # fmt: skip
        key = key_of(world.rows, "Product", fields)
        unit = ImportUnit("upsert", [ImportRow(1, "Product", row)], key)
        assert await units.write(ADMIN, unit) == ["updated"]
        assert await names(world, {"brand": "NEW"}) == [row["name"]]
        await world.rows.update(ADMIN, "Product", await the_id(world, row["name"]), {"brand": None})


async def the_id(world: World, name: str) -> str:
    found = await world.queries.lookup(ADMIN, "Product", "name", name)
    row_id: str = found["id"]
    return row_id
