"""What a search asks for: its JSON read, and its names held against the entity's configuration.

Called by `search`; the SQL of it is made in `search_statement`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

import msgspec

from pylon import limits
from pylon.codec import encode
from pylon.data.conditions import Condition
from pylon.data.door import Opened
from pylon.data.errors import invalid
from pylon.data.fields import INT_MAX, INT_MIN
from pylon.data.filters import Columns, parse_where, refuse_unknown_keys, require_object
from pylon.errors import PylonError
from pylon.moments import moment_key
from pylon.schema.model import FieldKind
from pylon.store.base import Value
from pylon.store.search_fields import indexed_fields
from pylon.store.search_query import SearchQuery, Within

KEYS: Final = (
    *("query", "where", "filters", "facets", "sort", "page", "pageSize", "highlight", "typos"),
    *("facetMode", "facetLimit", "page_size", "facet_mode", "facet_limit"),
)
"""Also in the spelling of the reference."""


class Ask(msgspec.Struct, frozen=True):
    """A search as it was asked for, names checked against the entity's configuration.

    `filters` are field and wanted value; None, which equals nothing, where no row can have it.
    `sort` is a field and whether it descends; None means by relevance.
    """

    query: str
    where: Condition
    filters: tuple[tuple[str, Value], ...]
    facets: tuple[str, ...]
    facet_values_max: int
    excludes_own: bool
    sort: tuple[str, bool] | None
    offset: int
    limit: int
    highlight: tuple[str, ...]
    forgives: bool


class Names(msgspec.Struct, frozen=True):
    """What a caller may name; `is_narrow`: the index has more fields than the text fields."""

    text: tuple[str, ...]
    is_narrow: bool
    facets: dict[str, FieldKind]
    sortable: frozenset[str]

    def narrowed(self, query: SearchQuery) -> SearchQuery:
        """What is asked of the index, of the searched fields only."""
        return Within(self.text, query) if self.is_narrow else query


def names_of(opened: Opened) -> Names:
    """The names of an entity's configuration; 400 `SEARCH_NOT_CONFIGURED` where it has none."""
    spec, kinds = opened.table.spec, opened.columns.kinds
    if spec.search is None:
        raise PylonError(
            400,
            "SEARCH_NOT_CONFIGURED",
            f"{spec.name} is not searchable.",
            "Give it a search block with text, facets or sortable.",
        )
    indexed = indexed_fields(spec)
    text = tuple(
        name for name in dict.fromkeys(spec.search.text) if name in indexed and name in kinds
    )
    return Names(
        text=text,
        is_narrow=len(text) < len(indexed),
        facets={name: kinds[name] for name in spec.search.facets if name in kinds},
        sortable=frozenset(name for name in spec.search.sortable if name in kinds),
    )


def parse_ask(body: object, names: Names, columns: Columns) -> Ask:
    """Names that are not configured are passed over (spec 02 section 7.1); unknown keys and wrong
    types are 400."""
    fields = require_object(body, "A search")
    given = {key: value for key, value in fields.items() if value is not None}
    refuse_unknown_keys(given, KEYS, "A search")
    page = _count(given, "page", 0)
    size = _count(given, "pageSize", _count(given, "page_size", limits.SEARCH_PAGE_ROWS))
    limit = max(1, min(size, limits.SEARCH_PAGE_ROWS_MAX))
    if page * limit > INT_MAX:
        raise invalid("There is no such page.")
    filters = require_object(given.get("filters", {}), "filters")
    facets = dict.fromkeys(_texts(given, "facets")) or names.facets
    mode = given.get("facetMode", given.get("facet_mode", "include"))
    if mode not in ("include", "exclude"):
        raise invalid('facetMode is "include" or "exclude".')
    values_max = _count(
        given, "facetLimit", _count(given, "facet_limit", limits.SEARCH_FACET_VALUES)
    )
    query = given.get("query", "")
    if not isinstance(query, str):
        raise invalid("query takes a text.")
    typos = given.get("typos", True)
    if not isinstance(typos, bool):
        raise invalid("typos takes true or false.")
    return Ask(
        query=query,
        where=parse_where(given.get("where", {}), columns),
        filters=tuple(
            (name, _facet_value(names.facets[name], value))
            for name, value in filters.items()
            if name in names.facets
        ),
        facets=tuple(name for name in facets if name in names.facets),
        facet_values_max=min(values_max, limits.SEARCH_FACET_VALUES_MAX),
        excludes_own=mode == "exclude",
        sort=_sort(given.get("sort"), names),
        offset=page * limit,
        limit=limit,
        highlight=_highlight(given, names),
        forgives=typos,
    )


def _count(given: Mapping[str, Any], key: str, otherwise: int) -> int:
    value = given.get(key, otherwise)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= INT_MAX:
        raise invalid(f"{key} takes a whole number that is not negative.")
    return value


def _texts(given: Mapping[str, Any], key: str) -> list[str]:
    value = given.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise invalid(f"{key} takes a list of fields.")
    return value


def _sort(value: object, names: Names) -> tuple[str, bool] | None:
    if value is None:
        return None
    match value:
        case [str(field), str(word)]:
            return (field, word.lower() == "desc") if field in names.sortable else None
    raise invalid('sort takes a field and a direction: ["field", "asc"].')


def _highlight(given: Mapping[str, Any], names: Names) -> tuple[str, ...]:
    if given.get("highlight") is True:
        return names.text
    if given.get("highlight") is False:
        return ()
    return tuple(name for name in _texts(given, "highlight") if name in names.text)


def _facet_value(kind: FieldKind, value: object) -> Value:
    """The stored value that a filter means, which may be given as the text of its count; None if
    a column of this kind cannot have it."""
    match kind:
        case "bool":
            words = {"true": True, "false": False}
            if isinstance(value, str):
                return words.get(value)
            return bool(value) if isinstance(value, bool | int) and value in (0, 1) else None
        case "int" | "float":
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                return None
            return _whole(value) if kind == "int" else _double(value)
    text = encode(value).decode() if isinstance(value, bool | int | float) else value
    if not isinstance(text, str):
        return None
    return moment_key(text) if kind == "datetime" else text


def _whole(value: str | int | float) -> int | None:
    try:
        whole = int(value)
    except (ValueError, OverflowError):  # A word, a fraction in a text, an infinity.
        return None
    is_same = isinstance(value, str) or whole == value
    return whole if is_same and INT_MIN <= whole <= INT_MAX else None


def _double(value: str | int | float) -> float | None:
    try:
        double = float(value)
    except (ValueError, OverflowError):  # A word, more digits than a double reaches.
        return None
    return double if isfinite(double) else None
