"""The tables that serve the search of an entity: made, filled, checked and dropped here.

Triggers on the entity's table keep them, so whoever writes a row, a hand-written migration
included, writes its index in the same transaction. Rows are numbered in a table of our own because
VACUUM may renumber those of the entity's table. What is asked of them is in `dialect`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence

import apsw

from pylon import limits
from pylon.schema.model import EntitySpec, Manifest
from pylon.store.base import Row, Value
from pylon.store.evolution.model import Progress, no_progress
from pylon.store.naming import own, quote
from pylon.store.search_fields import indexed_fields

log = logging.getLogger("pylon.search")

PREFIX = "_pylon_search."
"""What the names of all our objects begin with; no name in a manifest has a dot."""

TOKENIZER = "unicode61 remove_diacritics 2"

RESERVED_COLUMNS = frozenset({"rank", "rowid"})
"""Names that FTS5 keeps for itself."""

_SHARE = own("share")
_DOC = own("doc")

META_PREFIX = "search:"
"""Keys of `_pylon_meta` that hold what an entity's index was made from."""

_SAVE = "INSERT OR REPLACE INTO _pylon_meta (key, value) VALUES (?, ?)"


# --- Names -----------------------------------------------------------------------------------


def text_table(entity: str) -> str:
    """The full-text index; its rowid is the docid. It keeps no copy of the texts."""
    return f"{PREFIX}{entity}.text"


def ids_table(entity: str) -> str:
    """`(docid, row_id)`: which row a docid is."""
    return f"{PREFIX}{entity}.ids"


def words_table(entity: str) -> str:
    """The words of the index, `(term, doc, cnt)`."""
    return f"{PREFIX}{entity}.words"


def places_table(entity: str) -> str:
    """Where its words stand, `(term, doc, col, offset)`; `doc` is a docid."""
    return f"{PREFIX}{entity}.places"


def text_columns(entity: EntitySpec) -> dict[str, str]:
    """The fields of the full-text index with their columns in it; none: it has no such index."""
    return {name: column_of(name) for name in indexed_fields(entity)}


def column_of(field: str) -> str:
    """The column of a field in the full-text index."""
    return f".{field}" if field.lower() in RESERVED_COLUMNS else field


# --- Statements ------------------------------------------------------------------------------


def statements(entity: EntitySpec) -> Iterator[str]:
    """Everything that makes an entity's search, in order; nothing where it is not searchable."""
    if entity.search is None:
        return
    if columns := text_columns(entity):
        yield from _full_text(entity.name, columns)
    indexed = dict.fromkeys((*entity.search.sortable, *entity.search.facets))
    for field in indexed:
        if field in entity.fields_by_name:
            name = quote(f"{PREFIX}{entity.name}.by.{field}")
            # With the id behind it, pages of equal values come in order.
            yield f"CREATE INDEX {name} ON {quote(entity.name)} ({quote(field)}, id)"


def _full_text(entity: str, columns: Mapping[str, str]) -> Iterator[str]:
    text, ids = quote(text_table(entity)), quote(ids_table(entity))
    listed = ", ".join(map(quote, columns.values()))
    yield f"CREATE TABLE {ids} (docid INTEGER PRIMARY KEY, row_id TEXT NOT NULL UNIQUE)"
    yield (
        f"CREATE VIRTUAL TABLE {text} USING fts5({listed},"
        f" content = '', contentless_delete = 1, tokenize = '{TOKENIZER}')"
    )
    yield f"CREATE VIRTUAL TABLE {quote(words_table(entity))} USING fts5vocab({text}, row)"
    yield f"CREATE VIRTUAL TABLE {quote(places_table(entity))} USING fts5vocab({text}, instance)"
    fields = list(map(quote, columns))
    values = [f"new.{field}" for field in fields]
    doc = f"SELECT docid FROM {ids} WHERE row_id"
    indexed = f"SELECT {_beginnings(values)} FROM (SELECT {_share(values)} AS {_SHARE})"
    yield _trigger(
        entity,
        "insert",
        "INSERT",
        f"INSERT INTO {ids} (row_id) VALUES (new.id);"
        f" INSERT INTO {text} (rowid, {listed})"
        f" SELECT ({doc} = new.id), * FROM ({indexed})",
    )
    # Not INSERT OR REPLACE: in a trigger the conflict clause of the statement that fires it is what
    # counts, and an upsert would leave the old words beside the new ones. Both ids, since either of
    # this trigger and the next may be the first.
    changed = " OR ".join(f"old.{field} IS NOT new.{field}" for field in fields)
    yield _trigger(
        entity,
        "update",
        f"UPDATE OF {', '.join(fields)}",
        f"UPDATE {text} SET ({listed}) = ({indexed}) WHERE rowid = ({doc} IN (old.id, new.id))",
        when=changed,
    )
    yield _trigger(
        entity,
        "rename",
        "UPDATE OF id",
        f"UPDATE {ids} SET row_id = new.id WHERE row_id = old.id",
        when="old.id IS NOT new.id",
    )
    yield _trigger(
        entity,
        "delete",
        "DELETE",
        f"DELETE FROM {text} WHERE rowid = ({doc} = old.id);"
        f" DELETE FROM {ids} WHERE row_id = old.id",
    )


def _beginnings(values: Sequence[str]) -> str:
    return ", ".join(f"substr({value}, 1, {_SHARE})" for value in values)


def _share(values: Sequence[str]) -> str:
    """How many characters of each text are indexed. Of a row with more than are indexed in all each
    text has an equal part, or the largest has what the others leave."""
    most = limits.SEARCH_INDEXED_CHARACTERS_MAX
    if len(values) == 1:
        return str(most)
    sizes = [f"coalesce(octet_length({value}), 0)" for value in values]
    others = f"{' + '.join(sizes)} - max({', '.join(sizes)})"
    return f"max({most // len(values)}, {most} - ({others}))"


