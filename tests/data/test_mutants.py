"""Questions that were right until something in them was changed: answered or refused, never failed.

Bodies of every reading route go the whole way, from their text to the database. What is refused is
refused as the caller's mistake, with a documented code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pylon.codec import decode, encode
from pylon.data.aggregate import Aggregates
from pylon.data.door import ReadDoor
from pylon.data.graph import Graphs
from pylon.data.query import Queries
from pylon.data.rows import Rows
from pylon.data.search import Searches
from pylon.errors import PylonError
from pylon.identity import ADMIN
from pylon.schema.model import Manifest
from tests.data.questions import NUMBERS, TEXTS, Asker
from tests.data.random_apps import apps, rows_of
from tests.data.reading import reading
from tests.data.searching import PRODUCT, manifest_of, searching
from tests.policy.worlds import Pool, effort

REFUSALS = {
    *((400, code) for code in ("INVALID_JSON", "INVALID_QUERY", "INVALID_COLUMN")),
    *((400, code) for code in ("RELATION_NOT_FOUND", "ENTITY_NOT_FOUND")),
    (403, "POLICY_DENIED"),
}

KEYS = (
    *("$and", "$or", "$not", "$in", "$nin", "$gte", "$like", "$exists", "$order", "$limit"),
    *("$offset", "$after", "$search", "where", "include", "limit", "groupBy", "count", "sum"),
    *("having", "id", "key", "thing", "things", "bucket", "field", "page", "facets", "sort", ""),
)

Ask = Callable[[Any], Awaitable[object]]
"""A route, given its body."""


def places_of(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with every key or index in it."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places_of(value[key])


def strange(random: Random) -> Any:
    """A value that does not belong there, most likely."""
    scalars = (None, True, False, *NUMBERS, *TEXTS, "asc", "*", "x" * 5_000, -1, 2**63 - 1)
    match random.randrange(8):
        case 0:
            return [random.choice(scalars) for _ in range(random.choice((0, 1, 3, 40_000)))]
        case 1:
            return {random.choice(KEYS): random.choice(scalars)}
        case 2:
            return nested(random.choice(KEYS), random.choice((1, 10, 90, 400)), random)
    return random.choice(scalars)


def nested(key: str, depth: int, random: Random) -> Any:
    """The same key over and over."""
    value: Any = {}
    for _ in range(depth):
        value = {key: [value] if random.random() < 0.5 else value}
    return value


def mutated(body: Any, random: Random) -> Any:
    """The body with something else in some places."""
    whole = {"": decode(encode(body))}
    for _ in range(random.choice((1, 1, 2, 5))):
        container, key = random.choice(list(places_of(whole)))
        match random.randrange(4):
            case 0 if isinstance(container, dict) and container is not whole:
                container[random.choice(KEYS)] = container.pop(key)
            case 1 if isinstance(container, dict) and container is not whole:
                container[random.choice(KEYS)] = strange(random)
            case 2:
                other, place = random.choice(list(places_of(whole)))
                container[key] = decode(encode(other[place]))
            case _:
                container[key] = strange(random)
    return whole[""]


def flipped(text: bytes, random: Random) -> bytes:
    """The text with some bytes changed, lost or doubled."""
    data = bytearray(text)
    for _ in range(random.choice((0, 0, 0, 1, 3))):
        at = random.randrange(len(data) + 1)
        data[at : at + random.randrange(3)] = random.randbytes(random.randrange(3))
    return bytes(data)


async def is_answered(ask: Ask, text: bytes) -> None:
    try:
        await ask(decode(text))
    except PylonError as error:
        refusal = (error.status, error.code)
    else:
        return
    assert refusal in REFUSALS, text[:2_000]


@settings(effort(6), phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(world=apps())
def test_mutants_of_questions_are_answered_or_refused(world: tuple[Manifest, Random]) -> None:
    asyncio.run(_ask_mutants(*world))


async def _ask_mutants(manifest: Manifest, random: Random) -> None:
    stored = rows_of(manifest, random)
    async with reading(manifest, stored) as rows:
        for identity in (ADMIN, Pool(random=random).identity()):
            door, asker = ReadDoor(rows), Asker(random, manifest)
            asks: list[tuple[Ask, Any]] = [
                (partial(Graphs(door).find, identity), asker.graph(identity))
            ]
            for entity in manifest.entities:
                query = asker.query(identity, entity, stored[entity.name])
                asks.append((partial(Queries(door).find, identity, entity.name), query))
                aggregate = asker.aggregate(identity, entity)
                asks.append((partial(Aggregates(door).run, identity, entity.name), aggregate))
            for ask, body in asks:
                for _ in range(10):
                    await is_answered(ask, flipped(encode(mutated(body, random)), random))
            await _look_up_mutants(rows, manifest, random)


async def _look_up_mutants(rows: Rows, manifest: Manifest, random: Random) -> None:
    for entity in manifest.entities:
        for name in entity.fields_by_name:
            value = str(random.choice((*NUMBERS, *TEXTS, "x" * 5_000, "1e999", "nan", "٣")))
            with suppress(PylonError):
                await Queries(ReadDoor(rows)).lookup(ADMIN, entity.name, name, value)


SEARCHED = manifest_of(PRODUCT)
SEARCH = {
    "query": 'red "blue shoe" x-1',
    "filters": {"brand": "Acme", "stock": True, "size": 1, "price": 0.5},
    "facets": ["brand", "size"],
    "facetMode": "exclude",
    "facetLimit": 3,
    "sort": ["price", "desc"],
    "page": 1,
    "page_size": 10,
    "highlight": ["name"],
    "typos": True,
}


@effort(6)
@given(seed=st.integers(0, 2**32))
def test_mutants_of_searches_are_answered_or_refused(seed: int) -> None:
    async def ask() -> None:
        random = Random(seed)
        async with searching(SEARCHED) as world:
            await world.add(name="red shoe", brand="Acme", stock=True, size=1, price=0.5)
            searches = Searches(ReadDoor(world.rows))
            for _ in range(30):
                text = flipped(encode(mutated(SEARCH, random)), random)
                await is_answered(partial(searches.find, ADMIN, "Product"), text)
                query = {"$search": random.choice((*TEXTS, 'a "', "NEAR(a b)", "a*", "- -", "^a"))}
                text = encode(mutated(query, random))
                await is_answered(partial(world.queries.find, ADMIN, "Product"), text)

    asyncio.run(ask())


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 1_000_000,
        b'{"$not":' * 500_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"$and":[' * 400 + b"]}" * 400,
        b'{"n":' + b"9" * 5_000_000 + b"}",
        b'{"n":1e' + b"9" * 1_000_000 + b"}",
        b'{"n":{"$in":[' + b"1," * 2_000_000 + b"1]}}",
        b'{"n":{"$in":[' + b"{}," * 1_000_000 + b"1]}}",
        b'{"name":{"$like":"' + b"%_" * 2_000_000 + b'"}}',
        b'{"name":{"$contains":"' + b"x" * 9_000_000 + b'"}}',
        b'{"$search":"' + b"a " * 2_000_000 + b'"}',
        b'{"$search":"' + b'\\"' * 2_000_000 + b'"}',
        b"{" + b",".join(b'"k%d":1' % number for number in range(300_000)) + b"}",
        b'{"$or":[' + b",".join([b'{"size":1}'] * 300_000) + b"]}",
        b'{"$order":{' + b",".join(b'"k%d":"asc"' % number for number in range(300_000)) + b"}}",
    ],
    ids=lambda text: repr(text[:12]),
)
async def test_giants_are_refused_or_answered(text: bytes) -> None:
    """Within the time of a test, each; the bodies are as large as one may be."""
    assert len(text) <= 10_485_760
    async with searching(SEARCHED) as world:
        await world.add(name="red shoe", size=1)
        await is_answered(partial(world.queries.find, ADMIN, "Product"), text)
