"""Random manifests one after another over random rows: nothing is lost unasked, the schema at the
end is the one of a fresh database, and search finds what the rows hold."""

from __future__ import annotations

import os
from typing import Any

import apsw
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pylon.schema.model import EntitySpec, FieldSpec, IndexSpec, Manifest, SearchSpec
from pylon.store.evolution.convert import convert, kind_of
from pylon.store.evolution.model import EvolutionError, Hints, Level
from pylon.store.naming import quote
from pylon.store.sqlite.evolution.introspect import introspect
from pylon.store.sqlite.search_indexes import PREFIX, SqliteSearchIndexes, ids_table, text_table
from tests.store.sqlite.evolution.database import (
    LEVELS,
    app,
    fit,
    insert,
    open_empty,
    rows_of,
    shape,
)

LONG = bool(os.environ.get("PYLON_LONG"))
"""`PYLON_LONG=1` asks for twenty times as many, and longer, histories."""

NAMES = ("a", "b", "c", "A", "d")
SEARCH = SqliteSearchIndexes()
TYPES = ("string", "int", "float", "bool", "datetime", "richtext", "id(One)")
DEFAULTS: dict[str, Any] = {"string": "x", "int": 7, "float": 0.5, "bool": True, "richtext": ""}

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.sampled_from(["", "5", "05", "1.5", "true", "2026-01-01", "word", "é"]),
    "int": st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2),
    "float": st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 1.0, 2.5]),
    "bool": st.integers(0, 1),
    "datetime": st.sampled_from(["2026-01-01", "2026-01-01T10:00:00Z", "1767225600"]),
    "richtext": st.text(max_size=3),
    "id": st.sampled_from(["1", "2", "x"]),
}


@st.composite
def fields(draw: st.DrawFn) -> tuple[FieldSpec, ...]:
    names = draw(st.lists(st.sampled_from(NAMES), unique_by=str.lower, max_size=4))
    made = []
    for name in names:
        type_ = draw(st.sampled_from(TYPES))
        default = DEFAULTS.get(type_) if draw(st.booleans()) else None
        made.append(
            FieldSpec(
                name=name,
                type=type_,
                optional=draw(st.booleans()),
                unique=draw(st.integers(0, 4)) == 0,
                private=draw(st.integers(0, 4)) == 0,
                default=default,
            )
        )
    return tuple(made)


@st.composite
def entities(draw: st.DrawFn, name: str) -> EntitySpec:
    own = draw(fields())
    names = [each.name for each in own]
    indexes: tuple[IndexSpec, ...] = ()
    if draw(st.booleans()) and names:
        some = st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)
        used: list[str] = draw(some)
        where = draw(st.none() | conditions(own))
        unique = draw(st.booleans())
        indexes = (IndexSpec(name="by", fields=tuple(used), unique=unique, where=where),)
    return EntitySpec(name=name, fields=own, indexes=indexes, search=draw(searches(own)))


@st.composite
def conditions(draw: st.DrawFn, own: tuple[FieldSpec, ...]) -> str:
    """The condition of a partial index over one of the fields."""
    each = draw(st.sampled_from(own))
    literal = {"int": "1", "float": "1.5", "bool": "true"}.get(each.kind, "'a'")
    compared = f"{each.name} <> {literal}"
    return draw(st.sampled_from([f"{each.name} IS NOT NULL", compared]))


@st.composite
def searches(draw: st.DrawFn, own: tuple[FieldSpec, ...]) -> SearchSpec | None:
    """What is searched, by which fields counted and sorted; half of the entities are not."""
    if draw(st.booleans()):
        return None
    shown = [each for each in own if not each.is_private]
    texts = [each.name for each in shown if each.kind in ("string", "richtext")]

    def some(names: list[str]) -> tuple[str, ...]:
        return tuple(name for name in names if draw(st.booleans()))

    names = [each.name for each in shown]
    found = SearchSpec(text=some(texts), facets=some(names), sortable=some(names))
    return found if found.text or found.facets or found.sortable else None


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    names = draw(
        st.lists(
            st.sampled_from(["One", "one", "Two"]), unique_by=str.lower, min_size=1, max_size=2
        )
    )
    return app(*[draw(entities(name)) for name in names])


@st.composite
def hints_between(draw: st.DrawFn, old: Manifest, new: Manifest) -> Hints:
    """Some renames that are possible by name."""
    gone = [e.name for e in old.entities if e.name not in new.entities_by_name]
    come = [e.name for e in new.entities if e.name not in old.entities_by_name]
    renamed = tuple(zip(gone, come, strict=False)) if draw(st.booleans()) else ()
    before = {after: name for name, after in renamed}
    columns = []
    for each in new.entities:
        was = old.entities_by_name.get(before.get(each.name, each.name))
        if was is None or not draw(st.booleans()):
            continue
        lost = [f.name for f in was.fields if f.name not in each.fields_by_name]
        added = [f.name for f in each.fields if f.name not in was.fields_by_name]
        taken = {name.lower() for name in added}
        for one, other in zip((name for name in lost if name.lower() not in taken), added):  # noqa: B905
            columns.append((each.name, one, other))
    return Hints(entities=renamed, fields=tuple(columns))


def fill(draw: Any, connection: apsw.Connection, manifest: Manifest) -> None:
    """Some rows, as far as unique indexes let them in."""
    for each in manifest.entities:
        for number in range(draw(st.integers(0, 4))):
            row: dict[str, Any] = {"id": f"{len(rows_of(connection, each.name))}{number}"}
            for spec in each.fields:
                if not spec.optional or draw(st.booleans()):
                    row[spec.name] = draw(VALUES[spec.kind])
            try:
                insert(connection, each.name, row)
            except apsw.ConstraintError:
                continue
        for word in draw(st.lists(st.sampled_from(("clear", "delete")), max_size=2)):
            disturb(connection, each, word)


