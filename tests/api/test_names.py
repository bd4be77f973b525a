"""Names that our statements make for themselves, against names that an app may have.

All statements of a run are recorded. Whatever word stands in them may be the name of an entity or
of a field, and the app answers as it does under any other name; and no statement makes a name that
an app might have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import apsw
import httpx
import pytest

from pylon.config import Config
from pylon.schema.validate import validate
from pylon.service import Service
from pylon.store.naming import own
from tests.api.named_app import ROLES, Names, fill, manifest, neutral, questions
from tests.schema.samples import a_field, an_app, an_entity, parsed
from tests.server import ADMIN_TOKEN, bearer

ALSO = (
    "L0",
    "L1",
    "M",
    "K",
    "P0",
    "C0",
    "MAIN",
    "TEMP",
    "OID",
    "RANK",
    "TERM",
    "DOC",
    "NOW",
    "DATE",
)
"""Names that statements used to make, and such as mean something to SQLite that ours do not say."""

PARTS = 10
"""Pairs of entities in one app."""

CALLERS = ("ann", "admin")

TOKEN = re.compile(
    r"""(?P<text>'(?:[^']|'')*') | (?P<quoted>"(?:[^"]|"")*") | (?P<comment>--[^\n]*)
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*) | (?P<other>\S)""",
    re.VERBOSE,
)


@contextmanager
def recorded() -> Iterator[set[str]]:
    """The statements that are run meanwhile on new connections, those of triggers too."""
    statements: set[str] = set()

    def hook(connection: apsw.Connection) -> None:
        connection.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: statements.add(event["sql"]))

    apsw.connection_hooks.append(hook)
    try:
        yield statements
    finally:
        apsw.connection_hooks.remove(hook)


async def answers(parts: list[Names]) -> list[tuple[str, int, Any]]:
    """What every caller is answered to every question, in neutral words."""
    config = Config.from_env(
        {"PYLON_ADMIN_TOKEN": ADMIN_TOKEN, "PYLON_DEV_MODE": "1", "PYLON_ACCESS_LOG": "0"},
        in_memory=True,
    )
    words = {name: word for n in parts for name, word in n.neutral.items()}
    service = Service(parsed(manifest(parts)), config)
    await service.start()
    told = []
    try:
        transport = httpx.ASGITransport(app=service)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            await fill(client, ADMIN_TOKEN, parts)
            for caller in CALLERS:
                headers = await _headers(client, caller)
                for method, path, body in questions(parts):
                    if caller == "admin" and "query" in path:
                        continue  # that differs by nothing but the rule
                    answer = await client.request(method, path, json=body, headers=headers)
                    place = re.sub(r"\w+", lambda found: words.get(found[0], found[0]), path)
                    found = neutral(answer.json(), words)
                    told.append((f"{caller} {method} {place}", answer.status_code, found))
    finally:
        await service.stop()
    return told


async def _headers(client: httpx.AsyncClient, caller: str) -> dict[str, str]:
    if caller == "admin":
        return bearer(ADMIN_TOKEN)
    answer = await client.post(
        "/api/auth/session", json={"user_id": caller}, headers=bearer(ADMIN_TOKEN)
    )
    return bearer(answer.json()["token"])


def _compare(plain: list[tuple[str, int, Any]], found: list[tuple[str, int, Any]]) -> None:
    for expected, got in zip(plain, found, strict=True):
        if expected[1] >= 400:  # whose texts name the entity
            assert got[:2] == expected[:2]
        else:
            assert got == expected


def words_of(statements: set[str]) -> list[str]:
    """Every word of the statements that an app may use as a name; in capitals, since the words of
    policies are small."""
    words = {found["word"] or "" for sql in statements for found in TOKEN.finditer(sql)}
    words |= {part for sql in statements for part in re.findall(r'"(\w+)"', sql)}
    return sorted(
        word.upper()
        for word in words - {""}
        if not re.search(r"Number\d", word)  # names of the app itself
        and not validate(parsed(an_app(an_entity(word, a_field(word)))))
    )


async def test_an_app_may_use_every_word_of_our_statements() -> None:
    with recorded() as statements:
        plain = await answers([Names.plain(number) for number in range(PARTS)])
    assert {status for _, status, _ in plain} <= {200, 403, 404}
    words = list(dict.fromkeys([*ALSO, *words_of(statements)]))
    size = PARTS * len(ROLES)
    assert len(words) > size, "a word stands for one thing of an app"
    for start in range(0, len(words), PARTS):
        turned = words[start:] + words[:start]
        parts = [
            Names({role: turned[PARTS * at + number] for at, role in enumerate(ROLES)}, number)
            for number in range(PARTS)
        ]
        _compare(plain, await answers(parts))


SYSTEM_TABLE = re.compile(r"_pylon_\w+$")
TABLE_WORDS = ("FROM", "JOIN", "INTO", "UPDATE", "TABLE", "WITH")
SQLITE_TABLES = ("SQLITE_SCHEMA", "JSON_EACH", "PRAGMA_")


def made_names(sql: str) -> Iterator[str]:
    """The bare names of tables, and of columns that are called so by AS, in a statement."""
    tokens = [found for found in TOKEN.finditer(sql) if found["comment"] is None]
    for before, token in pairwise(tokens):
        word, previous = token["word"], (before["word"] or "").upper()
        if word is None or word.upper() in ("IF", "NOT", "SELECT", "SET", "OF", "MATERIALIZED"):
            continue
        is_cast = word.upper() in ("DOUBLE", "BIGINT", "BLOB", "TEXT", "INTEGER")
        if previous in TABLE_WORDS or (previous == "AS" and not is_cast):
            yield word
    # Of several common tables, those behind the first.
    yield from re.findall(r", (\w+)\([^()]*\) AS MATERIALIZED", sql)


async def test_every_name_of_a_statement_is_in_our_own_space() -> None:
    with recorded() as statements:
        await answers([Names.plain(number) for number in range(PARTS)])
    # What a full-text table asks of its own tables names their schema.
    ours = [sql for sql in statements if "'main'." not in sql]
    made = {name for sql in ours for name in made_names(sql)}
    # Of savepoints; the column that no field may be called; and those of the dialect's sources of
    # words, beside which no table of the app stands.
    known = {"unit", "part", "id", "number", "counts"}
    outside = {
        name
        for name in made - known
        if not name.startswith(own("")) and not name.upper().startswith(SQLITE_TABLES)
    }
    assert outside == set(), "use store.naming.own for what a statement calls its own"
    tables = {name for sql in statements for name in re.findall(r"CREATE TABLE (\w+)", sql)}
    common = {
        name for sql in statements for name in re.findall(r"(\w+)(?:\([^()]*\))? AS MATER", sql)
    }
    assert common
    assert not common & tables, "a common table must not hide one of ours"


@pytest.mark.parametrize(
    ("sql", "made"),
    [
        ("WITH m AS MATERIALIZED (SELECT 1)", {"m"}),
        ("WITH _pylon_a(b) AS MATERIALIZED (SELECT 1), c(d) AS MATERIALIZED (SELECT 2)", {"c"}),
        ("SELECT count(*) AS n FROM _pylon_changes", {"n"}),
        ('SELECT CAST(t."a" AS DOUBLE PRECISION) FROM "T" t', set()),
        ("SELECT 1 FROM thing", {"thing"}),
    ],
)
def test_a_name_outside_is_seen(sql: str, made: set[str]) -> None:
    assert {name for name in made_names(sql) if not name.startswith(own(""))} == made
