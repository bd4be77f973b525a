"""The index beside its rows: made, filled, kept, checked and dropped, whatever happens."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from pylon import limits
from pylon.identity import ADMIN
from pylon.schema.model import Manifest
from pylon.store.evolution.model import Hints
from pylon.store.evolution.wish import Wish
from pylon.store.sqlite.evolution.engine import evolve
from pylon.store.sqlite.functions import add_functions
from pylon.store.sqlite.search_indexes import SqliteSearchIndexes, statements
from pylon.store.sqlite.system_tables import fit_system_tables
from tests.data.searching import PRODUCT, Json, a_plain, column, manifest_of, searching
from tests.schema.samples import an_entity
from tests.store.sqlite.fresh import fresh_schema

MANIFEST = manifest_of(PRODUCT)


def database(manifest: Manifest | None = None) -> apsw.Connection:
    """A database with the tables of a manifest and three rows, without indexes."""
    connection = apsw.Connection(":memory:")
    add_functions(connection)
    fit_system_tables(connection, {}, "in memory")
    for statement in () if manifest is None else fresh_schema(manifest):
        connection.execute(statement)
    if manifest is not None:
        for name in ("red shoe", "blue shoe", "red coat"):
            connection.execute("INSERT INTO Product (id, name) VALUES (?1, ?1)", (name,))
    return connection


def found(connection: apsw.Connection, text: str, entity: str = "Product") -> list[str]:
    rows = connection.execute(
        f'SELECT i.row_id FROM "_pylon_search.{entity}.text"(?) f'
        f' JOIN "_pylon_search.{entity}.ids" i ON i.docid = f.rowid',
        (text,),
    ).fetchall()
    return sorted(str(row_id) for (row_id,) in rows)


def objects(connection: apsw.Connection) -> list[Any]:
    return connection.execute(
        "SELECT name FROM sqlite_schema WHERE name LIKE '\\_pylon\\_search%' ESCAPE '\\'"
    ).fetchall()


def changed(**search: Any) -> Manifest:
    return manifest_of({**PRODUCT, "search": search})


# --- made and made again ---------------------------------------------------------------------


def test_an_index_is_filled_from_the_rows_once() -> None:
    connection = database(MANIFEST)
    indexes = SqliteSearchIndexes()
    assert indexes.ensure(connection, MANIFEST) == ["Product"]
    assert found(connection, "red") == ["red coat", "red shoe"]
    assert indexes.ensure(connection, MANIFEST) == []


def test_progress_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SEARCH_BUILD_ROWS", 2)
    told: list[tuple[str, int, int]] = []
    connection = database(MANIFEST)
    SqliteSearchIndexes().ensure(connection, MANIFEST, lambda *each: told.append(each))
    assert [each[1:] for each in told] == [(2, 3), (3, 3)]
    assert found(connection, "shoe") == ["blue shoe", "red shoe"]


class Killed(Exception):
    """The process ended."""


@pytest.mark.parametrize("kills", [1, 3])
def test_a_start_goes_on_where_another_was_ended(
    monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    monkeypatch.setattr(limits, "SEARCH_BUILD_ROWS", 2)
    connection = database(MANIFEST)
    for number in range(9):
        connection.execute("INSERT INTO Product (id, name) VALUES (?1, ?1)", (f"more {number}",))
    indexes = SqliteSearchIndexes()
    told: list[int] = []

    def progress(what: str, done: int, total: int) -> None:
        told.append(done)
        if len(told) in range(2, 2 + kills):
            raise Killed

    for _ in range(kills):
        with pytest.raises(Killed):
            indexes.ensure(connection, MANIFEST, progress)
        assert not connection.in_transaction
    # Another process writes meanwhile: to rows that are in it, that are not, and new ones.
    connection.execute("UPDATE Product SET name = 'first' WHERE id = 'blue shoe'")
    connection.execute("UPDATE Product SET name = 'last' WHERE id = 'red shoe'")
    connection.execute("DELETE FROM Product WHERE id = 'more 8'")
    connection.execute("INSERT INTO Product (id, name) VALUES ('new', 'fresh')")
    assert indexes.ensure(connection, MANIFEST, progress) == ["Product"]
    assert told.count(2) == 1
    assert told == sorted(told)
    for text, ids in (
        ("first", ["blue shoe"]),
        ("last", ["red shoe"]),
        ("fresh", ["new"]),
        ("coat", ["red coat"]),
        ("blue", []),
        ("more", [f"more {number}" for number in range(8)]),
    ):
        assert found(connection, text) == ids, text
    counted = 'SELECT cnt FROM "_pylon_search.Product.words" WHERE term = ?'
    assert connection.execute(counted, ("fresh",)).fetchall() == [(1,)], "once, though met twice"
    assert indexes.ensure(connection, MANIFEST, progress) == []


def test_an_index_on_its_way_is_begun_anew_where_it_was_made_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = database(MANIFEST)
    indexes = SqliteSearchIndexes()
    indexes.ensure(connection, MANIFEST)
    connection.execute(
        "UPDATE _pylon_meta SET value = 'of an earlier release until 2' WHERE key LIKE 'search:%'"
    )
    assert indexes.ensure(connection, MANIFEST) == ["Product"]
    assert found(connection, "red") == ["red coat", "red shoe"]


def test_an_index_of_an_earlier_release_is_made_anew_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connection = database(MANIFEST)
    indexes = SqliteSearchIndexes()
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patched:
        patched.setattr("pylon.store.sqlite.search_indexes.TOKENIZER", "unicode61")
        indexes.ensure(connection, MANIFEST)
    connection.execute("INSERT INTO Product (id, name) VALUES ('x', 'Straße 天気')")
    with caplog.at_level("INFO"):
        assert indexes.ensure(connection, MANIFEST) == ["Product"]
    assert "the index of Product is made anew, for 4 rows" in caplog.text
    assert found(connection, '"strasse"') == found(connection, '"天気"') == ["x"]


def test_another_configuration_makes_it_anew() -> None:
    connection = database(MANIFEST)
    indexes = SqliteSearchIndexes()
    indexes.ensure(connection, MANIFEST)
    for manifest in (
        changed(text=["name"], sortable=["size"]),
        changed(facets=["brand"]),
        changed(text=["name", "body"]),
    ):
        assert indexes.ensure(connection, manifest) == ["Product"]
        wanted = {each.split('"')[1] for each in statements(manifest.entities[0])}
        assert wanted <= {name for (name,) in objects(connection)}
    assert found(connection, "coat") == ["red coat"]
    plain = manifest_of({key: value for key, value in PRODUCT.items() if key != "search"})
    assert indexes.ensure(connection, plain) == ["Product"]
    assert objects(connection) == []
    assert indexes.ensure(connection, plain) == []


@pytest.mark.parametrize(
    "damage",
    [
        'DROP TRIGGER "_pylon_search.Product.update"',
        'DROP INDEX "_pylon_search.Product.by.brand"',
        'DROP TABLE "_pylon_search.Product.ids"',
        'DROP TABLE "_pylon_search.Product.text"',
        "DELETE FROM _pylon_meta WHERE key LIKE 'search:%'",
        "UPDATE _pylon_meta SET value = 'of an earlier release' WHERE key LIKE 'search:%'",
    ],
)
def test_what_is_damaged_or_of_another_release_is_made_anew(damage: str) -> None:
    connection = database(MANIFEST)
    indexes = SqliteSearchIndexes()
    indexes.ensure(connection, MANIFEST)
    connection.execute(damage)
    assert indexes.ensure(connection, MANIFEST) == ["Product"]
    assert found(connection, "red") == ["red coat", "red shoe"]
    assert indexes.ensure(connection, MANIFEST) == []


def test_a_table_made_anew_by_hand_gets_its_index_back() -> None:
    connection = database(MANIFEST)
    indexes = SqliteSearchIndexes()
    indexes.ensure(connection, MANIFEST)
    connection.execute("ALTER TABLE Product RENAME TO Old")
    for statement in fresh_schema(MANIFEST):
        connection.execute(statement)
    connection.execute("INSERT INTO Product (id, name) VALUES ('x', 'fresh')")
    connection.execute("DROP TABLE Old")
    assert indexes.ensure(connection, MANIFEST) == ["Product"]
    assert found(connection, "fresh") == ["x"]
    assert found(connection, "red") == []


def test_entities_whose_names_look_alike() -> None:
    manifest = manifest_of(
        PRODUCT,
        *(
            an_entity(name, column("x"), search={"text": ["x"], "facets": ["x"]}, crdt=False)
            for name in ("Product_text", "Product_text_data", "Product_ids")
        ),
    )
    connection = database(manifest)
    indexes = SqliteSearchIndexes()
    assert len(indexes.ensure(connection, manifest)) == 4
    indexes.remove(connection, "Product")
    connection.execute("INSERT INTO Product_text (id, x) VALUES ('a', 'apple')")
    assert found(connection, "apple", "Product_text") == ["a"]
    assert indexes.ensure(connection, manifest) == ["Product"]


# --- kept ------------------------------------------------------------------------------------


def test_every_statement_that_writes_rows_writes_the_index() -> None:
    connection = database(MANIFEST)
    SqliteSearchIndexes().ensure(connection, MANIFEST)
    connection.execute("UPDATE Product SET name = 'green ' || name, brand = 'x' WHERE name > 'red'")
    assert found(connection, "green") == ["red coat", "red shoe"]
    connection.execute("UPDATE Product SET id = 'new' WHERE id = 'red coat'")
    assert found(connection, "coat") == ["new"]
    connection.execute("DELETE FROM Product WHERE id = 'new'")
    assert found(connection, "coat") == []
    connection.execute("INSERT INTO Product (id, name) SELECT 'copy', name FROM Product LIMIT 1")
    assert len(found(connection, "shoe")) == 3
    connection.execute("DELETE FROM Product")
    assert found(connection, "shoe") == []


def test_the_count_of_changed_rows_is_that_of_the_statement() -> None:
    connection = database(MANIFEST)
    SqliteSearchIndexes().ensure(connection, MANIFEST)
    connection.execute("UPDATE Product SET name = name || '!'")
    assert connection.changes() == 3


async def test_vacuum_does_not_confuse_it(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    async with searching(MANIFEST, path) as world:
        ids = [await world.add(name=f"w{number:03}", body="all") for number in range(50)]
        for row_id in ids[:40:2]:
            await world.rows.delete(ADMIN, "Product", row_id)
    connection = apsw.Connection(str(path))
    # Stronger than what VACUUM may do: every row gets another number.
    connection.execute("UPDATE Product SET rowid = rowid + 1000")
    connection.execute("VACUUM")
    connection.close()
    async with searching(MANIFEST, path) as world:
        assert await world.is_whole()
        assert await world.names("w041") == ["w041"]
        await world.rows.update(ADMIN, "Product", ids[41], {"name": "changed"})
        assert await world.names("w041", typos=False) == []
        assert await world.names("changed") == ["changed"]
        assert (await world.search({"query": "all"})).total == 30


CRASH = """
    import asyncio, os, sys
    from pathlib import Path
    from pylon.identity import ADMIN
    from tests.data.searching import PRODUCT, manifest_of, searching

    async def main():
        async with searching(manifest_of(PRODUCT), Path(sys.argv[1])) as world:
            async def client(number):
                for step in range(10_000):
                    row_id = await world.add(name=f"c{number} s{step}")
                    if step % 3 == 0:
                        await world.rows.update(ADMIN, "Product", row_id, {"name": f"u{step}"})
                    if step % 5 == 0:
                        await world.rows.delete(ADMIN, "Product", row_id)
                    print(step, flush=True)
            await asyncio.gather(*map(client, range(4)))

    asyncio.run(main())
