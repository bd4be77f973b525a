"""Aggregates over one entity: counts, sums, extremes, groups (spec 02 section 5.4).

The rows counted are those that the caller may read and that `where` finds. `having`, `order` and
`limit` work on the columns of the answer. Called by `api/queries` and by functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isinf
from typing import Any, Final, get_args

import msgspec

from pylon import limits
from pylon.data.conditions import column_sql, compile_condition, renamed
from pylon.data.door import Opened, ReadDoor
from pylon.data.errors import invalid
from pylon.data.exact import key_sql, text_of_key
from pylon.data.filters import (
    Columns,
    parse_condition,
    parse_count,
    parse_order,
    parse_where,
    refuse_unknown_keys,
    require_object,
)
from pylon.data.operators import compared_column
from pylon.data.query import add_policy, order_clause, row_limit, where_clause
from pylon.errors import PylonError
from pylon.identity import Identity
from pylon.schema.diagnostics import did_you_mean
from pylon.schema.model import FieldKind
from pylon.store.base import Row, SumTooLarge, Value
from pylon.store.dialect import Bucket, Dialect
from pylon.store.naming import own, quote
from pylon.zones import Zone, zone_named

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
    """A column of the answer. `shown` is what is answered where `sql` is only compared: a time for
    the key of its moment; or, `in_halves`, a whole number beyond 64 bits. `large` is the column to
    take instead where the sum is one. `group_sql` is what the rows of a group share, where that is
    not `sql` itself."""

    name: str
    sql: str
    kind: FieldKind
    is_group: bool = False
    shown: str | None = None
    in_halves: bool = False
    large: Column | None = None
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
            large = {column.name for column in columns if column.large is not None}
            _refuse_compared(spec, large)
            columns = [column.large or column for column in columns]
            sql, params = _statement(spec, opened, columns, tenant)
            try:
                found = await self._door.fetch(sql, params)
            except SumTooLarge:
                raise _too_large(columns) from None
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


_LOW_HALF: Final = 2**32 - 1
_BETWEEN: Final = "\x1f"


def _computed(key: str, value: object, opened: Opened) -> Column:
    name, kind = _field(value, opened.columns, key)
    column = f"t.{quote(name)}"
    compared = f"t.{quote(compared_column(name, kind))}"
    scale = opened.columns.scales.get(name)
    if scale is not None and key != "countDistinct":
        return _of_decimal(key, name, column, scale)
    match key:
        case "countDistinct":
            is_folded = name in opened.columns.folded
            told_apart = column_sql(compared_column(name, kind), is_folded)
            return Column(f"count_distinct_{name}", f"count(DISTINCT {told_apart})", "int")
        case "min" | "max" if kind in ("json", "list"):
            raise invalid(f'"{name}" is of type {kind} and has no order.')
        case "min" | "max":
            extreme = f"{key}({compared})"
            if kind != "datetime":
                return Column(f"{key}_{name}", extreme, kind)
            # The text of that moment; no key has such a sign, and it comes before all that have.
            both = f"{key}({compared} || '{_BETWEEN}' || {column})"
            shown = f"replace({both}, {extreme} || '{_BETWEEN}', '')"
            return Column(f"{key}_{name}", extreme, kind, shown=shown)
    if kind not in ("int", "float", "bool"):
        raise invalid(f'"{name}" is no number, so its {key} means nothing.')
    if key == "avg":
        return Column(f"avg_{name}", f"CAST(avg({column}) AS DOUBLE PRECISION)", "float")
    sum_name = f"sum_{name}"
    if kind == "float":
        return Column(sum_name, f"sum({column})", "float")
    large = None
    if kind == "int":
        halves = f"concat(sum({column} >> 32), ' ', sum({column} & {_LOW_HALF}))"
        double = opened.dialect.float_sum(column)
        large = Column(sum_name, double, "int", shown=halves, in_halves=True)
    return Column(sum_name, f"CAST(sum({column}) AS BIGINT)", "int", large=large)


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
        if kind == "datetime":
            compared = f"t.{quote(compared_column(name, kind))}"
            return Column(name, compared, kind, is_group=True, shown=f"min({column})")
        return Column(name, column, kind, is_group=True)
    refuse_unknown_keys(item, ("field", "bucket", "timezone"), "A group")
    name, kind = _field(item.get("field"), opened.columns, "The field of a group")
    asked = item.get("bucket", "day")
    bucket = next((each for each in BUCKETS if each == asked), None)
    if bucket is None:
        hint = (did_you_mean(asked, BUCKETS, "") or None) if isinstance(asked, str) else None
        raise invalid(f"A bucket is one of: {', '.join(BUCKETS)}.", hint)
    if kind not in ("datetime", "string", "date"):
        raise invalid(f'"{name}" is no time and has no buckets.')
    column = f"t.{quote(compared_column(name, kind))}"
    zone = _zone(item["timezone"]) if "timezone" in item else None
    is_key = kind == "datetime"
    span = opened.dialect.bucket(column, bucket, zone=zone, is_key=is_key)
    return Column(f"{name}_{bucket}", span, "string", is_group=True)


def _zone(name: object) -> Zone:
    try:
        return zone_named(name if isinstance(name, str) else "")
    except LookupError:
        hint = 'Give the name of a time zone, for example "Europe/Berlin".'
        raise invalid("There is no such timezone.", hint) from None


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
    found = compile_condition(where, opened.dialect, params, opened.key)
    if found is not None:
        conditions.append(found)
    groups = [column for column in columns if column.is_group]
    shared = [column.group_sql or str(place) for place, column in enumerate(groups, 1)]
    grouped = f" GROUP BY {', '.join(shared)}" if shared else ""
    parts = [f"{column.sql} AS {name}" for column, name in _named(columns)]
    parts += [f"{column.shown} AS {own(name)}" for column, name in _shown(columns)]
    listed = ", ".join(parts)
    inner = f"SELECT {listed} FROM {table.source}{where_clause(conditions)}{grouped}"
    return _shaped(inner, params, spec, columns, opened.dialect)


def _named(columns: list[Column]) -> Iterator[tuple[Column, str]]:
    """The columns as the database calls them, to which `Count` and `count` are one name."""
    for number, column in enumerate(columns):
        yield column, own(f"c{number}")


def _shown(columns: list[Column]) -> Iterator[tuple[Column, str]]:
    """Those that are answered in another way than they are compared; they follow all others."""
    for number, column in enumerate(columns):
        if column.shown is not None:
            yield column, f"shown{number}"


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
    names = {compared_column(column.name, column.kind): name for column, name in _named(columns)}
    names |= {column.name: own(name) for column, name in _shown(columns)}
    asked = renamed(parse_condition(spec.get("having", {}), known), names)
    having = compile_condition(asked, dialect, params)
    order = parse_order(spec["order"], known) if "order" in spec else ()
    named = {part.column for part in order}
    groups = [c for c in columns if c.is_group and compared_column(c.name, c.kind) not in named]
    ties = [known.order(c.name, descending=False) for c in groups]
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


def _refuse_compared(spec: Mapping[str, Any], large: set[str]) -> None:
    """Sums that are only known exactly once they are read cannot be compared before."""
    if large & {*spec.get("order", ()), *_named_in(spec.get("having", {}))}:
        raise invalid(
            "A sum is beyond 64 bits, so having and order cannot go by it.",
            "Leave them out, or sum fewer rows.",
        )


def _named_in(condition: object) -> Iterator[str]:
    """The columns in a condition that has been read already."""
    if isinstance(condition, dict):
        yield from condition
        parts = [condition.get(key) for key in ("$and", "$or", "$not")]
        for part in parts:
            for each in part if isinstance(part, list) else (part,):
                yield from _named_in(each)


def _too_large(columns: list[Column]) -> PylonError:
    if any(column.scale is not None for column in columns):
        return invalid("A sum of decimals has more than 18 digits.")
    return invalid(
        "A sum or mean of these numbers is larger than a number can be.", "Sum fewer rows."
    )


def _decoded(columns: list[Column], row: Row) -> dict[str, Any]:
    shown = iter(row[len(columns) :])
    return {
        column.name: _value(column, value, None if column.shown is None else next(shown))
        for column, value in zip(columns, row, strict=False)
    }


def _value(column: Column, value: Any, shown: Any) -> Any:
    if value is None:
        return None
    if column.in_halves:
        high, low = shown.split(" ")
        return (int(high) << 32) + int(low)
    if column.kind == "float" and isinf(value):
        raise _too_large([])  # No stored number is infinite.
    if column.kind == "bool":
        return value != 0
    if column.scale is not None and isinstance(value, int):
        return text_of_key(value, column.scale)
    return value if column.shown is None else shown
