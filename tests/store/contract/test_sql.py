"""The SQL that is written for every store, and the pieces of each dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pylon.codec import decode_trusted
from pylon.schema.model import EntitySpec, FieldSpec, SearchSpec
from pylon.store.base import Row, Store, Tx, Value
from pylon.store.dialect import Bucket
from pylon.store.row_json import CONCAT_ARGUMENTS_MAX, concat, row_json
from pylon.store.search_query import But, Every, Near, Phrase, Piece, SearchQuery, Some, Within
from pylon.store.search_query import Words as AllWords
from tests.store.contract.stores import Kind

NOTE = EntitySpec(
    name="Note",
    fields=(
        FieldSpec(name="title", type="string", optional=True),
        FieldSpec(name="rank", type="string", optional=True),
        FieldSpec(name="size", type="int", optional=True),
        FieldSpec(name="share", type="float", optional=True),
        FieldSpec(name="done", type="bool", optional=True),
    ),
    search=SearchSpec(text=("title", "rank")),
)


async def add(store: Store, **values: Value) -> None:
    names = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join("?" * len(values))
    sql = f'INSERT INTO "Note" ({names}) VALUES ({marks})'
    await store.write(lambda tx: tx.execute(sql, tuple(values.values())))


async def find(store: Store, condition: str, *params: Value) -> list[Any]:
    """The ids that a condition over `t` finds."""
    sql = f'SELECT t.id FROM "Note" t WHERE {condition} ORDER BY t.id'
    return [row[0] for row in await store.read(sql, params)]


@pytest.fixture
async def notes(store: Store, kind: Kind) -> Store:
    async def unit(tx: Tx) -> None:
        for statement in kind.tables(NOTE):
            await tx.execute(statement)

    await store.write(unit)
    return store


# --- what all take ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "params", "answer"),
    [
        ("SELECT 1 WHERE NULL IS NOT DISTINCT FROM NULL", (), [(1,)]),
        ("SELECT id FROM t WHERE n IS DISTINCT FROM 1 ORDER BY id", (), [("B",), ("é",)]),
        ("SELECT id FROM t WHERE (n > 1) IS NOT TRUE ORDER BY id", (), [("B",), ("a",)]),
        ("SELECT n FROM t ORDER BY n NULLS FIRST", (), [(None,), (1,), (2,)]),
        ("SELECT n FROM t ORDER BY n DESC NULLS LAST", (), [(2,), (1,), (None,)]),
        ("SELECT concat('n=', n, ';') FROM t WHERE id = 'B'", (), [("n=;",)]),
        ("SELECT CAST(n AS DOUBLE PRECISION) FROM t WHERE id = 'a'", (), [(1.0,)]),
        ("SELECT string_agg(id, ',') FROM (SELECT id FROM t ORDER BY id) q", (), [("B,a,é",)]),
        ("SELECT id FROM t WHERE (id, n) IN (SELECT id, 2 FROM t)", (), [("é",)]),
        ("SELECT id FROM t ORDER BY id LIMIT ? OFFSET ?", (1, 1), [("a",)]),
        ("SELECT id FROM t WHERE id >= ? AND id < ?", ("a", "b"), [("a",)]),
    ],
)
async def test_the_common_sql(
    store: Store, sql: str, params: Sequence[Value], answer: list[Any]
) -> None:
    async def unit(tx: Tx) -> None:
        # Texts are ordered by code point: capitals first, accents last.
        for row_id, n in (("B", None), ("a", 1), ("é", 2)):
            await tx.execute("INSERT INTO t (id, n) VALUES (?, ?)", (row_id, n))

    await store.write(unit)
    assert await store.read(sql, params) == answer


async def test_upserts_and_returning(store: Store) -> None:
    sql = (
        "INSERT INTO t (id, n) VALUES (?, ?)"
        " ON CONFLICT (id) DO UPDATE SET n = excluded.n + t.n RETURNING n"
    )

    async def keep(tx: Tx) -> list[Row]:
        return [*await tx.fetch(sql, ("a", 1)), *await tx.fetch(sql, ("a", 5))]

    assert await store.write(keep) == [(1,), (6,)]


# --- JSON ------------------------------------------------------------------------------------


async def test_rows_as_json(notes: Store) -> None:
    title = 'a "quoted" \\ line\n\x01 é 🚀'
    await add(notes, id="1", title=title, size=2**53 + 1, share=0.1, done=1)
    await add(notes, id="2", done=0)
    kinds = {"id": "string", **{field.name: field.kind for field in NOTE.fields}}
    made = notes.dialect.as_bytes(row_json(notes.dialect, kinds))
    rows = await notes.read(f'SELECT {made} FROM "Note" t ORDER BY t.id')
    assert all(isinstance(text, bytes) for (text,) in rows)
    nothing = dict.fromkeys(("title", "rank", "size", "share"))
    full = {**nothing, "title": title, "size": 2**53 + 1, "share": 0.1}
    assert [decode_trusted(text) for (text,) in rows] == [
        {"id": "1", **full, "done": True},
        {"id": "2", **nothing, "done": False},
    ]
    assert list(decode_trusted(rows[0][0])) == list(kinds)


async def test_as_many_columns_as_there_are(store: Store) -> None:
    count = 3 * CONCAT_ARGUMENTS_MAX
    text = concat(["'x'"] * count)
    ((found,),) = await store.read(f"SELECT {text}")
    assert found == "x" * count


async def test_values_of_several_types_in_one_column(notes: Store) -> None:
    await add(notes, id="1", title="x", size=7, share=2.0**60)
    kinds = {name: NOTE.fields_by_name[name].kind for name in ("title", "size", "share", "rank")}
    parts = [notes.dialect.mixed(f't."{name}"', kind) for name, kind in kinds.items()]
    mixed = " UNION ALL ".join(
        f'SELECT {number} AS k, {part} AS v FROM "Note" t' for number, part in enumerate(parts)
    )
    found = [value for _, value in await notes.read(f"SELECT k, v FROM ({mixed}) q ORDER BY k")]
    assert found == ["x", 7, 2.0**60, None]
    assert [type(value) for value in found] == [str, int, float, type(None)]


# --- conditions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "values", "inside", "outside"),
    [
        ("title", ("b", "it's"), ["2", "3"], ["1"]),
        ("size", (1, 3), ["1", "3"], ["2"]),
        ("share", (0.5,), ["1"], ["2", "3"]),
        ("done", (True,), ["1", "3"], ["2"]),
        ("title", tuple(f"x{i}" for i in range(2000)), [], ["1", "2", "3"]),
    ],
)
async def test_one_of_a_list(
    notes: Store, column: str, values: Sequence[Value], inside: list[str], outside: list[str]
) -> None:
    await add(notes, id="1", title="a", size=1, share=0.5, done=1)
    await add(notes, id="2", title="b", size=2, share=2.0, done=0)
    await add(notes, id="3", title="it's", size=3, share=3.5, done=1)
    await add(notes, id="4")
    texts = set()
    for negated, expected in ((False, inside), (True, outside)):
        sql, value = notes.dialect.one_of(f't."{column}"', values, negated=negated)
        assert await find(notes, sql, value) == expected  # NULL is in neither
        shorter, _ = notes.dialect.one_of(f't."{column}"', values[:1], negated=negated)
        texts |= {sql, shorter}
    assert len(texts) == 2


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("%RED%", ["1", "2"]),
        ("red sh_e", ["2"]),
        (r"100\%", ["3"]),
        ("100_", ["3"]),
        ("%é%", ["4"]),
        ("%É%", []),
        (r"a\\b", ["5"]),
        ("%\n%", ["6"]),
        ("%a\0B%", ["7"]),
        ("nul%_e%", ["7"]),
        ("\0%", []),
    ],
)
async def test_like(notes: Store, pattern: str, found: list[str]) -> None:
    titles = ("RED", "Red shoe", "100%", "café", "a\\b", "two\nlines", "nul: a\0b, then more")
    for number, title in enumerate(titles, 1):
        await add(notes, id=str(number), title=title)
    await add(notes, id="9")
    sql, values = notes.dialect.like('t."title"', pattern)
    assert await find(notes, sql, *values) == found


async def test_the_beginning_of_a_text(notes: Store) -> None:
    for number, title in enumerate(("long enough", "a\0b\0c", "日本語日本語", "x"), 1):
        await add(notes, id=str(number), title=title)
    part = notes.dialect.json_text(notes.dialect.beginning('t."title"', 3), "string")
    rows = await notes.read(f'SELECT {part} FROM "Note" t ORDER BY t.id')
    assert [decode_trusted(text) for (text,) in rows] == ["lon", "a\0b", "日本語", "x"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Phrase((Piece("red"),)), ["1", "2"]),
        (Phrase((Piece("re", is_prefix=True),)), ["1", "2", "3"]),
        (Every((Phrase((Piece("red"),)), Phrase((Piece("cafe"),)))), ["2"]),
        (Within(("rank",), Phrase((Piece("red"),))), ["2"]),
        (But((Phrase((Piece("RED"),)), Phrase((Piece("CAFÉ"),)))), ["1"]),
        (Phrase((Piece("天気"),)), ["4"]),
        (Phrase((Piece("behind"),)), ["5"]),
    ],
)
async def test_single_rows_are_found_as_the_index_finds_them(
    notes: Store, query: SearchQuery, found: list[str]
) -> None:
    rows = (("Red shoe", None), ("Café", "red"), ("reed", ""), ("今日はいい天気", None))
    for number, (title, rank) in enumerate((*rows, ("a\0behind", None)), 1):
        await add(notes, id=str(number), title=title, rank=rank)
    columns = {"title": 't."title"', "rank": 't."rank"'}
    sql, value = notes.dialect.finds(query, columns)
    assert await find(notes, sql, value) == found
    source = notes.dialect.search_source("Note")
    asked = f"t.id IN (SELECT {source.row_id} FROM {source.sql})"
    assert await find(notes, asked, notes.dialect.search_value(query)) == found


@pytest.mark.parametrize(
    ("text", "is_folded", "found"),
    [
        ("Red", False, ["1"]),
        ("red", True, ["1", "2"]),
        ("É", False, ["2"]),
        ("é", True, []),
        ("%", False, ["2"]),
        ("", False, ["1", "2"]),
    ],
)
async def test_contains(notes: Store, text: str, is_folded: bool, found: list[str]) -> None:
    await add(notes, id="1", title="a Red shoe")
    await add(notes, id="2", title="RED % É")
    await add(notes, id="3")
    holds = notes.dialect.contains('t."title"', is_folded=is_folded)
    assert await find(notes, holds, text) == found


# --- aggregates ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bucket", "span"),
    [
        ("hour", "2024-12-30 23:00:00"),
        ("day", "2024-12-30"),
        ("week", "2025-W01"),
        ("month", "2024-12"),
        ("year", "2024"),
    ],
)
async def test_buckets(notes: Store, bucket: Bucket, span: str) -> None:
    times = (
        "2024-12-30T23:59:59Z",
        "2024-12-30 23:00",
        "1735599600",
        "now",
        "",
        "2024-99-99",
        None,
    )
    for number, time in enumerate(times):
        await add(notes, id=str(number), title=time)
    made = notes.dialect.bucket('t."title"', bucket)
    found = await notes.read(f'SELECT {made} FROM "Note" t ORDER BY t.id')
    assert [row[0] for row in found] == [span, span, span, None, None, None, None]


async def test_sums_of_any_size(notes: Store) -> None:
    for number in range(3):
        await add(notes, id=str(number), size=2**63 - 1)
    made = notes.dialect.float_sum('t."size"')
    ((total,),) = await notes.read(f'SELECT {made} FROM "Note" t')
    assert (total, type(total)) == (3.0 * 2**63, float)
    assert await notes.read(f"SELECT {made} FROM \"Note\" t WHERE t.id = 'x'") == [(None,)]


# --- full text -------------------------------------------------------------------------------


def word(text: str, *, is_prefix: bool = False) -> Phrase:
    return Phrase((Piece(text, is_prefix),))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (word("red"), ["1", "2", "4"]),
        (word("red shoe"), ["1"]),
        (word("sho", is_prefix=True), ["1", "2"]),
        (word("cafe"), ["3"]),
        (Phrase((Piece("red"), Piece("sh", is_prefix=True))), ["1"]),
        (Phrase((Piece("red"),), is_first=True), ["1", "4"]),
        (AllWords((word("shoe"), word("red"))), ["1", "2"]),
        (Every((word("shoe"), word("blue"))), ["2"]),
        (Some((word("caf\u00e9"), word("blue"))), ["2", "3"]),
        (But((word("red"), word("blue"), word("small"))), ["1"]),
        (Near((word("shoe"), word("red")), 0), ["1"]),
        (Near((word("shoe"), word("red"))), ["1", "2"]),
        (Within(("rank",), word("red")), ["4"]),
        (Within(("rank",), word("red"), is_outside=True), ["1", "2"]),
        (Within(("title", "rank"), Some((word("small"), word("blue")))), ["2", "4"]),
        (word('"'), []),
        (word("a OR b) NEAR( *"), []),
    ],
)
async def test_the_index_is_asked(notes: Store, query: SearchQuery, found: list[str]) -> None:
    await add(notes, id="1", title="Red shoe")
    await add(notes, id="2", title="A blue SHOE, not red")
    await add(notes, id="3", title="Café")
    await add(notes, id="4", rank="red, small")
    value = notes.dialect.search_value(query)
    source = notes.dialect.search_source("Note")
    listed = f"t.id IN (SELECT {source.row_id} FROM {source.sql})"
    assert await find(notes, listed, value) == found
    joined = notes.dialect.search_source("Note", '"Note" t')
    sql = f"SELECT t.id FROM {joined.sql} WHERE t.id <> ? ORDER BY {joined.rank}, t.id"
    assert sorted(row[0] for row in await notes.read(sql, (value, "x"))) == found


async def test_the_best_is_first(notes: Store) -> None:
    await add(notes, id="1", title="a long text about many things and one shoe among them")
    await add(notes, id="2", title="shoe shoe")
    source = notes.dialect.search_source("Note")
    sql = f"SELECT {source.row_id} FROM {source.sql} ORDER BY {source.rank}"
    value = notes.dialect.search_value(word("shoe"))
    assert await notes.read(sql, (value,)) == [("2",), ("1",)]


async def test_the_words_of_an_index(notes: Store) -> None:
    await add(notes, id="1", title="Red shoe, RED Café")
    words = notes.dialect.search_words("Note")
    assert await notes.read(f"SELECT term FROM {words} ORDER BY term") == [
        ("cafe",),
        ("red",),
        ("shoe",),
    ]
    found = await notes.read(f"SELECT term FROM {words} WHERE term >= ? AND term < ?", ("r", "s"))
    assert found == [("red",)]