def disturb(connection: apsw.Connection, entity: EntitySpec, word: str) -> None:
    """Change or delete the first row, as far as it may be."""
    first = f"WHERE id = (SELECT min(id) FROM {quote(entity.name)})"
    cleared = [quote(each.name) for each in entity.fields if each.optional]
    if word == "delete":
        connection.execute(f"DELETE FROM {quote(entity.name)} {first}")
    elif cleared:
        listed = ", ".join(f"{name} = NULL" for name in cleared)
        connection.execute(f"UPDATE {quote(entity.name)} SET {listed} {first}")


def everything(connection: apsw.Connection) -> dict[str, list[dict[str, Any]]]:
    return {name: rows_of(connection, name) for name in introspect(connection).tables}


def check_kept(
    before: dict[str, list[dict[str, Any]]],
    after: dict[str, list[dict[str, Any]]],
    old: Manifest,
    new: Manifest,
    hints: Hints,
    allow: Level,
) -> None:
    """Every value of before is found again, as it was or converted without loss."""
    entity_after = dict(hints.entities)
    column_after = {(entity, name): to for entity, name, to in hints.fields}
    folded = {each.name.lower(): each.name for each in new.entities}
    for table, rows in before.items():
        name = entity_after.get(table, folded.get(table.lower(), table))
        if name not in new.entities_by_name:
            if allow != "destructive":
                assert len(after[table]) == len(rows)
            continue
        assert [row["id"] for row in after[name]] == [row["id"] for row in rows]
        wanted = new.entities_by_name[name].fields_by_name
        had = old.entities_by_name[table].fields_by_name if table in old.entities_by_name else {}
        by_case = {each.lower(): each for each in wanted}
        for row, now in zip(rows, after[name], strict=True):
            for column, value in row.items():
                to = column_after.get((name, column), by_case.get(column.lower(), column))
                if value is None or column == "id" or column not in had:
                    continue
                if to not in wanted:
                    assert allow == "destructive" or now[column] == value
                    continue
                expected, is_lossless = convert(value, had[column].kind, wanted[to].kind)
                if is_lossless:
                    assert now[to] == expected
                else:
                    assert allow == "destructive", "a value was lost unasked"


@settings(
    max_examples=4_000 if LONG else 200,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_rows_are_kept_or_the_change_is_refused(data: st.DataObject) -> None:
    check_history(data, length=5 if LONG else 3)


def check_history(data: st.DataObject, *, length: int) -> None:
    connection = open_empty()
    old = app()
    for _ in range(length):
        new = data.draw(manifests(), "manifest")
        allow = data.draw(st.sampled_from(LEVELS), "allow")
        hints = data.draw(hints_between(old, new), "hints")
        before, schema = everything(connection), shape(introspect(connection))
        try:
            outcome = fit(connection, new, SEARCH, allow=allow, hints=hints)
        except EvolutionError:
            assert everything(connection) == before, "a refused change changed something"
            assert shape(introspect(connection)) == schema
            return
        check_kept(before, everything(connection), old, new, hints, allow)
        assert shape(introspect(connection)) == shape(introspect(fresh(new)))
        check_required(connection, new)
        assert searched_by(connection) == searched_by(fresh(new))
        again = fit(connection, new, SEARCH)
        assert again.plan.steps == (), "a second run finds nothing to do"
        assert outcome.history_id is None or outcome.plan.steps
        old = new
        fill(data.draw, connection, new)
        check_search(connection, new)


def check_required(connection: apsw.Connection, manifest: Manifest) -> None:
    for each in manifest.entities:
        for row in rows_of(connection, each.name):
            for spec in each.fields:
                assert spec.optional or row[spec.name] is not None
                value = row[spec.name]
                if value is not None:
                    assert convert(value, spec.kind, kind_of(spec.type))[1]


# --- search ----------------------------------------------------------------------------------


def fresh(manifest: Manifest) -> apsw.Connection:
    """A database that never had another manifest."""
    connection = open_empty()
    fit(connection, manifest, SEARCH)
    return connection


def searched_by(connection: apsw.Connection) -> set[tuple[str, str]]:
    """What serves searches: names and texts, without the tables that FTS5 makes for itself."""
    found = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE substr(name, 1, ?) = ? AND sql IS NOT NULL",
        (len(PREFIX), PREFIX),
    )
    return {(str(name), str(sql)) for name, sql in found if "_pylon_search" in str(sql)}


def check_search(connection: apsw.Connection, manifest: Manifest) -> None:
    """The indexes hold what they would hold if they were built now."""
    for each in manifest.entities:
        if each.search is not None and each.search.text:
            held = words_of(connection, each.name)
            SEARCH.build(connection, manifest, each, lambda what, done, total: None)
            assert held == words_of(connection, each.name)


def words_of(connection: apsw.Connection, entity: str) -> set[tuple[Any, ...]]:
    """Every word of an index with its row, column and place."""
    connection.execute(
        "CREATE VIRTUAL TABLE temp.words USING fts5vocab"
        f"('main', {quote(text_table(entity))}, 'instance')"
    )
    found = connection.execute(
        f"SELECT w.term, i.row_id, w.col, w.offset FROM temp.words w"
        f" LEFT JOIN {quote(ids_table(entity))} i ON i.docid = w.doc"
    ).fetchall()
    connection.execute("DROP TABLE temp.words")
    return set(found)
