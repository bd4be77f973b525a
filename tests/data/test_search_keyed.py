"""Searches under a rule that pins a field: by the marked words of the index or by all of them, the
answers are the same to the last byte; and they cost by the caller's rows.

What the answers should be, `test_search_oracle` and `test_search_hidden` say.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.codec import encode
from pylon.identity import ADMIN, Identity
from pylon.policy.engine import Rule
from pylon.store.search_keys import SIGN, SearchKey, mark_of
from pylon.store.search_query import Phrase, Piece
from tests.data.searching import PRODUCT, Json, World, manifest_of, searching
from tests.policy.worlds import effort

OWNER = "data.ownerId == auth.userId"
RULES = (
    OWNER,
    f"{OWNER} && data.stock == true",
    f"auth.hasRole('support') && data.brand == 'Acme' || {OWNER}",
    "data.brand == auth.tenantId",
    f"data.brand == auth.tenantId && {OWNER}",
    "data.name == auth.userId",
)
"""The last by a field that is searched itself."""

PEOPLE = ("ann", "bob", "Ann", "red", "")
CALLERS = (
    Identity(user_id="ann", tenant_id="Acme"),
    Identity(user_id="ann", tenant_id="Zed", roles=("support",)),
    Identity(user_id="bob", tenant_id="Acme", roles=("support",)),
    Identity(user_id="Ann", tenant_id="Zed"),
    Identity(user_id="red", tenant_id="acme"),
)
WORDS = (
    *("red", "Rédo", "redwood", "shoe", "shoes", "sheo", "umbrella", "umbrelle", "x-1", "天気予報"),
    *("Straße", "it's", "🚀", "ann", SIGN, mark_of("ann") + "red", "\0"),
)
TEXTS = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "name": TEXTS | st.sampled_from(PEOPLE),
    "body": TEXTS | st.none(),
    "brand": st.sampled_from(("Acme", "Zed", None)),
    "stock": st.booleans(),
    "price": st.sampled_from((0.5, 2.0)),
    "ownerId": st.sampled_from(PEOPLE) | st.none(),
}
ROWS = st.fixed_dictionaries({}, optional=VALUES)
WRITES = st.lists(
    st.tuples(st.sampled_from(("insert", "insert", "update", "delete")), st.integers(0, 9), ROWS),
    min_size=1,
    max_size=20,
)
QUESTIONS = st.lists(st.sampled_from((*WORDS, "sho", "umbbrella", "気予")), max_size=3).map(
    " ".join
) | st.sampled_from(
    (
        *("red OR shoe", "umbr* NOT red", "name:shoe", "-name:shoe", "{name body}:red", "^red"),
        *(
            '"red shoe"',
            "NEAR(red shoe, 1)",
            "red + sho*",
            "(red OR 天気) shoe",
            '""',
            "red AND ...",
        ),
    )
)
ASKED = st.fixed_dictionaries(
    {"query": QUESTIONS, "page_size": st.sampled_from((2, 100))},
    optional={
        "filters": st.just({"brand": "Acme"}),
        "facetMode": st.sampled_from(("include", "exclude")),
        "highlight": st.just(True),
        "sort": st.just(("price", "desc")),
        "where": st.sampled_from(
            ({"$search": "red"}, {"$search": "shoe", "stock": True}, {"price": {"$gt": 1}})
        ),
    },
)


async def write(world: World, writes: list[Any], ids: list[str]) -> None:
    for kind, number, values in writes:
        if kind == "insert" or not ids:
            ids.append(await world.add(**values))
        elif kind == "update":
            changed = values or {"ownerId": None}
            await world.rows.update(ADMIN, "Product", ids[number % len(ids)], changed)
        else:
            await world.rows.delete(ADMIN, "Product", ids.pop(number % len(ids)))


async def answers(world: World, asked: list[Json], *, shortened: bool) -> list[bytes]:
    """What everybody is told; `shortened`: by the marked words."""
    if not shortened:
        with patch.object(Rule, "pinned", lambda self, identity: None):
            return await answers(world, asked, shortened=True)
    told = []
    for caller in CALLERS:
        for body in asked:
            told.append((await world.search(body, by=caller)).to_json(0))
            listed = {"$search": body["query"], "$limit": 3}
            told.append(encode(await world.queries.find(caller, "Product", listed)))
            spec = {"count": "*", "where": {"$search": body["query"]}}
            told.append(encode(await world.aggregates.run(caller, "Product", spec)))
    return told


@pytest.mark.parametrize("rule", RULES)
@effort(10)
@given(
    first=WRITES,
    then=WRITES,
    asked=st.lists(ASKED, min_size=1, max_size=4),
)
def test_answers_are_the_same_either_way(
    rule: str, first: list[Any], then: list[Any], asked: list[Json]
) -> None:
    async def check() -> None:
        async with searching(manifest_of(PRODUCT, policies={"Product": rule})) as world:
            ids: list[str] = []
            for writes in (first, then):
                await write(world, writes, ids)
                short = await answers(world, asked, shortened=True)
                assert short == await answers(world, asked, shortened=False)
                assert await world.is_whole()

    asyncio.run(check())


def match(world: World, key: SearchKey | None) -> tuple[str, Any]:
    query = Phrase((Piece("all"),))
    source = world.rows.store.dialect.search_source("Product").sql
    return f"SELECT count(*) FROM {source}", world.rows.store.dialect.search_value(query, key)


async def rows_met(world: World, value: str | None, field: str = "ownerId") -> int:
    """How many rows the index gives a search for a word that all rows have."""
    sql, asked = match(world, None if value is None else SearchKey.of(field, value))
    return int((await world.rows.store.read(sql, [asked]))[0][0])


async def test_the_index_meets_the_rows_of_the_caller_only() -> None:
    async with searching(manifest_of(PRODUCT, policies={"Product": OWNER})) as world:
        for number in range(30):
            owner = None if number == 0 else f"user{number % 10}"
            await world.add(name="all", body=f"word{number}", ownerId=owner)
        assert await rows_met(world, None) == 30
        assert await rows_met(world, "user3") == 3
        opened = world.searches._door.open(Identity(user_id="user3"), "Product")
        assert opened.key == SearchKey.of("ownerId", "user3")
        assert world.searches._door.open(ADMIN, "Product").key is None


async def test_a_changed_owner_takes_the_words_along() -> None:
    async with searching(manifest_of(PRODUCT, policies={"Product": OWNER})) as world:
        row_id = await world.add(name="all", ownerId="ann")
        for owner in ("bob", None, "ann"):
            await world.rows.update(ADMIN, "Product", row_id, {"ownerId": owner})
            met = [await rows_met(world, each) for each in ("ann", "bob")]
            assert met == [int(owner == "ann"), int(owner == "bob")]
        await world.rows.delete(ADMIN, "Product", row_id)
        assert await rows_met(world, "ann") == 0


async def test_marks_are_neither_found_nor_corrected_to() -> None:
    async with searching(manifest_of(PRODUCT, policies={"Product": OWNER})) as world:
        await world.add(name="umbrella", ownerId="ann")
        mark = mark_of("ann")
        for text in (
            mark,
            f"{mark}*",
            f"{mark}umbrella",
            f'"{mark}umbrella"',
            SIGN,
            f"name:{mark}",
        ):
            for by in (ADMIN, Identity(user_id="ann"), Identity(user_id="bob")):
                assert await world.names(text, by=by) == [], text
        for by in (ADMIN, Identity(user_id="ann")):
            found = await world.search({"query": "umbrelal", "highlight": True}, by=by)
            assert [row["_highlight"] for row in found.rows] == [{"name": "<mark>umbrella</mark>"}]


async def test_the_order_of_who_sees_all_is_what_it_was_without_marks() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "red " * count + "shoe " * other, "ownerId": owner}
        for count in (1, 2, 5)
        for other in (0, 1, 7)
        for owner in ("ann", None)
    ]
    ranks = []
    for rule in ("true", OWNER):
        async with searching(manifest_of(PRODUCT, policies={"Product": rule})) as world:
            for row in rows:
                await world.add(**row)
            found = world.rows.store.dialect.search_source("Product")
            ranks.append(
                await world.rows.store.read(
                    f"SELECT {found.number}, {found.rank} FROM {found.sql} ORDER BY 2, 1", ["red"]
                )
            )
    assert ranks[0] == ranks[1]
    assert len(ranks[0]) == len(rows)


@pytest.mark.parametrize("before", ["true", "data.brand == auth.tenantId", "", OWNER])
async def test_another_rule_makes_the_index_anew(tmp_path: Path, before: str) -> None:
    """`before`: what an earlier release, which kept no marks, left is the index of `true`."""
    path = tmp_path / "app.db"
    rules = {"Product": before} if before else None
    async with searching(manifest_of(PRODUCT, policies=rules), path) as world:
        for number in range(12):
            await world.add(name="all red", brand="Acme", ownerId=f"user{number % 3}")
    async with searching(manifest_of(PRODUCT, policies={"Product": OWNER}), path) as world:
        assert await rows_met(world, "user1") == 4
        assert await world.names("red", by=Identity(user_id="user1")) == ["all red"] * 4
        assert (await world.search({"query": "red"})).total == 12
        await world.add(name="all", ownerId="user1")
        assert await rows_met(world, "user1") == 5
