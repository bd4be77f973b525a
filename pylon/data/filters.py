"""The filter grammar of the read doors: JSON in, a `Filter` out (spec 02 section 3).

`parse` judges the JSON once and strictly: what it does not know is refused, never ignored. What
becomes of a condition is in `conditions`. Called by `query`, `graph` and `aggregate`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec

from pylon import limits
from pylon.data.conditions import (
    EVERYTHING,
    NOTHING,
    All,
    Compare,
    Condition,
    Contains,
    Either,
    Finds,
    HasItem,
    IsNull,
    Like,
    Not,
    OneOf,
    Prefix,
    Search,
    in_either_case,
)
from pylon.data.exact import bound_key, json_text, read_number, stored_text
from pylon.data.fields import INT_MAX, INT_MIN
from pylon.data.search_text import read
from pylon.errors import PylonError
from pylon.ids import other_spellings
from pylon.moments import EXPECTED, moment, moment_column, moment_key
from pylon.schema.constraints import is_day
from pylon.schema.diagnostics import did_you_mean
from pylon.schema.model import FieldKind
from pylon.store.base import Value


class Columns(msgspec.Struct, frozen=True):
    """What a filter may name: the columns that the reader may see, with their kinds.

    `texts` are the fields that `$search` looks into; `is_indexed`: there is a full-text index.
    `folded` are those in which A to Z in either case are one value.
    """

    owner: str
    kinds: Mapping[str, FieldKind]
    texts: tuple[str, ...] = ()
    is_indexed: bool = False
    folded: frozenset[str] = frozenset()
    shown_only: frozenset[str] = frozenset()
    """Fields that answers have and nobody may ask by."""
    scales: Mapping[str, int] = {}
    """Digits behind the point, of decimals."""

    def order(self, name: str, *, descending: bool) -> Order:
        """An order by a column; 400 where its values have none."""
        kind = self.kind(name)
        if kind in ("json", "list"):
            raise invalid(f'"{name}" is of type {kind} and has no order.')
        return Order(
            compared_column(name, kind),
            descending,
            is_decimal=kind == "decimal",
            is_folded=name in self.folded,
        )

    def kind(self, name: str) -> FieldKind:
        """The kind of a column; 400 `INVALID_COLUMN` for one that is not there, or is hidden."""
        kind = self.kinds.get(name)
        if kind is None:
            raise PylonError(
                400,
                "INVALID_COLUMN",
                f'{self.owner} has no field "{name[:100]}".',
                did_you_mean(name, self.kinds),
            )
        return kind

    def compared(self, name: str) -> str:
        """The column that the values of a column are compared by."""
        return compared_column(name, self.kind(name))


def compared_column(name: str, kind: FieldKind) -> str:
    """Times are compared by the keys of their moments, all else by itself."""
    return moment_column(name) if kind == "datetime" else name


class Order(msgspec.Struct, frozen=True):
    """One column of an order."""

    column: str
    descending: bool
    is_decimal: bool = False
    is_folded: bool = False


Count: TypeAlias = Literal["exact", "estimated"]
"""`estimated` counts up to `limits.COUNT_ROWS_MAX` rows; there may be more."""

COUNTS: Final[tuple[Count, ...]] = get_args(Count)


class Filter(msgspec.Struct, frozen=True):
    """A parsed filter. `order` is empty where the filter gives none; `limit` None means all.

    `search` is beside the condition because the order comes from it where the filter gives none.
    """

    condition: Condition
    search: Search | None = None
    order: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int = 0
    after: Mapping[str, Value] | None = None
    fields: tuple[str, ...] = ()
    """What of the rows is answered beside the id; `("id",)`: nothing. Without any, all of it."""
    count: Count | None = None
    """How the rows are counted that the filter finds, whatever the limit."""


# --- Parsing ---------------------------------------------------------------------------------

META_KEYS: Final = ("$order", "$limit", "$offset", "$after", "$search", "$fields", "$count")
LOGIC_KEYS: Final = ("$and", "$or", "$not")
MISPLACED: Final = {
    "where": 'The body is the filter itself: {"field": value}.',
    **{key[1:]: f'Write "{key}".' for key in META_KEYS},
}
"""What other query languages write at the top of a query, and what it is here."""
ORDER_SIGNS: Final = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
TEXT_KINDS: Final[frozenset[FieldKind]] = frozenset(
    {"string", "richtext", "datetime", "id", "date"}
)


def parse(body: object, columns: Columns) -> Filter:
    """A whole filter with its meta keys; anything wrong is 400 `INVALID_QUERY`/`INVALID_COLUMN`."""
    fields = require_object(body, "A filter")
    conditions = {key: value for key, value in fields.items() if key not in META_KEYS}
    condition = parse_condition(conditions, columns)
    search = None
    if "$search" in fields:
        if "$after" in fields and "$order" not in fields:
            raise invalid("$after goes on in an order.", "Give $order, or page by $offset.")
        found, search = parse_search(fields["$search"], columns)
        condition = found if condition == EVERYTHING else All((condition, found))
    return Filter(
        condition=condition,
        search=search,
        order=parse_order(fields["$order"], columns) if "$order" in fields else (),
        limit=parse_count(fields["$limit"], "$limit") if "$limit" in fields else None,
        offset=parse_count(fields["$offset"], "$offset") if "$offset" in fields else 0,
        after=parse_after(fields["$after"], columns) if "$after" in fields else None,
        fields=parse_fields(fields["$fields"], columns) if "$fields" in fields else (),
        count=parse_count_word(fields["$count"], "$count") if "$count" in fields else None,
    )


def parse_where(body: object, columns: Columns) -> Condition:
    """A filter beside other keys that say order and limits: `$search` is its only meta key."""
    fields = dict(require_object(body, "A filter"))
    if "$search" not in fields:
        return parse_condition(fields, columns)
    found, search = parse_search(fields.pop("$search"), columns)
    parts = (parse_condition(fields, columns), found, search or EVERYTHING)
    return All(tuple(each for each in parts if each != EVERYTHING))


def parse_condition(body: object, columns: Columns) -> Condition:
    """A filter without meta keys."""
    return _Parser(columns).filter(body, depth=0)


def parse_search(text: object, columns: Columns) -> tuple[Condition, Search | None]:
    """What `$search` asks of the rows, and of the full-text index where it covers their texts.
    Without one each row is asked, which takes longer and finds the same."""
    if not isinstance(text, str):
        raise invalid("$search takes a text.")
    names = columns.texts
    if not names:
        raise invalid(f"{columns.owner} has no text to search.")
    asked = read(text, columns.texts)
    if asked.is_nothing:
        return NOTHING, None
    held: list[Condition] = [
        Either(tuple(Contains(n, each) for n in names)) for each in asked.symbols
    ]
    if asked.query is None or columns.is_indexed:
        search = None if asked.query is None else Search(columns.owner, asked.query)
        return All(tuple(held)), search
    return All((*held, Finds(asked.query, names, names))), None


def parse_order(body: object, columns: Columns) -> tuple[Order, ...]:
    """`{field: "asc" | "desc"}`, in the order of the document."""
    fields = require_object(body, "An order", 'Write {"field": "asc"}.')
    if len(fields) > limits.QUERY_ORDER_MAX:
        raise invalid(f"An order has at most {limits.QUERY_ORDER_MAX} fields.")
    order = []
    for name, word in fields.items():
        part = columns.order(name, descending=word in ("desc", "DESC"))
        if word not in ("asc", "desc", "ASC", "DESC"):
            raise invalid(f'The order of "{name}" is "asc" or "desc".')
        order.append(part)
    return tuple(order)


def parse_count(value: object, name: str) -> int:
    """A whole number of rows."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= INT_MAX:
        raise invalid(f"{name} takes a whole number that is not negative.")
    return value