"""


def write_until_killed(path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CRASH), str(path)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    for _ in range(60):
        assert process.stdout.readline()
    process.kill()
    process.communicate()


async def test_a_crash_keeps_rows_and_index_equal(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    write_until_killed(path)
    async with searching(MANIFEST, path) as world:
        assert await world.is_whole()
        rows = await world.rows.list(ADMIN, "Product", limit=1000, offset=0)
        assert len(rows) >= 30
        for row in rows[:20]:
            assert row["name"] in await world.names(f'"{row["name"]}"', page_size=100)


# --- schema evolution ------------------------------------------------------------------------


def evolved(connection: apsw.Connection, manifest: Manifest, **wish: Any) -> list[str]:
    outcome = evolve(connection, manifest, Wish(**wish), now=1.0, search=SqliteSearchIndexes())
    # What the engine did is all that is needed.
    assert SqliteSearchIndexes().ensure(connection, manifest) == []
    return [type(each.step).__name__ for each in outcome.plan.steps]


def without(entity: Json, field: str) -> Json:
    fields = [each for each in entity["fields"] if each["name"] != field]
    search = {key: [n for n in names if n != field] for key, names in entity["search"].items()}
    return {**entity, "fields": fields, "search": search}


def test_evolution_builds_and_follows() -> None:
    connection = database()
    evolved(connection, manifest_of(PRODUCT))
    connection.execute("INSERT INTO Product (id, name, brand) VALUES ('a', 'red shoe', 'Acme')")
    assert found(connection, "red") == ["a"]
    assert evolved(connection, manifest_of(PRODUCT)) == []

    renamed = msgspec.to_builtins(PRODUCT)
    renamed["fields"][0]["name"] = "label"
    renamed["search"] = {"text": ["label"], "facets": ["brand"]}
    evolved(
        connection,
        manifest_of(renamed),
        allow="destructive",
        hints=Hints(fields=(("Product", "name", "label"),)),
    )
    assert found(connection, "{label} : red") == ["a"]

    item = {**without(renamed, "brand"), "name": "Item"}
    hints = Hints(entities=(("Product", "Item"),))
    evolved(connection, manifest_of(item), allow="destructive", hints=hints)
    assert found(connection, "red", "Item") == ["a"]
    connection.execute("UPDATE Item SET label = 'blue' WHERE id = 'a'")
    assert found(connection, "blue", "Item") == ["a"]

    evolved(connection, manifest_of(a_plain("Other")), allow="destructive")
    assert objects(connection) == []


# --- how much of a row ------------------------------------------------------------------------


@pytest.mark.parametrize("is_filled", [True, False])
def test_of_a_large_row_the_beginnings_are_indexed(
    monkeypatch: pytest.MonkeyPatch, is_filled: bool
) -> None:
    monkeypatch.setattr(limits, "SEARCH_INDEXED_CHARACTERS_MAX", 120)
    manifest = manifest_of(an_entity("Product", *map(column, "abc"), search={"text": ["a"]}))
    connection = database()
    for statement in fresh_schema(manifest):
        connection.execute(statement)
    indexes = SqliteSearchIndexes()
    if not is_filled:
        indexes.ensure(connection, manifest)
    rows = {
        "all": (20, 40, 60),
        "one": (400, 20, 16),
        "two": (400, 300, 12),
        "three": (400, 400, 400),
        "none": (0, 0, 0),
    }
    shares = {"all": 120, "one": 84, "two": 40, "three": 40, "none": 120}
    for row_id, sizes in rows.items():
        texts = [numbered(sign)[:size] for sign, size in zip("abc", sizes, strict=True)]
        values = (row_id, *[text or None for text in texts])
        connection.execute("INSERT INTO Product (id, a, b, c) VALUES (?, ?, ?, ?)", values)
    indexes.ensure(connection, manifest)
    for place, sign in enumerate("abc"):
        for word in numbered(sign).split():
            expected = {
                row_id
                for row_id, sizes in rows.items()
                if word in numbered(sign)[: min(sizes[place], shares[row_id])].split()
            }
            assert set(found(connection, word)) == expected, word


def numbered(sign: str) -> str:
    """A hundred words of four characters."""
    return " ".join(f"{sign}{number:03}" for number in range(100))


def test_one_text_has_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SEARCH_INDEXED_CHARACTERS_MAX", 8)
    manifest = manifest_of(an_entity("Product", column("a"), search={"text": ["a"]}))
    connection = database()
    for statement in (*fresh_schema(manifest), *statements(manifest.entities[0])):
        connection.execute(statement)
    connection.execute("INSERT INTO Product (id, a) VALUES ('x', 'abc déf ghi')")
    assert (found(connection, "def"), found(connection, "g OR gh OR ghi")) == (["x"], [])
    connection.execute("UPDATE Product SET a = 'ghi abc def'")
    assert (found(connection, "abc"), found(connection, "de OR def")) == (["x"], [])
