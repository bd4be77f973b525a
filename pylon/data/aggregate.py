"""Aggregates over one entity: counts, sums, extremes, groups (spec 02 section 5.4).

The rows counted are those that the caller may read and that `where` finds. `having`, `order` and
`limit` work on the columns of the answer. Called by `api/queries` and by functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

import msgspec

from pylon import limits
from pylon.data.conditions import column_sql, compile_condition, renamed
from pylon.data.door import Opened, ReadDoor
from pylon.data.exact import key_sql, text_of_key
from pylon.data.filters import (
    Columns,
    invalid,
    parse_condition,
    parse_count,
    parse_order,
    parse_where,
    refuse_unknown_keys,
    require_object,
)
from pylon.data.query import add_policy, order_clause, row_limit, where_clause
from pylon.identity import Identity
from pylon.schema.diagnostics import did_you_mean
from pylon.schema.model import FieldKind
from pylon.store.base import Row, SumTooLarge, Value
from pylon.store.dialect import Bucket, Dialect
from pylon.store.naming import own, quote

BUCKETS: Final[tuple[Bucket, ...]] = get_args(Bucket)

FUNCTIONS: Final = ("countDistinct", "sum", "avg", "min", "max")
"""Keys that take a list of fields, in the order of their columns."""

KEYS: Final = (
    "count",
    *FUNCTIONS,
    "groupBy",
    "where",
    "having",
    "order",
    "limit",
    "offset",
)

TENANT_FIELD: Final = "orgId"
"""A caller with a tenant counts rows of that tenant only, on entities with this field."""


class Column(msgspec.Struct, frozen=True):
    """A column of the answer. `overflow_sql` is for whole sums beyond 64 bits, `group_sql` what
    the rows of a group share, where that is not `sql` itself."""

    name: str
    sql: str
    kind: FieldKind
    is_group: bool = False
    overflow_sql: str | None = None
    scale: int | None = None
    """Of a computed decimal: the digits behind the point; the column has its key."""
    group_sql: str | None = None


class Aggregates:
    """Aggregates."""

    def __init__(self, door: ReadDoor) -> None:
        self._door = door

    async def run(self, identity: Identity, entity: str, body: object) -> list[dict[str, Any]]:
        """One row a group, in the order asked for, else by the groups' values.

        Without `groupBy` it is exactly one row. Counts of nothing are 0, all else is null.
        """
        opened = self._door.open_readable(identity, entity)
        spec = require_object(body, "An aggregate")
        refuse_unknown_keys(spec, KEYS, "An aggregate")
        columns = _columns(spec, opened)
        tenant = _tenant(identity, opened)
        sql, params = _statement(spec, opened, columns, tenant)
        try:
            found = await self._door.fetch(sql, params)
        except SumTooLarge:
            # A double is what is left.
            columns = [msgspec.structs.replace(c, sql=c.overflow_sql or c.sql) for c in columns]
            sql, params = _statement(spec, opened, columns, tenant)
            try:
                found = await self._door.fetch(sql, params)
            except SumTooLarge:
                raise invalid("A sum of decimals has more than 18 digits.") from None
        if len(found) > limits.AGGREGATE_GROUPS_MAX:
            most = limits.AGGREGATE_GROUPS_MAX
            raise invalid(f"The answer has more than {most} groups.", "Set a limit.")
        return [_decoded(columns, row) for row in found]


# --- Columns ---------------------------------------------------------------------------------


def _columns(spec: Mapping[str, Any], opened: Opened) -> list[Column]:
    """Groups first, then what is computed, each name once."""
    found = [_group(item, opened) for item in _list(spec, "groupBy")]
    if "count" in spec:
        found.append(_count(spec["count"], opened.columns))
    for key in FUNCTIONS:
        found += [_computed(key, name, opened) for name in _list(spec, key)]
    columns: dict[str, Column] = {}
    for column in found:
        if columns.setdefault(column.name, column) != column:
            raise invalid(f'Two columns of the answer would be named "{column.name}".')
    if not columns:
        keys = ", ".join(("count", *FUNCTIONS, "groupBy"))
        raise invalid("The aggregate asks for nothing.", f"Give at least one of: {keys}.")
    if len(columns) > limits.AGGREGATE_COLUMNS_MAX:
        raise invalid(f"An answer has at most {limits.AGGREGATE_COLUMNS_MAX} columns.")
    return list(columns.values())


def _list(spec: Mapping[str, Any], key: str) -> list[Any]:
    value = spec.get(key, [])
    if not isinstance(value, list):
        raise invalid(f"{key} takes a list of fields.", f'Write "{key}": ["field"].')
    return value


def _field(value: object, columns: Columns, place: str) -> tuple[str, FieldKind]:
    if not isinstance(value, str):
        raise invalid(f"{place} takes the name of a field.")
    return value, columns.kind(value)


def _count(value: object, columns: Columns) -> Column:
    if value == "*":
        return Column("count", "count(*)", "int")
    name, _ = _field(value, columns, "count")
    return Column(f"count_{name}", f"count(t.{quote(name)})", "int")


def _computed(key: str, value: object, opened: Opened) -> Column:
    name, kind = _field(value, opened.columns, key)
    column = f"t.{quote(name)}"
    scale = opened.columns.scales.get(name)
    if scale is not None and key != "countDistinct":
        return _of_decimal(key, name, column, scale)
    match key:
        case "countDistinct":
            told_apart = column_sql(name, name in opened.columns.folded)
            return Column(f"count_distinct_{name}", f"count(DISTINCT {told_apart})", "int")
        case "min" | "max" if kind in ("json", "list"):
            raise invalid(f'"{name}" is of type {kind} and has no order.')
        case "min" | "max":
            return Column(f"{key}_{name}", f"{key}({column})", kind)
    if kind not in ("int", "float", "bool"):
        raise invalid(f'"{name}" is no number, so its {key} means nothing.')
    if key == "avg":
        return Column(f"avg_{name}", f"CAST(avg({column}) AS DOUBLE PRECISION)", "float")
    is_whole = kind != "float"
    return Column(
        f"sum_{name}",
        f"CAST(sum({column}) AS BIGINT)" if is_whole else f"sum({column})",
        "int" if is_whole else "float",
        overflow_sql=opened.dialect.float_sum(column) if is_whole else None,
    )


def _of_decimal(key: str, name: str, column: str, scale: int) -> Column:
    """Sums and extremes of decimals are exact decimals; an average is a double."""
    exact = key_sql(column)
    if key == "avg":
        average = f"CAST(avg({exact}) AS DOUBLE PRECISION) / {10**scale}"
        return Column(f"avg_{name}", average, "float")
    sql = f"CAST(sum({exact}) AS BIGINT)" if key == "sum" else f"{key}({exact})"
    return Column(f"{key}_{name}", sql, "int", scale=scale)


def _group(item: object, opened: Opened) -> Column:
    if not isinstance(item, dict):
        name, kind = _field(item, opened.columns, "groupBy")
        if kind in ("json", "list"):
            raise invalid(f'"{name}" is of type {kind}, by which no groups are made.')
        column = f"t.{quote(name)}"
        if name in opened.columns.folded:  # shown as one of its rows has it
            shared = column_sql(name, True)
            return Column(name, f"min({column})", kind, is_group=True, group_sql=shared)
        return Column(name, column, kind, is_group=True)
    refuse_unknown_keys(item, ("field", "bucket"), "A group")
    name, kind = _field(item.get("field"), opened.columns, "The field of a group")
    asked = item.get("bucket", "day")
    bucket = next((each for each in BUCKETS if each == asked), None)
    if bucket is None:
        hint = (did_you_mean(asked, BUCKETS, "") or None) if isinstance(asked, str) else None
        raise invalid(f"A bucket is one of: {', '.join(BUCKETS)}.", hint)
    if kind not in ("datetime", "string", "date"):
        raise invalid(f'"{name}" is no time and has no buckets.')
    span = opened.dialect.bucket(f"t.{quote(name)}", bucket)
    return Column(f"{name}_{bucket}", span, "string", is_group=True)


def _tenant(identity: Identity, opened: Opened) -> str | None:
    if identity.is_admin or TENANT_FIELD not in opened.table.fields:
        return None
    return identity.tenant_id


# --- The statement ---------------------------------------------------------------------------


def _statement(
    spec: Mapping[str, Any], opened: Opened, columns: list[Column], tenant: str | None
) -> tuple[str, list[Value]]:
    conditions: list[str] = []
    params: list[Value] = []
    add_policy(opened.where, conditions, params)
    if tenant is not None:
        conditions.append(f"t.{quote(TENANT_FIELD)} = ?")
        params.append(tenant)
    table = opened.table
    where = parse_where(spec.get("where", {}), opened.columns)
    found = compile_condition(where, opened.dialect, params)
    if found is not None:
        conditions.append(found)
    groups = [column for column in columns if column.is_group]
    shared = [column.group_sql or str(place) for place, column in enumerate(groups, 1)]
    grouped = f" GROUP BY {', '.join(shared)}" if shared else ""
    listed = ", ".join(f"{column.sql} AS {name}" for column, name in _named(columns))
    inner = f"SELECT {listed} FROM {table.source}{where_clause(conditions)}{grouped}"
    return _shaped(inner, params, spec, columns, opened.dialect)


def _named(columns: list[Column]) -> Iterator[tuple[Column, str]]:
    """The columns as the database calls them, to which `Count` and `count` are one name."""
    for number, column in enumerate(columns):
        yield column, own(f"c{number}")


def _shaped(
    inner: str,
    params: list[Value],
    spec: Mapping[str, Any],
    columns: list[Column],
    dialect: Dialect,
) -> tuple[str, list[Value]]:
    """The groups filtered and in order; `t` is now the table of groups."""
    known = Columns(
        "The answer",
        # A decimal group is text, in which no having looks; its order is that of numbers.
        {column.name: column.kind for column in columns},
        scales={column.name: 0 for column in columns if column.kind == "decimal"},
    )
    _refuse_decimals(spec.get("having", {}), columns)
    names = {column.name: name for column, name in _named(columns)}
    asked = renamed(parse_condition(spec.get("having", {}), known), names)
    having = compile_condition(asked, dialect, params)
    order = parse_order(spec["order"], known) if "order" in spec else ()
    named = {part.column for part in order}
    ties = [
        known.order(c.name, descending=False) for c in columns if c.is_group and c.name not in named
    ]
    complete = [
        msgspec.structs.replace(part, column=names[part.column]) for part in (*order, *ties)
    ]
    limit = parse_count(spec["limit"], "limit") if "limit" in spec else None
    offset = parse_count(spec["offset"], "offset") if "offset" in spec else 0
    params += (row_limit(limit, limits.AGGREGATE_GROUPS_MAX), offset)
    ordered = f" ORDER BY {order_clause(complete)}" if complete else ""
    condition = where_clause([having] if having is not None else [])
    return f"SELECT * FROM ({inner}) t{condition}{ordered} LIMIT ? OFFSET ?", params


def _refuse_decimals(having: object, columns: list[Column]) -> None:
    decimals = {c.name for c in columns if c.scale is not None or c.kind == "decimal"}
    for name in decimals & having.keys() if isinstance(having, dict) else ():
        raise invalid(f'having cannot look at "{name}", which is a decimal.')


def _decoded(columns: list[Column], row: Row) -> dict[str, Any]:
    return {column.name: _shown(column, value) for column, value in zip(columns, row, strict=True)}


def _shown(column: Column, value: Value) -> Value:
    if value is None:
        return None
    if column.kind == "bool":
        return value != 0
    if column.scale is not None and isinstance(value, int):
        return text_of_key(value, column.scale)
    return value
