"""What searches tell of rows that a caller may not see: nothing, to the last byte.

Two worlds differ in hidden rows only, or in what stands in a hidden field; whatever is asked, the
answers are equal. Each world is written in an order of its own, with rows that came and went.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.codec import encode
from pylon.data.door import ReadDoor
from pylon.data.search_typos import Within, neighbours
from pylon.errors import PylonError
from pylon.hooks import Hooks
from pylon.identity import ADMIN, ANONYMOUS, Identity
from pylon.store.search_words import Term
from tests.data.searching import NOTE, PRODUCT, Json, World, manifest_of, searching
from tests.policy.worlds import effort

ANN, BOB = Identity(user_id="ann"), Identity(user_id="bob")

WORDS = (
    *("red", "Rédo", "redwood", "shoe", "shoes", "sheo", "shoo", "blue"),
    *("umbrella", "umbrela", "umbrelle", "unbrella", "umbrellas", "🚀", "it's", "x-1", "word"),
)
TEXTS = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
BRANDS = st.sampled_from(("Acme", "Zed", "Acne"))
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "name": TEXTS,
        "body": TEXTS,
        "brand": BRANDS,
        "stock": st.booleans(),
        "size": st.integers(0, 2),
        "price": st.sampled_from((0.5, 2.0)),
    },
)

QUERIES = st.fixed_dictionaries(
    {"page_size": st.sampled_from((1, 3, 100)), "page": st.integers(0, 1)},
    optional={
        "query": st.one_of(
            st.lists(
                st.sampled_from((*WORDS, "sho", "u", "shoei", "umbbrella", "umbrello", "wrod")),
                min_size=1,
                max_size=3,
            ).map(" ".join),
            st.sampled_from(("red OR shoe", "umbr* NOT blue", "name:shoe", "NEAR(red shoe)", "")),
        ),
        "filters": st.fixed_dictionaries({}, optional={"brand": BRANDS, "size": st.just(1)}),
        "facetMode": st.sampled_from(("include", "exclude")),
        "sort": st.sampled_from((["price", "asc"], ["name", "desc"])),
        "highlight": st.just(True),
        "typos": st.booleans(),
    },
)

RANKED: Json = {"query": "red OR shoe OR blue OR umbrella", "page_size": 100, "page": 0}
MISTYPED: Json = {"query": "umbrellos", "page_size": 100, "page": 0, "highlight": True}
"""What tells most, asked each time."""

RULES: Mapping[str, Mapping[str, str | None]] = {
    "data.ownerId == auth.userId": {"seen": "ann", "hidden": "bob"},
    "data.ownerId == auth.userId || data.ownerId == 'all'": {"seen": "all", "hidden": "bob"},
    "exists(Note, rank == data.ownerId && text == auth.userId)": {"seen": "x", "hidden": "y"},
}
"""Rules, with the owner of rows that Ann sees and of those that she does not."""

WORLDS = {rule: manifest_of(PRODUCT, NOTE, policies={"Product": rule}) for rule in RULES}


def row_id(number: int) -> str:
    return f"{number:040x}"


async def written(world: World, rows: Mapping[int, Json]) -> None:
    await world.add("Note", rank="x", text="ann")
    await world.add("Note", rank="y", text="bob")
    for number, data in rows.items():
        await world.add(id=row_id(number), **data)


async def answers(world: World, caller: Identity, ask: Json) -> list[bytes]:
    """What every door that searches says to this caller."""
    told = [(await world.search(ask, by=caller)).to_json(0)]
    text = ask.get("query", "")
    listed: Json = {"$search": text, "$limit": ask["page_size"], "$offset": ask["page"]}
    aggregate = {"count": "*", "groupBy": ["brand"], "where": {"$search": text}}
    asked = (
        world.queries.find(caller, "Product", listed),
        world.queries.find(caller, "Product", {"$search": text, "$order": {"brand": "asc"}}),
        world.graphs.find(caller, {"Product": {"where": listed}}),
        world.aggregates.run(caller, "Product", aggregate),
    )
    whole = await world.queries.find_json(caller, "Product", listed)
    assert isinstance(whole, bytes), "these lists are short"
    return [
        *told,
        whole,
        *[encode(await each) for each in asked],
    ]


@effort(60)
@given(
    rule=st.sampled_from(list(RULES)),
    seen=st.lists(ROWS, max_size=8),
    hidden=st.lists(ROWS, min_size=1, max_size=8),
    times=st.sampled_from((1, 5)),
    order=st.randoms(use_true_random=False),
    asks=st.lists(QUERIES, min_size=1, max_size=6),
)
def test_hidden_rows_change_no_byte_of_any_answer(
    rule: str, seen: list[Json], hidden: list[Json], times: int, order: Any, asks: list[Json]
) -> None:
    owners = RULES[rule]
    plain = {number: {**row, "ownerId": owners["seen"]} for number, row in enumerate(seen)}
    others = {
        number: {**row, "ownerId": owners["hidden"]}
        for number, row in enumerate(hidden * times, len(seen))
    }
    mixed = list((plain | others).items())
    order.shuffle(mixed)

    async def run() -> None:
        async with searching(WORLDS[rule]) as one, searching(WORLDS[rule]) as two:
            await written(one, plain)
            await written(two, dict(mixed))
            for number in list(others)[::3]:
                await two.rows.delete(ADMIN, "Product", row_id(number))
            for number in list(others)[1::3]:
                await two.rows.update(ADMIN, "Product", row_id(number), {"name": "shoe umbrela"})
            for ask in (RANKED, MISTYPED, *asks):
                assert await answers(two, ANN, ask) == await answers(one, ANN, ask)

    asyncio.run(run())


@effort(40)
@given(
    rows=st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=8),
    asks=st.lists(QUERIES, min_size=1, max_size=6),
    caller=st.sampled_from((ANN, ANONYMOUS)),
)
def test_hidden_fields_change_no_byte_either(
    rows: list[tuple[str, str, str]], asks: list[Json], caller: Identity
) -> None:
    async def run() -> None:
        hooks = Hooks()
        hooks.on_read("Product", "body")(lambda *_: {"body": "hidden"})
        manifest = manifest_of(PRODUCT, NOTE)
        worlds = searching(manifest, hooks=hooks), searching(manifest, hooks=hooks)
        async with worlds[0] as one, worlds[1] as two:
            for number, (name, body, other) in enumerate(rows):
                await one.add(id=row_id(number), name=name, body=body)
                await two.add(id=row_id(number), name=name, body=other)
            for ask in asks:
                assert await answers(two, caller, ask) == await answers(one, caller, ask)

    asyncio.run(run())


async def test_a_rare_word_counts_by_what_the_caller_sees() -> None:
    async with searching(WORLDS["data.ownerId == auth.userId"]) as world:
        for name in ("apple filler", "pear filler filler", "apple pear", "pear pear pear plum"):
            await world.add(name=name, ownerId="ann")
        before = await world.names("apple OR pear", by=ANN)
        assert before[0] == "apple pear"
        for _ in range(50):
            await world.add(name="apple apple apple and a long text behind it", ownerId="bob")
        assert await world.names("apple OR pear", by=ANN) == before
        found = await world.queries.find(ANN, "Product", {"$search": "pear"})
        assert next(row["name"] for row in found) == "pear pear pear plum"


async def test_hidden_words_take_no_place_of_those_that_are_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SEARCH_TYPO_CANDIDATES_MAX", 2)
    monkeypatch.setattr(limits, "SEARCH_TYPO_NEIGHBOURS_MAX", 1)
    async with searching(WORLDS["data.ownerId == auth.userId"]) as world:
        await world.add(name="umbrellas", ownerId="ann")
        assert await world.names("umbrelos", by=ANN) == ["umbrellas"]
        for word in ("umbrela", "umbreloa", "umbreloas", "umbrelosa", "umbrelo"):
            await world.add(name=word, ownerId="bob")
        assert await world.names("umbrelos", by=ANN) == ["umbrellas"]


async def test_a_word_is_taken_as_it_is_where_looking_takes_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with searching(WORLDS["data.ownerId == auth.userId"]) as world:
        await world.add(name="umbrella", ownerId="ann")
        door = ReadDoor(world.rows)
        within = Within(door.open(ANN, "Product"), ("name",))
        assert await neighbours(door, "Product", Term("umbrela"), within=within) == ["umbrella"]
        asked = []

        async def late(sql: str, params: Any = (), *, seconds: float | None = None) -> Any:
            asked.append(seconds)
            raise PylonError(503, "QUERY_TIMEOUT", "")

        door = ReadDoor(world.rows, fetch=late)
        assert await neighbours(door, "Product", Term("umbrela"), within=within) == []
        assert asked == [limits.SEARCH_TYPO_SECONDS_MAX]
