"""Conditions on a row as an AST, and as SQL over the table aliased `t`.

Equal shapes give equal text, and every value is bound. Made by `filters` from JSON, compiled for
`query`, `graph` and `aggregate`; knows no policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec

from pylon.data.exact import key_sql
from pylon.letters import small, small_sql
from pylon.store.base import Value
from pylon.store.dialect import Dialect
from pylon.store.naming import quote
from pylon.store.search_keys import SearchKey
from pylon.store.search_query import SearchQuery

# --- The AST ---------------------------------------------------------------------------------


class Compare(msgspec.Struct, frozen=True):
    """`column sign value`, false where the column is null. Here and below `is_folded` says that A
    to Z match in either case, and that the value has small ones only. `is_decimal`: the value is a
    key of `exact`, and the column is compared by its own."""

    column: str
    sign: str
    value: Value
    is_decimal: bool = False
    is_folded: bool = False


class IsNull(msgspec.Struct, frozen=True):
    """Whether a column is null."""

    column: str
    negated: bool


class OneOf(msgspec.Struct, frozen=True):
    """Whether a column's value is in a list, or, negated, is a value that is not in it."""

    column: str
    values: tuple[Value, ...]
    negated: bool
    is_folded: bool = False


class Like(msgspec.Struct, frozen=True):
    """Whether a text matches a pattern of LIKE; the letters A to Z match in either case."""

    column: str
    pattern: str


class Prefix(msgspec.Struct, frozen=True):
    """Whether a text begins with another."""

    column: str
    prefix: str
    is_folded: bool = False


class Contains(msgspec.Struct, frozen=True):
    """Whether a text holds another, case and all; `is_folded`: A to Z in either case."""

    column: str
    text: str
    is_folded: bool = False


class HasItem(msgspec.Struct, frozen=True):
    """Whether a column's list has an item."""

    column: str
    item: str | int | float


class Search(msgspec.Struct, frozen=True):
    """Whether the full-text index of `entity` finds the row."""

    entity: str
    query: SearchQuery


class Finds(msgspec.Struct, frozen=True):
    """Whether a search finds the row by its texts: `columns` are those of these `fields`."""

    query: SearchQuery
    fields: tuple[str, ...]
    columns: tuple[str, ...]


class All(msgspec.Struct, frozen=True):
    """Every condition holds; with none, always."""

    parts: tuple[Condition, ...]


class Either(msgspec.Struct, frozen=True):
    """Some condition holds; with none, never."""

    parts: tuple[Condition, ...]


class Not(msgspec.Struct, frozen=True):
    """The condition does not hold, be it false or undecided because of a null."""

    part: Condition


Condition: TypeAlias = (
    Compare
    | IsNull
    | OneOf
    | Like
    | Prefix
    | Contains
    | HasItem
    | Search
    | Finds
    | All
    | Either
    | Not
)

EVERYTHING: Final = All(())
NOTHING: Final = Either(())


def in_either_case(condition: Condition) -> Condition:
    """The same condition on a column in which A to Z in either case are one value."""
    match condition:
        case Compare():
            return Compare(condition.column, condition.sign, small(condition.value), is_folded=True)
        case OneOf():
            values = tuple(dict.fromkeys(map(small, condition.values)))
            return msgspec.structs.replace(condition, values=values, is_folded=True)
        case Prefix():
            return Prefix(condition.column, small(condition.prefix), is_folded=True)
        case Contains():
            return msgspec.structs.replace(condition, is_folded=True)
        case All() | Either():
            parts = tuple(map(in_either_case, condition.parts))
            return msgspec.structs.replace(condition, parts=parts)
        case Not():
            return Not(in_either_case(condition.part))
    return condition  # Nulls have no case, and LIKE matches in either.


