"""The tables that serve the search of an entity: made, filled, checked and dropped here.

Triggers on the entity's table keep them, so whoever writes a row, a hand-written migration
included, writes its index in the same transaction. Rows are numbered in a table of our own because
VACUUM may renumber those of the entity's table. What is asked of them is in `dialect`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import apsw
from msgspec import Struct
from msgspec.structs import replace

from pylon import limits
from pylon.letters import small_sql
from pylon.schema.model import EntitySpec, Manifest
from pylon.store.base import Row, Value
from pylon.store.evolution.model import Progress, no_progress
from pylon.store.naming import own, quote
from pylon.store.search_fields import indexed_fields
from pylon.store.search_words import VERSION
from pylon.store.sqlite.functions import WORDS, add_functions, beginning

log = logging.getLogger("pylon.search")

PREFIX = "_pylon_search."
"""What the names of all our objects begin with; no name in a manifest has a dot."""

TOKENIZER = "ascii"
"""Takes texts apart where `search_words` has put spaces, whatever signs it knows; folds A to Z."""

RESERVED_COLUMNS = frozenset({"rank", "rowid"})
"""Names that FTS5 keeps for itself."""

_SHARE = own("share")
"""How many characters of each text of a row are indexed."""
_DOC = own("doc")

META_PREFIX = "search:"
"""Keys of `_pylon_meta` that hold what an entity's index was made from."""

UNTIL = " until "
"""Behind that, before the number of the last row that is filled in, where not all are."""

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
            column = quote(field)
            if entity.fields_by_name[field].folds:
                column = small_sql(column)
            name = quote(f"{PREFIX}{entity.name}.by.{field}")
            # With the id behind it, pages of equal values come in order.
            yield f"CREATE INDEX {name} ON {quote(entity.name)} ({column}, id)"


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
    indexed = f"SELECT {_beginnings(values)} FROM (SELECT {share(values)} AS {_SHARE})"
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
    """What the index keeps of each text."""
    return ", ".join(f"{WORDS}({beginning(value, _SHARE)}, {_SHARE})" for value in values)


def share(values: Sequence[str]) -> str:
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
    made = "\n".join((f"words {VERSION}", *statements(entity)))
    return hashlib.sha256(made.encode()).hexdigest()[:32]


# --- Building --------------------------------------------------------------------------------