def _trigger(entity: str, word: str, event: str, body: str, *, when: str = "") -> str:
    condition = f" WHEN {when}" if when else ""
    return (
        f"CREATE TRIGGER {quote(f'{PREFIX}{entity}.{word}')} AFTER {event} ON {quote(entity)}"
        f"{condition} BEGIN {body}; END"
    )


def fingerprint(entity: EntitySpec) -> str:
    """Changes when the index would be made differently."""
    return hashlib.sha256("\n".join(statements(entity)).encode()).hexdigest()[:32]


# --- Building --------------------------------------------------------------------------------


class SqliteSearchIndexes:
    """Keeps the indexes with the schema: the `SearchIndexes` of schema evolution."""

    def build(self, connection: apsw.Connection, entity: EntitySpec, progress: Progress) -> None:
        """Make the indexes anew and fill them from the rows, in the caller's transaction."""
        self.remove(connection, entity.name)
        for statement in statements(entity):
            connection.execute(statement)
        if columns := text_columns(entity):
            _fill(connection, entity.name, columns, progress)
        connection.execute(_SAVE, (META_PREFIX + entity.name, fingerprint(entity)))

    def remove(self, connection: apsw.Connection, entity: str) -> None:
        """Drop everything that serves the search of `entity`; none is fine."""
        # Of one kind at a time: a dropped virtual table takes its own tables along.
        for kind, condition in (
            ("TRIGGER", "type = 'trigger'"),
            ("INDEX", "type = 'index'"),
            ("TABLE", "type = 'table' AND sql LIKE '%USING fts5vocab%'"),
            ("TABLE", "type = 'table' AND sql LIKE 'CREATE VIRTUAL%'"),
            ("TABLE", "type = 'table'"),
        ):
            for name in _objects(connection, entity, condition):
                connection.execute(f"DROP {kind} {quote(name)}")
        connection.execute("DELETE FROM _pylon_meta WHERE key = ?", (META_PREFIX + entity,))

    def ensure(
        self, connection: apsw.Connection, manifest: Manifest, progress: Progress = no_progress
    ) -> list[str]:
        """Build what is missing, damaged or made otherwise, drop what nobody wants; its entities.

        A transaction of its own. Called at start after the schema was fitted, which builds what the
        manifest changed; this finds what a new release or a hand-written migration leaves behind.
        """
        connection.execute("BEGIN IMMEDIATE")
        try:
            done = self._ensure(connection, manifest, progress)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        return done

    def _ensure(
        self, connection: apsw.Connection, manifest: Manifest, progress: Progress
    ) -> list[str]:
        recorded = {
            str(key).removeprefix(META_PREFIX): value
            for key, value in _fetch(
                connection,
                "SELECT key, value FROM _pylon_meta WHERE substr(key, 1, ?) = ?",
                (len(META_PREFIX), META_PREFIX),
            )
        }
        wanted = {each.name: each for each in manifest.entities if each.search is not None}
        done = []
        for name in recorded:
            if name not in wanted:
                self.remove(connection, name)
                done.append(name)
        for name, entity in wanted.items():
            is_made = recorded.get(name) == fingerprint(entity)
            if not (is_made and _is_whole(connection, entity)):
                self.build(connection, entity, progress)
                done.append(name)
        return done


def _fill(
    connection: apsw.Connection, entity: str, columns: Mapping[str, str], progress: Progress
) -> None:
    table, text, ids = quote(entity), quote(text_table(entity)), quote(ids_table(entity))
    listed = ", ".join(map(quote, columns.values()))
    values = [f"t.{quote(field)}" for field in columns]
    names = [own(f"v{number}") for number in range(len(values))]
    rows = ", ".join([f"{value} AS {name}" for value, name in zip(values, names, strict=True)])
    shared = _beginnings(names)
    connection.execute(f"INSERT INTO {ids} (row_id) SELECT id FROM {table} ORDER BY id")
    total = int(_fetch(connection, f"SELECT count(*) FROM {ids}")[0][0])
    for start in range(0, total, limits.SEARCH_BUILD_ROWS):
        end = start + limits.SEARCH_BUILD_ROWS
        connection.execute(
            f"INSERT INTO {text} (rowid, {listed}) SELECT {_DOC}, {shared} FROM"
            f" (SELECT i.docid AS {_DOC}, {_share(values)} AS {_SHARE}, {rows}"
            f" FROM {ids} i JOIN {table} t ON t.id = i.row_id WHERE i.docid > ? AND i.docid <= ?)",
            (start, end),
        )
        progress(f"indexing {entity} for search", min(end, total), total)
    connection.execute(f"INSERT INTO {text} ({text}) VALUES ('optimize')")


def _is_whole(connection: apsw.Connection, entity: EntitySpec) -> bool:
    """Whether everything is there; a dropped table takes its triggers and indexes along."""
    there = {sql for (sql,) in _fetch(connection, "SELECT sql FROM sqlite_schema")}
    return all(each in there for each in statements(entity))


def _objects(connection: apsw.Connection, entity: str, condition: str) -> list[str]:
    prefix = f"{PREFIX}{entity}."
    found = _fetch(
        connection,
        "SELECT name FROM sqlite_schema"
        f" WHERE lower(substr(name, 1, ?)) = lower(?) AND {condition}",
        (len(prefix), prefix),
    )
    return [str(name) for (name,) in found]


def _fetch(connection: apsw.Connection, sql: str, params: Sequence[Value] = ()) -> list[Row]:
    return connection.execute(sql, params).fetchall()