def renamed(condition: Condition, names: Mapping[str, str]) -> Condition:
    """The same condition on columns that are called otherwise."""
    match condition:
        case All() | Either():
            parts = tuple(renamed(part, names) for part in condition.parts)
            return msgspec.structs.replace(condition, parts=parts)
        case Not():
            return Not(renamed(condition.part, names))
        case Search():
            return condition
        case Finds():
            columns = tuple(names[column] for column in condition.columns)
            return msgspec.structs.replace(condition, columns=columns)
    return msgspec.structs.replace(condition, column=names[condition.column])


# --- SQL -------------------------------------------------------------------------------------


def compile_condition(
    condition: Condition, dialect: Dialect, params: list[Value], key: SearchKey | None = None
) -> str | None:
    """The SQL of a condition, its values appended to `params`; None where it always holds. `key`
    says that the statement is about rows that have it only (`Opened.key`)."""
    if condition == EVERYTHING:
        return None
    return _sql(condition, dialect, params, key)


def column_sql(column: str, is_folded: bool) -> str:
    """A column of the table, as it is compared and ordered."""
    named = f"t.{quote(column)}"
    return small_sql(named) if is_folded else named


def _sql(condition: Condition, dialect: Dialect, params: list[Value], key: SearchKey | None) -> str:
    match condition:
        case Compare():
            params.append(condition.value)
            if condition.is_decimal:
                return f"{key_sql(f't.{quote(condition.column)}')} {condition.sign} ?"
            return f"{column_sql(condition.column, condition.is_folded)} {condition.sign} ?"
        case IsNull():
            return f"t.{quote(condition.column)} IS {'NOT ' if condition.negated else ''}NULL"
        case OneOf():
            column = column_sql(condition.column, condition.is_folded)
            sql, value = dialect.one_of(column, condition.values, negated=condition.negated)
            params.append(value)
            return sql
        case Like():
            sql, values = dialect.like(f"t.{quote(condition.column)}", condition.pattern)
            params += values
            return sql
        case Contains(is_folded=True):
            params.append(small(condition.text))
            return dialect.contains(f"t.{quote(condition.column)}", is_folded=True)
        case Contains():
            params.append(condition.text)
            return dialect.contains(f"t.{quote(condition.column)}")
        case HasItem():
            params.append(condition.item)
            return dialect.has_item(f"t.{quote(condition.column)}")
        case Prefix():
            return _prefix_sql(condition, params)
        case Search():
            params.append(dialect.search_value(condition.query, key))
            found = dialect.search_source(condition.entity)
            return f"t.id IN (SELECT {found.row_id} FROM {found.sql})"
        case Finds():
            columns = [f"t.{quote(column)}" for column in condition.columns]
            texts = dict(zip(condition.fields, columns, strict=True))
            sql, value = dialect.finds(condition.query, texts)
            params.append(value)
            return sql
        case Not():
            return f"({_sql(condition.part, dialect, params, key)}) IS NOT TRUE"
        case All():
            return _chain(condition.parts, " AND ", "1 = 1", dialect, params, key)
        case Either():
            return _chain(condition.parts, " OR ", "1 = 0", dialect, params, key)


def _chain(
    parts: tuple[Condition, ...],
    joint: str,
    empty: str,
    dialect: Dialect,
    params: list[Value],
    key: SearchKey | None,
) -> str:
    if not parts:
        return empty
    return f"({joint.join([_sql(part, dialect, params, key) for part in parts])})"


def _prefix_sql(condition: Prefix, params: list[Value]) -> str:
    """A range, which an index serves; the end is the next text that is no continuation."""
    column = column_sql(condition.column, condition.is_folded)
    params.append(condition.prefix)
    end = _after_prefix(condition.prefix)
    if end is None:
        return f"{column} >= ?"
    params.append(end)
    return f"({column} >= ? AND {column} < ?)"


def _after_prefix(prefix: str) -> str | None:
    kept = prefix.rstrip("\U0010ffff")
    if not kept:
        return None
    code = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if 0xD800 <= code <= 0xDFFF else code)
