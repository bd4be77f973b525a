"""How SQLite spells what has no common spelling; see `Dialect` for what each piece promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pylon.codec import encode
from pylon.moments import moment
from pylon.schema.model import FieldKind
from pylon.store.base import Value
from pylon.store.dialect import Bucket, SearchPlaces, SearchSource
from pylon.store.naming import quote
from pylon.store.search_finds import write_down
from pylon.store.search_keys import SearchKey
from pylon.store.search_query import SearchQuery
from pylon.store.sqlite.functions import BEGINNING, FINDS, LIKE, beginning
from pylon.store.sqlite.search_indexes import (
    PREFIX,
    column_for,
    ids_table,
    places_table,
    share,
    text_table,
    words_table,
)
from pylon.store.sqlite.search_match import fields_text, match_text
from pylon.zones import Zone

_BUCKET_FORMS: Final[dict[Bucket, str]] = {
    "hour": "%Y-%m-%d %H:00:00",
    "day": "%Y-%m-%d",
    "week": "%G-W%V",
    "month": "%Y-%m",
    "year": "%Y",
}


_SECONDS: Final = "%Y-%m-%dT%H:%M:%S"
_TIME_BYTES_MAX: Final = 64


class SqliteDialect:
    """The `Dialect` of SQLite, at least 3.51.3."""

    def json_text(self, value: str, kind: FieldKind) -> str:
        if kind == "bool":
            return f"CASE {value} WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE 'null' END"
        return f"json_quote({value})"

    def as_bytes(self, text: str) -> str:
        return f"CAST({text} AS BLOB)"

    def mixed(self, value: str, kind: FieldKind) -> str:
        return value  # Values have types here, columns do not.

    def beginning(self, text: str, characters: int) -> str:
        return f"{BEGINNING}({beginning(text, str(characters))}, {characters})"

    def one_of(self, column: str, values: Sequence[Value], *, negated: bool) -> tuple[str, Value]:
        word = "NOT IN" if negated else "IN"
        return f"{column} {word} (SELECT value FROM json_each(?))", encode(values).decode()

    def like(self, column: str, pattern: str) -> tuple[str, Sequence[Value]]:
        # To LIKE a text and a pattern end at their first NUL.
        ours, has_nul = f"{LIKE}({column}, ?)", f"instr({column}, char(0)) > 0"
        if "\0" in pattern:
            return f"({has_nul} AND {ours})", (pattern,)
        theirs = f"{column} LIKE ? ESCAPE '\\'"
        return f"CASE WHEN {has_nul} THEN {ours} ELSE {theirs} END", (pattern, pattern)

    def contains(self, column: str, *, is_folded: bool = False) -> str:
        return f"instr({f'lower({column})' if is_folded else column}, ?) > 0"

    def has_item(self, column: str) -> str:
        return f"EXISTS (SELECT 1 FROM json_each({column}) WHERE value = ?)"

    def bucket(
        self, column: str, bucket: Bucket, *, zone: Zone | None = None, is_key: bool = False
    ) -> str:
        form = _BUCKET_FORMS[bucket]
        if is_key:
            return _bucket_of_key(column, form, zone)
        if zone is None:
            return self._formatted(column, form)
        local = f"strftime('{_SECONDS}', u.at, {_shift('u.at', zone)})"
        source = f"SELECT {local} AS at FROM (SELECT {self._formatted(column, _SECONDS)} AS at) u"
        span = f"CASE WHEN l.at >= '0001' THEN strftime('{form}', l.at) END"
        return f"(SELECT {span} FROM ({source}) l)"

    def _formatted(self, column: str, form: str) -> str:
        # What is no date at all is kept from `strftime`, to which `now` is the present and a
        # number a Julian day; and what is longer than any time from GLOB, which is slow.
        return (
            f"CASE WHEN octet_length({column}) > {_TIME_BYTES_MAX} THEN NULL"
            f" WHEN {column} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*'"
            f" AND {column} >= '0001'"
            f" THEN strftime('{form}', {column})"
            f" WHEN {column} GLOB '[0-9]*' AND {column} NOT GLOB '*[^0-9Z]*'"
            f" THEN strftime('{form}', CAST({column} AS INTEGER), 'unixepoch') END"
        )

    def float_sum(self, column: str) -> str:
        return f"iif(count({column}) > 0, total({column}), NULL)"

    def finds(self, query: SearchQuery, columns: Mapping[str, str]) -> tuple[str, Value]:
        most = share(tuple(columns.values()))
        texts = ", ".join(beginning(column, most) for column in columns.values())
        return f"{FINDS}(?, {most}, {texts})", write_down(query, tuple(columns))

    def search_source(
        self, entity: str, table: str | None = None, *, asked: str = "?"
    ) -> SearchSource:
        # CROSS JOIN is an order to the planner: the index answers one text quickly, one row slowly.
        found = f"{quote(text_table(entity))}({asked}) f CROSS JOIN {quote(ids_table(entity))} i"
        source = f"{found} ON i.docid = f.rowid"
        if table is not None:
            source = f"{source} CROSS JOIN {table} ON t.id = i.row_id"
        return SearchSource(sql=source, row_id="i.row_id", number="i.docid", rank="f.rank")

    def search_value(self, query: SearchQuery, key: SearchKey | None = None) -> Value:
        return match_text(query, key)

    def search_word(self, term: str, fields: Sequence[str], key: SearchKey | None = None) -> str:
        return f"""{_literal(f'{fields_text(fields, key)} : "')} || {term} || '"'"""

    def search_words(self, entity: str) -> str:
        return quote(words_table(entity))

    def search_places(
        self, entity: str, fields: Sequence[str], key: SearchKey | None = None
    ) -> SearchPlaces:
        columns = ", ".join(_literal(column_for(name, key)) for name in fields)
        return SearchPlaces(
            sql=f"{quote(places_table(entity))} p",
            term="p.term",
            number="p.doc",
            counts=f"p.col IN ({columns})",
        )


def _bucket_of_key(column: str, form: str, zone: Zone | None) -> str:
    at = f"substr({column}, 1, {len('2026-01-31T09:00:00')})"
    if zone is None:
        return f"CASE WHEN {column} >= '0001' AND {column} < 'Y' THEN strftime('{form}', {at}) END"
    first = _literal(moment(f"0001-01-01T00:00:00{_spelled(zone.first_seconds)}"))
    last = _literal(moment(f"9999-12-31T23:59:59{_spelled(zone.last_seconds)}"))
    return (
        f"CASE WHEN {column} >= {first} AND {column} < 'Y' AND {at} <= {last}"
        f" THEN strftime('{form}', {at}, {_shift(column, zone)}) END"
    )


def _spelled(seconds: int) -> str:
    """An offset as ISO 8601 writes it."""
    hours, rest = divmod(abs(seconds), 3600)
    return f"{'-' if seconds < 0 else '+'}{hours:02}:{rest // 60:02}:{rest % 60:02}"


def _shift(at: str, zone: Zone) -> str:
    """From a moment of UTC to the clocks of a zone, for date functions."""
    return f"concat({_offset(at, zone.first_seconds, zone.changes)}, ' seconds')"


def _offset(at: str, seconds: int, changes: Sequence[tuple[str, int]]) -> str:
    """The offset that holds at a moment of UTC, by halves, as there are hundreds."""
    if not changes:
        return str(seconds)
    middle = len(changes) // 2
    since, after = changes[middle]
    earlier = _offset(at, seconds, changes[:middle])
    return (
        f"CASE WHEN {at} < {_literal(since)} THEN {earlier}"
        f" ELSE {_offset(at, after, changes[middle + 1 :])} END"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def looks_into_texts(sql: str) -> bool:
    """Whether a statement has a function that goes through a text once for each of its characters
    (`like` and `contains` above): no other takes so long over one value."""
    return "LIKE ?" in sql or "instr(" in sql or FINDS in sql or "json_each(t." in sql


def is_for_threads(sql: str) -> bool:
    """Whether one step of a statement may take long, however few rows it is about: it looks into
    texts, or asks a full-text index and may go through all of it."""
    return asks_an_index(sql) or looks_into_texts(sql)


def asks_an_index(sql: str) -> bool:
    """Whether a statement reads a full-text index."""
    return _INDEX in sql


_INDEX: Final = quote(PREFIX)[:-1]

SQLITE: Final = SqliteDialect()
