"""The filter grammar of the read doors: JSON in, a `Filter` out (spec 02 section 3).

`parse` judges the JSON once and strictly: what it does not know is refused, never ignored. What
becomes of a condition is in `conditions`. Called by `query`, `graph` and `aggregate`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec

from pylon import limits
from pylon.data.conditions import (
    EVERYTHING,
    NOTHING,
    All,
    Condition,
    Contains,
    Either,
    Finds,
    Like,
    Not,
    Search,
    in_either_case,
)
from pylon.data.errors import invalid
from pylon.data.exact import stored_text
from pylon.data.fields import INT_MAX
from pylon.data.operators import (
    OPERATORS,
    check_value,
    compared_column,
    decimal_condition,
    holding,
    like_signs,
    number_of,
)
from pylon.data.search_text import read
from pylon.errors import PylonError
from pylon.moments import moment_key
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
    text = stored_text(number_of(value, place), columns.scales[name])
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
            return decimal_condition(name, self._columns.scales[name], operator, value)
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
            signs = like_signs(condition.pattern[1:-1])
            if self._like_characters + len(signs) <= limits.QUERY_LIKES_CHARACTERS_MAX:
                self._like_characters += len(signs)
                return condition
            if any(is_wild for _, is_wild in signs):
                most = limits.QUERY_LIKES_CHARACTERS_MAX
                raise invalid(f"The $like of a filter have at most {most} characters in all.")
            condition = holding(condition.column, "".join(s for s, _ in signs), is_long=True)
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
