"""How SQLite spells what has no common spelling; see `Dialect` for what each piece promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pylon.codec import encode
from pylon.schema.model import FieldKind
from pylon.store.base import Value
from pylon.store.dialect import Bucket, SearchPlaces, SearchSource
from pylon.store.naming import quote
from pylon.store.search_finds import write_down
from pylon.store.search_query import SearchQuery
from pylon.store.sqlite.functions import BEGINNING, FINDS, LIKE, beginning
from pylon.store.sqlite.search_indexes import (
    PREFIX,
    column_of,
    ids_table,
    places_table,
    share,
    text_table,
    words_table,
)
from pylon.store.sqlite.search_match import fields_text, match_text

_BUCKET_FORMS: Final[dict[Bucket, str]] = {
    "hour": "%Y-%m-%d %H:00:00",
    "day": "%Y-%m-%d",
    "week": "%G-W%V",
    "month": "%Y-%m",
    "year": "%Y",
}


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

    def bucket(self, column: str, bucket: Bucket) -> str:
        # What is no date at all is kept from `strftime`, to which `now` is the present and a
        # number a Julian day; and what is longer than any time from GLOB, which is slow.
        form = _BUCKET_FORMS[bucket]
        return (
            f"CASE WHEN octet_length({column}) > {_TIME_BYTES_MAX} THEN NULL"
            f" WHEN {column} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*'"
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

    def search_value(self, query: SearchQuery) -> Value:
        return match_text(query)

    def search_word(self, term: str, fields: Sequence[str]) -> str:
        return f"""{_literal(f'{fields_text(fields)} : "')} || {term} || '"'"""

    def search_words(self, entity: str) -> str:
        return quote(words_table(entity))

    def search_places(self, entity: str, fields: Sequence[str]) -> SearchPlaces:
        columns = ", ".join(_literal(column_of(name)) for name in fields)
        return SearchPlaces(
            sql=f"{quote(places_table(entity))} p",
            term="p.term",
            number="p.doc",
            counts=f"p.col IN ({columns})",
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
    return _INDEX in sql or looks_into_texts(sql)


_INDEX: Final = quote(PREFIX)[:-1]

SQLITE: Final = SqliteDialect()
