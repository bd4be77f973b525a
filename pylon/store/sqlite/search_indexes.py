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
from pylon.policy.pinned import pinned_field
from pylon.schema.model import EntitySpec, Manifest
from pylon.store.base import Row, Value
from pylon.store.evolution.model import Progress, no_progress
from pylon.store.naming import own, quote
from pylon.store.search_fields import indexed_fields
from pylon.store.search_keys import SearchKey
from pylon.store.search_words import VERSION
from pylon.store.sqlite.functions import LATER, MARKED_WORDS, WORDS, add_functions, beginning

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
_KEY = own("key")

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


def column_for(field: str, key: SearchKey | None) -> str:
    """The column that has a field's words, or those under the marks of a key."""
    return column_of(field) if key is None else _marked_column(field, key.field)


def _marked_column(field: str, key_field: str) -> str:
    """It names what it is kept by: whoever expects another field is told instead of misled."""
    return f"{column_of(field)}.{key_field}"


# --- Statements ------------------------------------------------------------------------------


def statements(entity: EntitySpec, key_field: str | None = None) -> Iterator[str]:
    """Everything that makes an entity's search, in order; nothing where it is not searchable. The
    words are kept once more by the values of `key_field` (`search_keys`), where there is one."""
    if entity.search is None:
        return
    if columns := text_columns(entity):
        yield from _full_text(entity.name, columns, key_field)
    indexed = dict.fromkeys((*entity.search.sortable, *entity.search.facets))
    for field in indexed:
        if field in entity.fields_by_name:
            column = quote(field)
            if entity.fields_by_name[field].folds:
                column = small_sql(column)
            name = quote(f"{PREFIX}{entity.name}.by.{field}")
            # With the id behind it, pages of equal values come in order.
            yield f"CREATE INDEX {name} ON {quote(entity.name)} ({column}, id)"