class SqliteSearchIndexes:
    """Keeps the indexes with the schema: the `SearchIndexes` of schema evolution."""

    def build(self, connection: apsw.Connection, entity: EntitySpec, progress: Progress) -> None:
        """Make the indexes anew and fill them from the rows, in the caller's transaction."""
        filling = self._make(connection, entity)
        while filling is not None:
            filling = filling.go_on(connection, progress)
        _record(connection, entity, None)

    def _make(self, connection: apsw.Connection, entity: EntitySpec) -> Filling | None:
        """Make them; what is to be filled, if anything is."""
        add_functions(connection)
        self.remove(connection, entity.name)
        for statement in statements(entity):
            connection.execute(statement)
        return Filling.begin(connection, entity)

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

        Called at start after the schema was fitted, which builds what the manifest changed; this
        finds what a new release or a hand-written migration leaves behind. In transactions of its
        own, one for so many rows: a start that is ended meanwhile goes on where this one was.
        """
        add_functions(connection)
        with _transaction(connection):
            recorded = _recorded(connection)
            wanted = {each.name: each for each in manifest.entities if each.search is not None}
            gone = [name for name in recorded if name not in wanted]
            for name in gone:
                self.remove(connection, name)
            unmade = [
                entity
                for name, entity in wanted.items()
                if recorded.get(name) != fingerprint(entity) or not _is_whole(connection, entity)
            ]
        for entity in unmade:
            self._bring(connection, entity, recorded.get(entity.name), progress)
        return [*gone, *(entity.name for entity in unmade)]

    def _bring(
        self,
        connection: apsw.Connection,
        entity: EntitySpec,
        recorded: object,
        progress: Progress,
    ) -> None:
        """Make and fill the indexes of one entity, or go on with it."""
        with _transaction(connection):
            filling = None
            if _is_whole(connection, entity):
                filling = Filling.left_behind(connection, entity, recorded)
            if filling is None:
                filling = self._make(connection, entity)
            _record(connection, entity, filling)
            total = 0 if filling is None else filling.total
        if total:
            rows = "1 row" if total == 1 else f"{total} rows"
            log.info("search: the index of %s is made anew, for %s", entity.name, rows)
        while filling is not None:
            with _transaction(connection):
                filling = filling.go_on(connection, progress)
                _record(connection, entity, filling)
        if total:
            log.info("search: the index of %s is there", entity.name)


class Filling(Struct, frozen=True, kw_only=True):
    """An index on its way: rows whose number is not above `done`, of `total`, are in it.

    Triggers keep rows that are written meanwhile, by whomever; filled in again they are the same.
    """

    entity: EntitySpec
    columns: Mapping[str, str]
    done: int
    total: int

    @staticmethod
    def begin(connection: apsw.Connection, entity: EntitySpec) -> Filling | None:
        """Number the rows; None where there is nothing to fill."""
        columns = text_columns(entity)
        if not columns:
            return None
        ids, table = quote(ids_table(entity.name)), quote(entity.name)
        connection.execute(f"INSERT INTO {ids} (row_id) SELECT id FROM {table} ORDER BY id")
        return Filling(entity=entity, columns=columns, done=0, total=_last(connection, entity))

    @staticmethod
    def left_behind(
        connection: apsw.Connection, entity: EntitySpec, recorded: object
    ) -> Filling | None:
        """What another start did not end, as it was recorded."""
        made, _, done = str(recorded).partition(UNTIL)
        if made != fingerprint(entity) or not done.isdecimal():
            return None
        return Filling(
            entity=entity,
            columns=text_columns(entity),
            done=int(done),
            total=_last(connection, entity),
        )

    def go_on(self, connection: apsw.Connection, progress: Progress) -> Filling | None:
        """Fill in so many rows more; None when all are."""
        table, name = quote(self.entity.name), self.entity.name
        text, ids = quote(text_table(name)), quote(ids_table(name))
        listed = ", ".join(map(quote, self.columns.values()))
        values = [f"t.{quote(field)}" for field in self.columns]
        names = [own(f"v{number}") for number in range(len(values))]
        rows = ", ".join([f"{value} AS {name}" for value, name in zip(values, names, strict=True)])
        done = min(self.done + limits.SEARCH_BUILD_ROWS, self.total)
        if done > self.done:
            connection.execute(
                f"INSERT OR REPLACE INTO {text} (rowid, {listed})"
                f" SELECT {_DOC}, {_beginnings(names)} FROM"
                f" (SELECT i.docid AS {_DOC}, {share(values)} AS {_SHARE}, {rows} FROM {ids} i"
                f" JOIN {table} t ON t.id = i.row_id WHERE i.docid > ? AND i.docid <= ?)",
                (self.done, done),
            )
            progress(f"indexing {name} for search", done, self.total)
        if done < self.total:
            return replace(self, done=done)
        connection.execute(f"INSERT INTO {text} ({text}) VALUES ('optimize')")
        return None


def _last(connection: apsw.Connection, entity: EntitySpec) -> int:
    """The highest number of a row."""
    ids = quote(ids_table(entity.name))
    return int(_fetch(connection, f"SELECT coalesce(max(docid), 0) FROM {ids}")[0][0])


@contextmanager
def _transaction(connection: apsw.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _record(connection: apsw.Connection, entity: EntitySpec, filling: Filling | None) -> None:
    """Note what the index was made from, and how far it is filled."""
    until = "" if filling is None else f"{UNTIL}{filling.done}"
    connection.execute(_SAVE, (META_PREFIX + entity.name, fingerprint(entity) + until))


def _recorded(connection: apsw.Connection) -> dict[str, object]:
    """What was noted, by entity."""
    found = _fetch(
        connection,
        "SELECT key, value FROM _pylon_meta WHERE substr(key, 1, ?) = ?",
        (len(META_PREFIX), META_PREFIX),
    )
    return {str(key).removeprefix(META_PREFIX): value for key, value in found}


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