def parse_fields(value: object, columns: Columns) -> tuple[str, ...]:
    """`["title", "dueAt"]`: fields of an answer, in the order of the entity."""
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise invalid("The fields of an answer are a list of names.", 'Write ["field"].')
    names = set(value)
    for name in value:
        if name not in columns.shown_only:
            columns.kind(name)
    known = (*columns.kinds, *sorted(columns.shown_only))
    return tuple(each for each in known if each in names and each != "id") or ("id",)


def parse_count_word(value: object, name: str) -> Count:
    """How rows are counted."""
    for each in COUNTS:
        if value == each:
            return each
    raise invalid(f"{name} is one of: {', '.join(COUNTS)}.")


def parse_after(body: object, columns: Columns) -> dict[str, Value]:
    """`{field: value}`: the last row that the caller has, in the fields of the order and `id`; by
    the columns that they are compared by."""
    fields = require_object(body, "$after")
    return {
        columns.compared(name): None if value is None else _after_value(columns, name, value)
        for name, value in fields.items()
    }


def _after_value(columns: Columns, name: str, value: object) -> Value:
    kind, place = columns.kind(name), f"$after.{name}"
    if kind == "datetime" and isinstance(value, str):
        return moment_key(value)  # It comes from a row, and old ones may have texts of all sorts.
    if kind != "decimal":
        return check_value(kind, value, place)
    text = stored_text(_number_of(value, place), columns.scales[name])
    if text is None:
        raise invalid(f"{place} takes the value of a row.")
    return text


