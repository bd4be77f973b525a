"""Searches against the same done naively: all rows, filtered and counted in Python."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pylon.codec import encode
from pylon.identity import ADMIN, ANONYMOUS, Identity
from pylon.schema.model import Manifest
from pylon.store.search_words import words
from tests.data.searching import NOTE, PRODUCT, Json, World, manifest_of, searching
from tests.policy.worlds import effort

Row = dict[str, Any]

RULES = (
    "true",
    "data.ownerId == auth.userId",
    "data.ownerId == auth.userId || data.size == 1",
    "auth.userId != null && data.brand != 'Zed'",
    "data.stock == true || data.ownerId == auth.tenantId",
    "exists(Note, rank == data.brand && text == auth.userId)",
    "data.size == 1 || !exists(Note, text == auth.userId && rank != data.brand)",
)

WORLDS: dict[str, Manifest] = {
    rule: manifest_of(PRODUCT, NOTE, policies={"Product": rule}) for rule in RULES
}

NOTES = (("Acme", "ann"), ("red", "ann"), ("Zed", "bob"), (None, "bob"))

CALLERS = (
    ADMIN,
    ANONYMOUS,
    Identity(user_id="ann"),
    Identity(user_id="bob", tenant_id="ann"),
)

TEXTS = st.lists(
    st.sampled_from(("red", "Rédo", "redwood", "shoe", "SHOES", "blue", "🚀", "it's", "x-1", "é")),
    max_size=4,
).map(" ".join)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "name": TEXTS,
    "body": TEXTS,
    "brand": st.sampled_from(("Acme", "Zed", "red")),
    "stock": st.booleans(),
    "size": st.integers(0, 2) | st.sampled_from((-(2**63), 2**53 + 1, 2**63 - 1)),
    "price": st.sampled_from((0.5, 1.0, 2.0, -0.0, 0.1, 5e-324, 1e300, 2.0**53)),
    "ownerId": st.sampled_from(("ann", "bob")),
    "cost": st.sampled_from(("red", "blue")),
}

FACETS = ("brand", "stock", "size", "price")

ROWS = st.fixed_dictionaries({}, optional=VALUES)

WRITES = st.lists(
    st.tuples(st.sampled_from(("insert", "update", "delete")), st.integers(0, 30), ROWS),
    max_size=25,
)

QUERIES = st.fixed_dictionaries(
    {"page_size": st.sampled_from((1, 3, 100)), "page": st.integers(0, 2), "typos": st.just(False)},
    optional={
        "query": st.lists(
            st.sampled_from(("red", "re", "shoe", "SHO", "bLUe", "🚀", "it's", "x-1", "é", "wood")),
            max_size=3,
        ).map(" ".join),
        "filters": st.fixed_dictionaries({}, optional={name: VALUES[name] for name in FACETS}),
        "facets": st.lists(st.sampled_from(FACETS), max_size=3),
        "facetMode": st.sampled_from(("include", "exclude")),
        "sort": st.tuples(st.sampled_from(("price", "name")), st.sampled_from(("asc", "desc"))),
    },
)


def words_of(text: str | None) -> list[str]:
    return words(text or "")


def holds(words: list[str], sought: list[str], *, open_end: bool) -> bool:
    """Whether the words stand there one behind another; the last one perhaps longer."""
    size = len(sought)
    for start in range(len(words) - size + 1):
        part = words[start : start + size]
        if part == sought or (
            open_end and part[:-1] == sought[:-1] and part[-1].startswith(sought[-1])
        ):
            return True
    return False


def matches(row: Row, query: str) -> bool:
    pieces = query.split()
    for position, piece in enumerate(pieces):
        texts = [row["name"], row["body"]]
        if piece == "🚀":
            if not any(piece in (text or "") for text in texts):
                return False
            continue
        is_open = position == len(pieces) - 1
        sought = words_of(piece)
        if not any(holds(words_of(text), sought, open_end=is_open) for text in texts):
            return False
    return True


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else encode(value).decode()


def counted(rows: list[Row], ask: Json) -> Json:
    filters = ask.get("filters", {})
    counts: Json = {}
    for name in ask.get("facets") or FACETS:
        others = dict(filters)
        if ask.get("facetMode") == "exclude":
            others.pop(name, None)
        of: dict[str, int] = {}
        for row in rows:
            fits = all(row[field] == value for field, value in others.items())
            if fits and row[name] is not None:
                of[text_of(row[name])] = of.get(text_of(row[name]), 0) + 1
        if of:
            counts[name] = of
    return counts


def sort_key(value: Any) -> tuple[bool, Any]:
    return (value is not None, "" if value is None else value)


def in_order(rows: list[Row], ask: Json) -> list[str]:
    rows = sorted(rows, key=lambda row: str(row["id"]))
    if "sort" in ask:
        name, word = ask["sort"]
        rows.sort(key=lambda row: (sort_key(row[name]), row["id"]), reverse=word == "desc")
    return [row["id"] for row in rows]


async def compare(world: World, identity: Identity, ask: Json) -> None:
    rule = world.rows.policies.entity("Product").read
    if rule.where(identity).never:
        return
    stored = await world.rows.list(ADMIN, "Product", limit=None, offset=0)
    lookup = world.rows.policies.lookup()
    await lookup.gather(rule, identity, [(row, row) for row in stored])
    visible = [row for row in stored if rule.allows(identity, row, row, lookup)]
    found = [row for row in visible if matches(row, ask.get("query", ""))]
    filters = ask.get("filters", {})
    hits = [row for row in found if all(row[name] == value for name, value in filters.items())]

    answer = await world.search({**ask, "sort": list(ask.get("sort", [])) or None}, by=identity)
    assert answer.total == len(hits)
    assert answer.facet_counts == counted(found, ask)
    start = ask["page"] * ask["page_size"]
    shown = [row["id"] for row in answer.rows]
    is_ranked = bool(words_of(ask.get("query", ""))) and "sort" not in ask
    if is_ranked:
        assert len(shown) == max(0, min(ask["page_size"], len(hits) - start))
        assert set(shown) <= {row["id"] for row in hits}
    else:
        assert shown == in_order(hits, ask)[start : start + ask["page_size"]]

    if "query" in ask:
        listed = await world.queries.find(identity, "Product", {"$search": ask["query"], **filters})
        brands = [row for row in listed if not any(row["id"] == hit["id"] for hit in hits)]
        # A filter looks into every text, so it finds these and perhaps more.
        assert {row["id"] for row in hits} <= {row["id"] for row in listed}
        assert all(row["brand"] == "red" for row in brands)


async def write(world: World, ids: list[str], kind: str, place: int, data: Row) -> None:
    if kind == "insert" or not ids:
        ids.append(await world.add(**data))
    elif kind == "update" and data:
        await world.rows.update(ADMIN, "Product", ids[place % len(ids)], data)
    elif kind == "delete":
        await world.rows.delete(ADMIN, "Product", ids.pop(place % len(ids)))


@effort(40)
@given(
    rule=st.sampled_from(RULES),
    rows=st.lists(ROWS, max_size=12),
    writes=WRITES,
    asks=st.lists(st.tuples(st.sampled_from(CALLERS), QUERIES), min_size=1, max_size=12),
)
def test_searches_equal_the_naive_ones(
    rule: str, rows: list[Row], writes: list[tuple[str, int, Row]], asks: list[Any]
) -> None:
    async def run() -> None:
        async with searching(WORLDS[rule]) as world:
            for brand, user in NOTES:
                await world.add("Note", rank=brand, text=user)
            ids = [await world.add(**row) for row in rows]
            for kind, place, data in writes:
                await write(world, ids, kind, place, data)
            assert await world.is_whole()
            for identity, ask in asks:
                await compare(world, identity, ask)

    asyncio.run(run())
