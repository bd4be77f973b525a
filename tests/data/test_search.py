"""Searches over a real store: what is found, counted and shown, and to whom."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pylon import limits
from pylon.codec import decode
from pylon.data.door import ReadDoor
from pylon.data.search import highlighted
from pylon.data.search_highlight import Marker
from pylon.errors import PylonError
from pylon.identity import ADMIN, ANONYMOUS, Identity
from pylon.store.search_words import Term
from tests.data.searching import NOTE, PRODUCT, World, a_plain, manifest_of, searching

ANN, BOB = Identity(user_id="ann"), Identity(user_id="bob")
MANIFEST = manifest_of(PRODUCT, NOTE)
OWNED = manifest_of(PRODUCT, policies={"Product": "data.ownerId == auth.userId"})


async def refused(world: World, body: Any, by: Identity = ADMIN, entity: str = "Product") -> Any:
    with pytest.raises(PylonError) as caught:
        await world.search(body, by=by, entity=entity)
    return caught.value.status, caught.value.code


async def shop(world: World) -> None:
    for name, brand, stock, size, price in (
        ("Red shoe", "Acme", True, 1, 10.5),
        ("Blue shoe", "Acme", False, 2, 7.0),
        ("Red coat", "Zed", True, 2, None),
        ("Green hat", None, None, None, 99.0),
    ):
        await world.add(name=name, brand=brand, stock=stock, size=size, price=price)


# --- finding ---------------------------------------------------------------------------------


async def test_words_phrases_prefixes_and_syntax() -> None:
    async with searching(MANIFEST) as world:
        await shop(world)
        assert await world.names("") == ["Red shoe", "Blue shoe", "Red coat", "Green hat"]
        assert await world.names("  ") == await world.names("")
        assert await world.names("shoe red") == ["Red shoe"]
        assert await world.names("SHO") == ["Red shoe", "Blue shoe"]
        assert await world.names("sho ", typos=False) == []
        assert await world.names('"shoe red"') == []
        assert sorted(await world.names("coat OR hat")) == ["Green hat", "Red coat"]
        assert await world.names("red NOT name:coat") == ["Red shoe"]
        assert await world.names('"; DROP TABLE Product') == []
        assert await world.names("!!!") == []


async def test_relevance_orders_where_no_sort_is_given() -> None:
    async with searching(MANIFEST) as world:
        await world.add(name="a long name about many things and red too", body="blue")
        await world.add(name="red", body="red red")
        assert [len(name) for name in await world.names("red")] == [3, 41]
        rows = await world.queries.find(ADMIN, "Product", {"$search": "red"})
        assert [len(row["name"]) for row in rows] == [3, 41]
        sorted_ = await world.names("red", sort=["name", "asc"])
        assert [len(name) for name in sorted_] == [41, 3]


async def test_letters_of_all_kinds() -> None:
    async with searching(MANIFEST) as world:
        for name in (
            "Café Zürich",
            "Łódź",
            "日本語 テキスト",
            "🚀 launch",
            "naïve",
            "ΣΊΣΥΦΟΣ",
            "Straße",
        ):
            await world.add(name=name)
        for query, name in (
            ("cafe", "Café Zürich"),
            ("ZURICH", "Café Zürich"),
            ("cafe\u0301", "Café Zürich"),
            ("日本", "日本語 テキスト"),
            ("🚀", "🚀 launch"),
            ("🚀 lau", "🚀 launch"),
            ("naive", "naïve"),
            ("σίσυφος", "ΣΊΣΥΦΟΣ"),
            ("straße", "Straße"),
        ):
            assert await world.names(query, typos=False) == [name], query
        assert await world.names("🚗", typos=False) == []


async def test_the_index_follows_every_write() -> None:
    async with searching(MANIFEST) as world:
        first = await world.add(name="red", body="apple")
        await world.rows.update(ADMIN, "Product", first, {"body": "pear"})
        assert await world.names("apple", typos=False) == []
        assert await world.names("pear") == ["red"]
        await world.rows.update(ADMIN, "Product", first, {"name": None, "brand": "x"})
        assert await world.names("red", typos=False) == []
        await world.rows.delete(ADMIN, "Product", first)
        assert await world.names("pear", typos=False) == []
        # The number of the row that went may be given again.
        await world.add(name="plum")
        assert await world.names("pear", typos=False) == []
        assert await world.names("plum") == ["plum"]
        assert await world.is_whole()


async def test_what_fails_leaves_no_trace() -> None:
    async with searching(MANIFEST) as world:
        kept = await world.add(name="kept")

        async def fail(tx: Any) -> None:
            await tx.insert("Product", {"name": "lost"})
            await tx.update("Product", kept, {"name": "lost too"})
            raise PylonError(400, "INVALID_DATA", "no")

        with pytest.raises(PylonError):
            await world.rows.write(ADMIN, fail)
        assert await world.names("lost", typos=False) == []
        assert await world.names("kept") == ["kept"]
        assert await world.is_whole()


async def test_names_that_fts5_keeps_for_itself() -> None:
    async with searching(MANIFEST) as world:
        await world.add("Note", rank="first", text="second")
        for query in ("first", "rank:first", "text:second"):
            assert (await world.search({"query": query}, entity="Note")).total == 1
        assert (await world.search({"query": "rank:second"}, entity="Note")).total == 0


# --- typos -----------------------------------------------------------------------------------


async def test_mistyped_words_find_their_neighbours() -> None:
    async with searching(MANIFEST) as world:
        await shop(world)
        await world.add(name="Umbrella stand")
        assert await world.names("sheo red") == ["Red shoe"]
        assert await world.names("umbrela") == ["Umbrella stand"]
        assert await world.names("umbrrelle stand") == ["Umbrella stand"]
        assert await world.names("gren hat") == ["Green hat"]
        # Short words, and words that are there but not together, are taken as they are.
        assert await world.names("rde") == []
        assert await world.names("green shoe") == []
        assert await world.names("sheo", typos=False) == []
        assert await world.names('"sheo"') == []


async def test_typos_tell_nothing_of_hidden_rows() -> None:
    async with searching(OWNED) as world:
        await world.add(name="shoe", ownerId="ann")
        before = await world.names("shoo", by=ANN)
        await world.add(name="shoo", ownerId="bob")
        assert await world.names("shoo", by=ANN) == before == ["shoe"]


# --- counting --------------------------------------------------------------------------------


async def test_facets_count_what_was_found() -> None:
    async with searching(MANIFEST) as world:
        await shop(world)
        everything = await world.search({})
        assert everything.total == 4
        assert everything.facet_counts == {
            "brand": {"Acme": 2, "Zed": 1},
            "stock": {"true": 2, "false": 1},
            "size": {"2": 2, "1": 1},
            "price": {"7.0": 1, "10.5": 1, "99.0": 1},
        }
        found = await world.search({"query": "shoe", "facets": ["stock", "nope", "brand"]})
        assert found.facet_counts == {"stock": {"false": 1, "true": 1}, "brand": {"Acme": 2}}
        assert list(found.facet_counts) == ["stock", "brand"]
        found = await world.search({"facets": ["size"], "facetLimit": 1})
        assert found.facet_counts == {"size": {"2": 2}}


async def test_filters_compare_with_values_and_their_texts() -> None:
    async with searching(MANIFEST) as world:
        await shop(world)
        for filters, total in (
            ({"brand": "Acme"}, 2),
            ({"brand": "Acme", "stock": True}, 1),
            ({"stock": "true"}, 2),
            ({"stock": 0}, 1),
            ({"size": 2}, 2),
            ({"size": "2"}, 2),
            ({"size": "two"}, 0),
            ({"price": 10.5}, 1),
            ({"price": "7.0"}, 1),
            ({"price": 7}, 1),
            ({"brand": None}, 0),
            ({"brand": ["Acme"]}, 0),
            ({"brand": {"$ne": "Acme"}}, 0),
            ({"size": 10**30}, 0),
            ({"size": 2.5}, 0),
            ({"size": "2.0"}, 0),
            ({"price": 10**400}, 0),
            ({"price": "inf"}, 0),
            ({"name": "Red shoe"}, 4),
            ({"cost": "x"}, 4),
        ):
            found = await world.search({"filters": filters})
            assert (len(found.hits), found.total) == (total, total), filters


async def test_a_facet_can_leave_out_its_own_filter() -> None:
    async with searching(MANIFEST) as world:
        await shop(world)
        body = {"filters": {"brand": "Acme", "stock": True}, "facets": ["brand", "stock", "size"]}
        included = await world.search(body)
        assert included.facet_counts == {
            "brand": {"Acme": 1},
            "stock": {"true": 1},
            "size": {"1": 1},
        }
        excluded = await world.search({**body, "facetMode": "exclude"})
        assert (excluded.hits, excluded.total) == (included.hits, 1)
        assert excluded.facet_counts == {
            "brand": {"Acme": 1, "Zed": 1},
            "stock": {"false": 1, "true": 1},
            "size": {"1": 1},
        }


async def test_numbers_beyond_64_bits_are_found_in_columns_of_floats() -> None:
    async with searching(MANIFEST) as world:
        row_id = await world.add(name="Far", price=1e300)
        for price in (1e300, "1e300", "1e+300"):
            found = await world.search({"filters": {"price": price}})
            assert [row["id"] for row in found.rows] == [row_id], price


async def test_a_filter_that_no_row_can_pass_leaves_its_own_facet_counted() -> None:
    async with searching(MANIFEST) as world:
        await shop(world)
        excluded = await world.search(
            {"filters": {"size": "two"}, "facets": ["brand", "size"], "facetMode": "exclude"}
        )
        every = await world.search({"facets": ["size"]})
        assert (excluded.hits, excluded.total) == ([], 0)
        assert excluded.facet_counts == every.facet_counts


async def test_a_filter_narrows_hits_totals_and_counts() -> None:
    async with searching(MANIFEST) as world:
        await shop(world)

        async def found(**body: Any) -> tuple[list[str], dict[str, Any]]:
            answer = await world.search(body)
            assert answer.total == len(answer.hits)
            return sorted(row["name"] for row in answer.rows), answer.facet_counts.get("brand", {})

        dear = {"price": {"$gt": 8}}
        assert await found(where=dear) == (["Green hat", "Red shoe"], {"Acme": 1})
        assert await found(query="red", where=dear) == (["Red shoe"], {"Acme": 1})
        several = {"brand": {"$in": ["Acme", "Zed"]}}
        assert await found(where=several, filters={"stock": True}, facetMode="exclude") == (
            ["Red coat", "Red shoe"],
            {"Acme": 1, "Zed": 1},
        )
        assert await found(query="shoe", where={"$search": "blue"}) == (["Blue shoe"], {"Acme": 1})
        assert await found(where={"$or": []}) == ([], {})


async def test_long_texts_are_no_values_of_a_facet() -> None:
    async with searching(MANIFEST) as world:
        long, short = "x" * (limits.SEARCH_FACET_BYTES_MAX + 1), "x" * limits.SEARCH_FACET_BYTES_MAX
        await world.add(name="red one", brand=long)
        await world.add(name="red two", brand=short)
        for body in ({}, {"query": "red"}, {"query": "red", "sort": ["name", "asc"]}):
            found = await world.search(body)
            assert found.facet_counts == {"brand": {short: 1}}
            assert {row["brand"] for row in found.rows} == {long, short}
        assert (await world.search({"filters": {"brand": long}})).total == 1


# --- order and pages -------------------------------------------------------------------------


async def test_sorts_pages_and_ties() -> None:
    async with searching(MANIFEST) as world:
        for number in range(7):
            await world.add(name=f"n{number}", price=float(number // 3), body="all")
        for query in ("", "all"):
            for word, expected in (("asc", "0123456"), ("DESC", "6543210"), ("up", "0123456")):
                seen = []
                for page in range(4):
                    body = {"sort": ["price", word], "page": page, "page_size": 2, "query": query}
                    found = await world.search(body)
                    assert found.total == 7
                    seen += [row["name"][1:] for row in found.rows]
                assert "".join(seen) == expected
        assert await world.names("", sort=["brand", "desc"]) == await world.names("")
        assert len((await world.search({"pageSize": 3})).hits) == 3
        assert len((await world.search({"page_size": 0})).hits) == 1


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"query": 1},
        {"filters": []},
        {"where": []},
        {"where": {"price": {"$gt": "x"}}},
        {"where": {"$limit": 1}},
        {"facets": "brand"},
        {"facets": [1]},
        {"page": -1},
        {"page": 1.5},
        {"page": True},
        {"page": 2**63 - 1},
        {"page_size": "2"},
        {"sort": "price"},
        {"sort": ["price"]},
        {"sort": ["price", 1]},
        {"facetMode": "both"},
        {"facetLimit": -1},
        {"highlight": "name"},
        {"typos": 1},
        {"query": "x " * (limits.SEARCH_WORDS_MAX + 1)},
    ],
)
async def test_wrong_types_are_refused(body: Any) -> None:
    async with searching(MANIFEST) as world:
        assert await refused(world, body) == (400, "INVALID_QUERY")


async def test_nulls_and_unknown_keys_are_passed_over() -> None:
    async with searching(MANIFEST) as world:
        await shop(world)
        body = dict.fromkeys(("query", "filters", "facets", "sort", "page", "page_size", "x"))
        assert (await world.search(body)).total == 4


# --- showing ---------------------------------------------------------------------------------


async def test_excerpts_are_safe_html() -> None:
    async with searching(MANIFEST) as world:
        await world.add(name="<b>Red</b> & Crème brûlée", body="nothing")
        found = await world.search({"query": "red creme", "highlight": ["name", "body", "cost"]})
        assert found.rows[0]["_highlight"] == {
            "name": "&lt;b&gt;<mark>Red</mark>&lt;/b&gt; &amp; <mark>Crème</mark> brûlée"
        }
        assert found.rows[0]["name"].startswith("<b>")
        found = await world.search({"query": "noth", "highlight": True})
        assert found.rows[0]["_highlight"] == {"body": "<mark>nothing</mark>"}
        assert "_highlight" not in (await world.search({"query": "red"})).rows[0]
        assert "_highlight" not in (await world.search({"query": "", "highlight": True})).rows[0]


async def test_excerpts_of_a_page_share_what_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SEARCH_HIGHLIGHTS_CHARACTERS_MAX", 400)
    async with searching(MANIFEST) as world:
        for number in range(4):
            await world.add(name=f"red {number}", body="blue " * 12 + "red " * 50)
        few = await world.search({"query": "red", "highlight": True, "page_size": 1})
        assert set(few.rows[0]["_highlight"]) == {"name", "body"}
        many = await world.search({"query": "red", "highlight": True, "page_size": 4})
        assert [set(row["_highlight"]) for row in many.rows] == [{"name"}] * 4
        one = await world.search({"query": "red", "highlight": ["body"], "page_size": 4})
        assert [set(row["_highlight"]) for row in one.rows] == [{"body"}] * 4


async def test_others_have_their_turns_between_excerpts() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with searching(MANIFEST) as world:
        hits, texts = ['{"id":"x"}'] * 30, ['["red text",null]'] * 30
        counting = asyncio.create_task(count())
        marker, door = Marker([Term("red")]), ReadDoor(world.rows)
        marked = await highlighted(hits, texts, ("name", "body"), marker, door.let_others)
        counting.cancel()
        assert turns >= len(marked) - 1 == 29
        assert decode(marked[0]) == {
            "id": "x",
            "_highlight": {"name": "<mark>red</mark> text"},
        }

        async def unit(tx: Any) -> None:
            door = ReadDoor(world.rows, fetch=tx.fetch)
            await highlighted(hits, texts, ("name", "body"), marker, door.let_others)

        await world.rows.store.write(unit)


async def test_answers_have_both_spellings() -> None:
    async with searching(MANIFEST) as world:
        await shop(world)
        body = decode((await world.search({"query": "coat"})).to_json(3))
        assert list(body) == ["hits", "facet_counts", "total", "took_ms", "facetCounts", "tookMs"]
        assert body["hits"][0]["stock"] is True
        assert body["facetCounts"] == body["facet_counts"]
        assert (body["took_ms"], body["tookMs"]) == (3, 3)


# --- who may see what ------------------------------------------------------------------------


async def test_hits_totals_and_counts_are_of_readable_rows() -> None:
    async with searching(OWNED) as world:
        for owner in ("ann", "bob", "bob"):
            await world.add(name=f"red of {owner}", brand=owner, ownerId=owner)
        for query in ("", "red"):
            found = await world.search({"query": query}, by=BOB)
            assert (len(found.hits), found.total) == (2, 2)
            assert found.facet_counts == {"brand": {"bob": 2}}
        assert (await world.search({}, by=Identity(user_id="eve"))).total == 0
        assert (await world.search({})).total == 3
        rows = await world.queries.find(BOB, "Product", {"$search": "red"})
        assert {row["brand"] for row in rows} == {"bob"}


async def test_refusals() -> None:
    code = "SEARCH_REQUIRES_ROW_INDEPENDENT_POLICY"
    manifest = manifest_of(PRODUCT, a_plain("Plain"), policies={"Product": "auth.userId != null"})
    async with searching(manifest) as world:
        assert await refused(world, {}, ANONYMOUS) == (403, code)
        assert (await world.search({}, by=ANN)).total == 0
        assert await refused(world, {}, entity="Nope") == (404, "ENTITY_NOT_FOUND")
        assert await refused(world, {}, entity="Plain") == (400, "SEARCH_NOT_CONFIGURED")


async def test_private_fields_are_for_administrators_only() -> None:
    async with searching(MANIFEST) as world:
        await world.add(name="red", cost="hidden")
        found = await world.search({"query": "red"}, by=ANN)
        assert "cost" not in found.rows[0]
        assert (await world.search({"query": "red"})).rows[0]["cost"] == "hidden"
        for query in ("hidden", "cost:hidden"):
            assert (await world.search({"query": query}, by=ANN)).total == 0


# --- $search in filters ----------------------------------------------------------------------


async def test_a_filter_searches_and_compares() -> None:
    async with searching(MANIFEST) as world:
        await shop(world)

        async def names(body: Any, by: Identity = ANN) -> list[str]:
            return [row["name"] for row in await world.queries.find(by, "Product", body)]

        assert await names({"$search": "red", "brand": "Acme"}) == ["Red shoe"]
        assert await names({"$search": "red", "name": {"$like": "coa"}}) == ["Red coat"]
        order = {"price": "desc"}
        assert await names({"$search": "shoe", "$order": order}) == ["Red shoe", "Blue shoe"]
        assert await names({"$search": "shoe", "$order": order, "$limit": 1}) == ["Red shoe"]
        assert await names({"$search": '"shoe', "$or": [{"size": 1}, {"size": 9}]}) == ["Red shoe"]
        assert await names({"$search": ""}) == await names({})
        assert await names({"$search": "?"}) == []


async def test_a_filter_searches_every_text_and_a_search_those_configured() -> None:
    async with searching(MANIFEST) as world:
        await shop(world)
        find = world.queries.find
        assert len(await find(ANN, "Product", {"$search": "acme"})) == 2
        assert (await world.search({"query": "acme", "typos": False})).total == 0
        assert (await world.search({"query": "brand:acme", "typos": False})).total == 0


async def test_without_an_index_texts_are_looked_through() -> None:
    async with searching(manifest_of(a_plain("Product"))) as world:
        await world.add(title="100% Wool", cost="silver")
        for by in (ANN, ADMIN):
            for text, count in (
                ("WOO", 1),
                ("100% woo", 1),
                ('"100% wool"', 1),
                ("oo 100", 0),
                ('"wool 100"', 0),
                ("wöol title:100", 1),
                ("wöol title:99", 0),
                ("title:wóol NOT 99", 1),
                ("silver", 0),
                ("w_ol", 0),
                (" ", 1),
            ):
                found = await world.queries.find(by, "Product", {"$search": text})
                assert len(found) == count, text