def require_object(body: object, name: str, hint: str | None = None) -> dict[str, Any]:
    """The body if it is a JSON object, else 400."""
    if not isinstance(body, dict):
        raise invalid(f"{name} must be a JSON object.", hint)
    return body


def refuse_unknown_keys(body: Mapping[str, object], known: Collection[str], name: str) -> None:
    """400 with the likeliest meaning where a key is none of those known."""
    for key in body:
        if key not in known:
            raise invalid(f'{name} has no key "{key[:100]}".', did_you_mean(key, known))


class _Parser:
    """One filter on its way to a condition; counts what it meets."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._terms = 0
        self._like_characters = 0
        self._pattern_characters = 0

    def filter(self, body: object, depth: int) -> Condition:
        fields = require_object(body, "A filter")
        if depth > limits.QUERY_DEPTH_MAX:
            raise invalid(f"A filter is nested at most {limits.QUERY_DEPTH_MAX} levels deep.")
        if not fields:
            self._count()  # It asks for nothing, but stands in the statement.
        parts: list[Condition] = []
        for key, value in fields.items():
            self._count()
            match key:
                case "$and":
                    parts.append(All(self._filters(key, value, depth)))
                case "$or":
                    parts.append(Either(self._filters(key, value, depth)))
                case "$not":
                    parts.append(Not(self.filter(value, depth + 1)))
                case _:
                    parts.append(self._field(key, value, depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _filters(self, key: str, value: object, depth: int) -> tuple[Condition, ...]:
        if not isinstance(value, list):
            raise invalid(f"{key} takes a list of filters.")
        return tuple(self.filter(item, depth + 1) for item in value)

    def _field(self, name: str, value: object, depth: int) -> Condition:
        if name.startswith("$"):
            raise self._unknown_key(name)
        if name in MISPLACED and name not in self._columns.kinds:
            message = f'{self._columns.owner} has no field "{name}".'
            raise PylonError(400, "INVALID_COLUMN", message, MISPLACED[name])
        kind = self._columns.kind(name)
        if isinstance(value, list):
            hint = 'For several, use {"$in": [..]}'
            if kind in ("json", "list"):
                hint = 'A whole list is {"$eq": [..]}, one of its items {"$contains": ..}.'
            raise invalid(f'"{name}" is compared with one value.', hint)
        if isinstance(value, dict):
            found = self._operators(name, kind, value, depth)
        else:
            found = self._built("$eq", name, kind, value)
        return in_either_case(found) if name in self._columns.folded else found

    def _built(self, operator: str, name: str, kind: FieldKind, value: object) -> Condition:
        if kind == "decimal" and operator not in ("$exists", "$null"):
            return _decimal(name, self._columns.scales[name], operator, value)
        return OPERATORS[operator](name, kind, operator, value)

    def _unknown_key(self, name: str) -> PylonError:
        if name in META_KEYS:
            return invalid(f"{name} stands at the top of a query only.")
        if name in OPERATORS:
            hint = f'Write {{"field": {{"{name}": ..}}}}.'
            return PylonError(400, "INVALID_COLUMN", f"{name} belongs to a field.", hint)
        closest = did_you_mean(name, (*META_KEYS, *LOGIC_KEYS))
        return PylonError(400, "INVALID_COLUMN", f'There is no key "{name[:100]}".', closest)

    def _operators(
        self, name: str, kind: FieldKind, operators: Mapping[str, object], depth: int
    ) -> Condition:
        if depth > limits.QUERY_DEPTH_MAX:
            raise invalid(f"A filter is nested at most {limits.QUERY_DEPTH_MAX} levels deep.")
        if not operators:
            # What is left of {"$gt": undefined}; as no condition it would find every row.
            raise invalid(
                f'"{name}" is given no operator.',
                f'Write {{"{name}": value}} or {{"{name}": {{"$gt": value}}}}, or leave it out.',
            )
        parts: list[Condition] = []
        for operator, value in operators.items():
            self._count()
            if operator == "$not" and isinstance(value, dict):
                parts.append(Not(self._operators(name, kind, value, depth + 1)))
                continue
            if operator not in OPERATORS:
                raise invalid(
                    f'"{name}" is given the unknown operator "{operator[:100]}".',
                    did_you_mean(operator, OPERATORS),
                )
            parts.append(self._affordable(self._built(operator, name, kind, value)))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _affordable(self, condition: Condition) -> Condition:
        """The condition, as long as looking for all patterns of the filter in one text takes no
        more than seconds."""
        if isinstance(condition, Like):
            signs = _signs(condition.pattern[1:-1])
            if self._like_characters + len(signs) <= limits.QUERY_LIKES_CHARACTERS_MAX:
                self._like_characters += len(signs)
                return condition
            if any(is_wild for _, is_wild in signs):
                most = limits.QUERY_LIKES_CHARACTERS_MAX
                raise invalid(f"The $like of a filter have at most {most} characters in all.")
            condition = _holds(condition.column, "".join(s for s, _ in signs), is_long=True)
        if isinstance(condition, Contains):
            self._pattern_characters += len(condition.text)
            most = limits.QUERY_PATTERNS_CHARACTERS_MAX
            if self._pattern_characters > most:
                raise invalid(f"The texts that a filter looks for have at most {most} characters.")
        return condition

    def _count(self) -> None:
        self._terms += 1
        if self._terms > limits.QUERY_TERMS_MAX:
            raise invalid(f"A filter has at most {limits.QUERY_TERMS_MAX} conditions.")


# --- Operators -------------------------------------------------------------------------------


def _equal(name: str, kind: FieldKind, value: object) -> Condition:
    if value is None:
        return IsNull(compared_column(name, kind), negated=False)
    return _compared(name, kind, "=", check_value(kind, value, f'"{name}"'))


def _eq(name: str, kind: FieldKind, operator: str, value: object) -> Condition:
    return _equal(name, kind, value)


def _ne(name: str, kind: FieldKind, operator: str, value: object) -> Condition:
    if value is None:
        return IsNull(compared_column(name, kind), negated=True)
    return _compared(name, kind, "<>", check_value(kind, value, f'{operator} of "{name}"'))


def _ordered(name: str, kind: FieldKind, operator: str, value: object) -> Condition:
    if kind == "bool":
        raise invalid(f'"{name}" is true or false and has no order, so {operator} means nothing.')
    if kind in ("json", "list"):
        raise invalid(f'"{name}" is of type {kind} and has no order, so {operator} means nothing.')
    checked = check_value(kind, value, f'{operator} of "{name}"')
    return _compared(name, kind, ORDER_SIGNS[operator], checked)


def _compared(name: str, kind: FieldKind, sign: str, value: Value) -> Condition:
    """`column sign value`. Whole numbers are compared with whole numbers only: a fraction lies
    between two of them, an infinity beyond all."""
    if kind != "int" or not isinstance(value, float):
        ids = spellings(name, kind, value) if sign in ("=", "<>") else ()
        if len(ids) > 1:
            return OneOf(name, ids, negated=sign == "<>")
        return Compare(compared_column(name, kind), sign, value)
    if sign == "=":
        return NOTHING
    if sign == "<>" or value == (math.inf if sign in ("<", "<=") else -math.inf):
        return IsNull(name, negated=True)
    if math.isinf(value):
        return NOTHING
    return Compare(name, sign, math.floor(value) if sign in (">", "<=") else math.ceil(value))


def _one_of(name: str, kind: FieldKind, operator: str, value: object) -> Condition:
    place = f'{operator} of "{name}"'
    if not isinstance(value, list):
        raise invalid(f"{place} takes a list of values.")
    if len(value) > limits.QUERY_VALUES_MAX:
        raise invalid(f"{place} takes at most {limits.QUERY_VALUES_MAX} values.")
    checked = [check_value(kind, item, place) for item in value if item is not None]
    # No stored number is infinite, and no whole one has a fraction.
    values = tuple(
        item
        for item in dict.fromkeys(each for item in checked for each in spellings(name, kind, item))
        if not isinstance(item, float) or (kind == "float" and math.isfinite(item))
    )
    name = compared_column(name, kind)
    if operator == "$nin":
        if values:
            return OneOf(name, values, negated=True)
        # Like several `$ne`: none of them finds a null, and without any every row passes.
        return IsNull(name, negated=True) if value else EVERYTHING
    found: Condition = OneOf(name, values, negated=False) if values else NOTHING
    return Either((found, IsNull(name, negated=False))) if None in value else found


def spellings(name: str, kind: FieldKind, value: Value) -> tuple[Value, ...]:
    """The value, and the other ways to write it where it is the id of a row."""
    if (kind == "id" or name == "id") and isinstance(value, str):
        return (value, *other_spellings(value))
    return (value,)


def _like(name: str, kind: FieldKind, operator: str, value: object) -> Condition:
    text = _text(name, kind, operator, value)
    _refuse_too_long(name, operator, text)
    signs = _signs(text)
    if len(text) <= limits.QUERY_LIKE_CHARACTERS_MAX:
        return Like(name, f"%{''.join(s if is_wild else _literal(s) for s, is_wild in signs)}%")
    if any(is_wild for _, is_wild in signs):
        most = limits.QUERY_LIKE_CHARACTERS_MAX
        raise invalid(
            f'{operator} of "{name}" takes at most {most} characters with % or _ among them.',
            r"Write \% and \_ for the signs themselves.",
        )
    return _holds(name, "".join(sign for sign, _ in signs), is_long=True)


def _starts_with(name: str, kind: FieldKind, operator: str, value: object) -> Condition:
    return Prefix(name, _text(name, kind, operator, value))


def _decimal(name: str, scale: int, operator: str, value: object) -> Condition:
    """A condition on a decimal. Numbers with more digits than it has are compared all the same."""
    place = f'{operator} of "{name}"'
    match operator:
        case "$gt" | "$gte" | "$lt" | "$lte":
            sign = ORDER_SIGNS[operator]
            number = _number_of(value, place)
            return Compare(name, sign, bound_key(sign, number, scale), is_decimal=True)
        case "$in" | "$nin":
            if not isinstance(value, list):
                raise invalid(f"{place} takes a list of values.")
            texts = [None if v is None else stored_text(_number_of(v, place), scale) for v in value]
            # What no row can have is left out, unless a null was meant.
            kept = [t for v, t in zip(value, texts, strict=True) if v is None or t is not None]
            if value and not kept:
                return NOTHING if operator == "$in" else IsNull(name, negated=True)
            return _one_of(name, "string", operator, kept)
        case "$eq" | "$ne" | "$not":
            if value is None:
                return IsNull(name, negated=operator != "$eq")
            text = stored_text(_number_of(value, place), scale)
            if text is None:
                return NOTHING if operator == "$eq" else IsNull(name, negated=True)
            return Compare(name, "=" if operator == "$eq" else "<>", text)
    raise invalid(f'"{name}" is no text, so {operator} means nothing.')


def _number_of(value: object, place: str) -> Decimal:
    number = read_number(value)
    if number is None:
        raise invalid(f'{place} takes a number, or its text: "12.50".')
    return number


def _contains(name: str, kind: FieldKind, operator: str, value: object) -> Condition:
    if kind == "list":
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise invalid(f'{operator} of "{name}" takes one item of the list.')
        return HasItem(name, value)
    text = _text(name, kind, operator, value)
    _refuse_too_long(name, operator, text)
    return Contains(name, text)


def _refuse_too_long(name: str, operator: str, text: str) -> None:
    most = limits.QUERY_PATTERN_CHARACTERS_MAX
    if len(text) > most:
        raise invalid(f'{operator} of "{name}" takes at most {most} characters.')


def _holds(name: str, text: str, *, is_long: bool) -> Condition:
    """Whether a column has this text, A to Z in either case. LIKE is twice as fast where texts are
    short, and much slower the longer what it looks for is."""
    if is_long:
        return Contains(name, text, is_folded=True)
    return Like(name, f"%{_literal(text)}%")


def _null(name: str, kind: FieldKind, operator: str, value: object) -> Condition:
    if not isinstance(value, bool):
        raise invalid(f'{operator} of "{name}" takes true or false.')
    return IsNull(compared_column(name, kind), negated=value == (operator == "$exists"))


def _text(name: str, kind: FieldKind, operator: str, value: object) -> str:
    if kind not in TEXT_KINDS:
        raise invalid(f'"{name}" is no text, so {operator} means nothing.')
    if not isinstance(value, str):
        raise invalid(f'{operator} of "{name}" takes a text.')
    return value


def _literal(text: str) -> str:
    """A pattern for LIKE in which every sign means itself."""
    return re.sub(r"([\\%_])", r"\\\1", text)


def _signs(text: str) -> list[tuple[str, bool]]:
    """Each sign and whether it stands for others. A backslash means itself except before `%`, `_`
    and a backslash."""
    found = re.findall(r"\\[%_\\]|.", text, re.DOTALL)
    return [(part[-1], part in ("%", "_")) for part in found]


Builder: TypeAlias = Callable[[str, FieldKind, str, object], Condition]

OPERATORS: Final[Mapping[str, Builder]] = {
    "$eq": _eq,
    "$ne": _ne,
    "$not": _ne,
    "$gt": _ordered,
    "$gte": _ordered,
    "$lt": _ordered,
    "$lte": _ordered,
    "$in": _one_of,
    "$nin": _one_of,
    "$like": _like,
    "$ilike": _like,
    "$startsWith": _starts_with,
    "$contains": _contains,
    "$exists": _null,
    "$null": _null,
}


# --- Values ----------------------------------------------------------------------------------


def check_value(kind: FieldKind, value: object, place: str) -> Value:
    """The value as the database compares it, a time as the key of its moment; a wrong type is 400
    `INVALID_QUERY`.

    Whole numbers beside a float column become floats, as an index lookup would make them, and
    numbers beyond 64 bits become infinities. Beside an int column a float is one that no row has.
    """
    if kind == "bool":
        if value is True or value is False:
            return value
        if value in (0, 1) and isinstance(value, int):  # what rows of the reference carry
            return value == 1
        raise invalid(f"{place} takes true or false.")
    if kind in ("int", "float"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise invalid(f"{place} takes a number.")
        return _number(kind, value)
    if kind in ("json", "list"):
        try:
            return json_text(value)
        except ValueError as expected:
            raise invalid(f"{place} takes a value that is {expected}.") from None
    if not isinstance(value, str):
        raise invalid(f"{place} takes a text.")
    if kind == "date" and not is_day(value):
        raise invalid(f"{place} takes a day, YYYY-MM-DD.")
    return _moment(value, place) if kind == "datetime" else value


def _moment(text: str, place: str) -> str:
    try:
        return moment(text)
    except ValueError:
        hint = 'Write ISO 8601, for example "2026-01-31T09:00:00Z" or "2026-01-31".'
        raise invalid(f"{place} takes {EXPECTED}.", hint) from None


def _number(kind: FieldKind, value: int | float) -> int | float:
    if value != value:
        raise invalid("A number is needed, not NaN.")
    if kind == "float":
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if INT_MIN <= value <= INT_MAX:
        return int(value) if value == int(value) else value
    return math.inf if value > 0 else -math.inf


def invalid(message: str, hint: str | None = None) -> PylonError:
    """400 `INVALID_QUERY`."""
    return PylonError(400, "INVALID_QUERY", message, hint)