def _full_text(entity: str, columns: Mapping[str, str], key_field: str | None) -> Iterator[str]:
    text, ids = quote(text_table(entity)), quote(ids_table(entity))
    listed = _listed(columns, key_field)
    yield f"CREATE TABLE {ids} (docid INTEGER PRIMARY KEY, row_id TEXT NOT NULL UNIQUE)"
    yield (
        f"CREATE VIRTUAL TABLE {text} USING fts5({listed},"
        f" content = '', contentless_delete = 1, tokenize = '{TOKENIZER}')"
    )
    yield f"CREATE VIRTUAL TABLE {quote(words_table(entity))} USING fts5vocab({text}, row)"
    yield f"CREATE VIRTUAL TABLE {quote(places_table(entity))} USING fts5vocab({text}, instance)"
    fields = list(map(quote, columns))
    values = [f"new.{field}" for field in fields]
    key = None if key_field is None else f"new.{quote(key_field)}"
    doc = f"SELECT docid FROM {ids} WHERE row_id"
    indexed = f"SELECT {_kept(values, key)} FROM (SELECT {share(values)} AS {_SHARE})"
    size = _size(values)

    def later(found: str) -> str:
        return f"{LATER}({_literal(entity)}, ({found}), {size})"

    yield _trigger(
        entity,
        "insert",
        "INSERT",
        f"INSERT INTO {ids} (row_id) VALUES (new.id);"
        f" INSERT INTO {text} (rowid, {listed})"
        f" SELECT ({doc} = new.id), * FROM ({indexed})"
        f" WHERE NOT {later(f'{doc} = new.id')}",
    )
    # Not INSERT OR REPLACE: in a trigger the conflict clause of the statement that fires it is what
    # counts, and an upsert would leave the old words beside the new ones. Both ids, since either of
    # this trigger and the next may be the first.
    read = fields if key_field is None else list(dict.fromkeys((*fields, quote(key_field))))
    changed = " OR ".join(f"old.{field} IS NOT new.{field}" for field in read)
    yield _trigger(
        entity,
        "update",
        f"UPDATE OF {', '.join(read)}",
        f"UPDATE {text} SET ({listed}) = ({indexed}) WHERE rowid = ({doc} IN (old.id, new.id))",
        when=f"({changed}) AND NOT {later(f'{doc} IN (old.id, new.id)')}",
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


def _listed(columns: Mapping[str, str], key_field: str | None) -> str:
    """The columns of the full-text index, in the order of `_kept`."""
    listed: list[str] = []
    for field, column in columns.items():
        listed.append(column)
        if key_field is not None:
            listed.append(_marked_column(field, key_field))
    return ", ".join(map(quote, listed))


def _kept(values: Sequence[str], key: str | None) -> str:
    """What the index keeps of each text, and once more under the mark of a key's value."""
    kept = []
    for value in values:
        text = f"{beginning(value, _SHARE)}, {_SHARE}"
        # A short text of ASCII is kept as it is, without asking Python; `length` ends at a NUL.
        is_plain = f"octet_length({value}) = length({value}) AND length({value}) <= {_SHARE}"
        kept.append(f"CASE WHEN {is_plain} THEN {value} ELSE {WORDS}({text}) END")
        if key is not None:  # at once, while the words of this text are remembered
            kept.append(f"{MARKED_WORDS}({key}, {text})")
    return ", ".join(kept)


def share(values: Sequence[str]) -> str:
    """How many characters of each text are indexed. Of a row with more than are indexed in all each
    text has an equal part, or the largest has what the others leave."""
    most = limits.SEARCH_INDEXED_CHARACTERS_MAX
    if len(values) == 1:
        return str(most)
    others = f"{_size(values)} - max({', '.join(_sizes(values))})"
    return f"max({most // len(values)}, {most} - ({others}))"


def _size(values: Sequence[str]) -> str:
    """The bytes of texts."""
    return " + ".join(_sizes(values))


def _sizes(values: Sequence[str]) -> list[str]:
    return [f"coalesce(octet_length({value}), 0)" for value in values]


def _trigger(entity: str, word: str, event: str, body: str, *, when: str = "") -> str:
    condition = f" WHEN {when}" if when else ""
    return (
        f"CREATE TRIGGER {quote(f'{PREFIX}{entity}.{word}')} AFTER {event} ON {quote(entity)}"
        f"{condition} BEGIN {body}; END"
    )


class Wanted(Struct, frozen=True, kw_only=True):
    """The search of one entity as a manifest has it, and what makes it."""

    name: str
    columns: Mapping[str, str]
    """The fields of the full-text index with their columns."""
    key_field: str | None
    """The field by which words are kept once more."""
    statements: tuple[str, ...]
    fingerprint: str
    """Changes when the index would be made differently."""

    @staticmethod
    def of(manifest: Manifest, entity: EntitySpec) -> Wanted:
        """What `entity` wants, one with a search."""
        columns = text_columns(entity)
        key_field = pinned_field(manifest, entity) if columns else None
        made = tuple(statements(entity, key_field))
        written = "\n".join((f"words {VERSION}", *made))
        return Wanted(
            name=entity.name,
            columns=columns,
            key_field=key_field,
            statements=made,
            fingerprint=hashlib.sha256(written.encode()).hexdigest()[:32],
        )

    def filling(self, condition: str) -> str:
        """What puts rows into the full-text index, or anew; `condition` is on `i.docid`."""
        columns, key_field, table = self.columns, self.key_field, quote(self.name)
        text, ids = quote(text_table(self.name)), quote(ids_table(self.name))
        values = [f"t.{quote(field)}" for field in columns]
        names = [own(f"v{number}") for number in range(len(values))]
        read = list(zip(values, names, strict=True))
        if key_field is not None:
            read.append((f"t.{quote(key_field)}", _KEY))
        rows = ", ".join([f"{value} AS {name}" for value, name in read])
        kept = _kept(names, None if key_field is None else _KEY)
        return (
            f"INSERT OR REPLACE INTO {text} (rowid, {_listed(columns, key_field)})"
            f" SELECT {_DOC}, {kept} FROM"
            f" (SELECT i.docid AS {_DOC}, {share(values)} AS {_SHARE}, {rows} FROM {ids} i"
            f" JOIN {table} t ON t.id = i.row_id WHERE {condition})"
        )


# --- Building --------------------------------------------------------------------------------


class SqliteSearchIndexes:
    """Keeps the indexes with the schema: the `SearchIndexes` of schema evolution."""

    def build(
        self,
        connection: apsw.Connection,
        manifest: Manifest,
        entity: EntitySpec,
        progress: Progress,
    ) -> None:
        """Make the indexes anew and fill them from the rows, in the caller's transaction."""
        wanted = Wanted.of(manifest, entity)
        filling = self._make(connection, wanted)
        while filling is not None:
            filling = filling.go_on(connection, progress)
        _record(connection, wanted, None)

    def _make(self, connection: apsw.Connection, wanted: Wanted) -> Filling | None:
        """Make them; what is to be filled, if anything is."""
        add_functions(connection)
        self.remove(connection, wanted.name)
        for statement in wanted.statements:
            connection.execute(statement)
        return Filling.begin(connection, wanted)

    def later(self, manifest: Manifest) -> dict[str, str]:
        """By entity, what indexes rows by a JSON list of their numbers, for `IndexLater`."""
        searched = [each for each in manifest.entities if text_columns(each)]
        condition = "i.docid IN (SELECT value FROM json_each(?))"
        return {each.name: Wanted.of(manifest, each).filling(condition) for each in searched}

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
            searched = [each for each in manifest.entities if each.search is not None]
            wanted = {each.name: Wanted.of(manifest, each) for each in searched}
            gone = [name for name in recorded if name not in wanted]
            for name in gone:
                self.remove(connection, name)
            unmade = [
                each
                for name, each in wanted.items()
                if recorded.get(name) != each.fingerprint or not _is_whole(connection, each)
            ]
        for each in unmade:
            self._bring(connection, each, recorded.get(each.name), progress)
        return [*gone, *(each.name for each in unmade)]

    def _bring(
        self,
        connection: apsw.Connection,
        wanted: Wanted,
        recorded: object,
        progress: Progress,
    ) -> None:
        """Make and fill the indexes of one entity, or go on with it."""
        with _transaction(connection):
            filling = None
            if _is_whole(connection, wanted):
                filling = Filling.left_behind(connection, wanted, recorded)
            if filling is None:
                filling = self._make(connection, wanted)
            _record(connection, wanted, filling)
            total = 0 if filling is None else filling.total
        if total:
            rows = "1 row" if total == 1 else f"{total} rows"
            log.info("search: the index of %s is made anew, for %s", wanted.name, rows)
        while filling is not None:
            with _transaction(connection):
                filling = filling.go_on(connection, progress)
                _record(connection, wanted, filling)
        if total:
            log.info("search: the index of %s is there", wanted.name)


class Filling(Struct, frozen=True, kw_only=True):
    """An index on its way: rows whose number is not above `done`, of `total`, are in it.

    Triggers keep rows that are written meanwhile, by whomever; filled in again they are the same.
    """

    wanted: Wanted
    done: int
    total: int

    @staticmethod
    def begin(connection: apsw.Connection, wanted: Wanted) -> Filling | None:
        """Number the rows; None where there is nothing to fill."""
        if not wanted.columns:
            return None
        ids, table = quote(ids_table(wanted.name)), quote(wanted.name)
        connection.execute(f"INSERT INTO {ids} (row_id) SELECT id FROM {table} ORDER BY id")
        return Filling(wanted=wanted, done=0, total=_last(connection, wanted))

    @staticmethod
    def left_behind(
        connection: apsw.Connection, wanted: Wanted, recorded: object
    ) -> Filling | None:
        """What another start did not end, as it was recorded."""
        made, _, done = str(recorded).partition(UNTIL)
        if made != wanted.fingerprint or not done.isdecimal():
            return None
        return Filling(wanted=wanted, done=int(done), total=_last(connection, wanted))

    def go_on(self, connection: apsw.Connection, progress: Progress) -> Filling | None:
        """Fill in so many rows more; None when all are."""
        text, name = quote(text_table(self.wanted.name)), self.wanted.name
        done = min(self.done + limits.SEARCH_BUILD_ROWS, self.total)
        if done > self.done:
            connection.execute(
                self.wanted.filling("i.docid > ? AND i.docid <= ?"), (self.done, done)
            )
            progress(f"indexing {name} for search", done, self.total)
        if done < self.total:
            return replace(self, done=done)
        connection.execute(f"INSERT INTO {text} ({text}) VALUES ('optimize')")
        return None


def _last(connection: apsw.Connection, wanted: Wanted) -> int:
    """The highest number of a row."""
    ids = quote(ids_table(wanted.name))
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


def _record(connection: apsw.Connection, wanted: Wanted, filling: Filling | None) -> None:
    """Note what the index was made from, and how far it is filled."""
    until = "" if filling is None else f"{UNTIL}{filling.done}"
    connection.execute(_SAVE, (META_PREFIX + wanted.name, wanted.fingerprint + until))


def _recorded(connection: apsw.Connection) -> dict[str, object]:
    """What was noted, by entity."""
    found = _fetch(
        connection,
        "SELECT key, value FROM _pylon_meta WHERE substr(key, 1, ?) = ?",
        (len(META_PREFIX), META_PREFIX),
    )
    return {str(key).removeprefix(META_PREFIX): value for key, value in found}


def _is_whole(connection: apsw.Connection, wanted: Wanted) -> bool:
    """Whether everything is there; a dropped table takes its triggers and indexes along."""
    there = {sql for (sql,) in _fetch(connection, "SELECT sql FROM sqlite_schema")}
    return all(each in there for each in wanted.statements)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


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
