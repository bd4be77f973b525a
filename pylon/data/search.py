"""Faceted search over one entity: hits, their number, and counts of facets (spec 02 section 7).

One statement answers a search, so the parts of an answer agree. The read policy is in it: hits,
totals and counts are of the rows that the caller may read. How the typed text is understood is in
`search_text`, the index in the `Dialect` of the store. Called by `api/search` and by functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, Final

import msgspec

from pylon import limits
from pylon.changes.model import RowData
from pylon.codec import Raw, decode_trusted, encode
from pylon.data.conditions import Condition, compile_condition
from pylon.data.door import Opened, ReadDoor
from pylon.data.fields import INT_MAX, INT_MIN
from pylon.data.filters import Columns, invalid, parse_where, require_object
from pylon.data.query import add_policy, where_clause
from pylon.data.search_highlight import excerpt
from pylon.data.search_text import EVERYTHING, SearchText, Term, read
from pylon.data.search_typos import neighbours, typos_in
from pylon.errors import PylonError
from pylon.identity import Identity
from pylon.schema.model import FieldKind
from pylon.store.base import Row, Value
from pylon.store.naming import own, quote
from pylon.store.search_fields import indexed_fields
from pylon.store.search_query import Phrase, Piece, SearchQuery, Within, every, some

HIGHLIGHT: Final = "_highlight"
"""The key of a hit's excerpts."""


# --- What is asked ---------------------------------------------------------------------------


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


class _Names(msgspec.Struct, frozen=True):
    """What a caller may name; `is_narrow`: the index has more fields than the text fields."""

    text: tuple[str, ...]
    is_narrow: bool
    facets: dict[str, FieldKind]
    sortable: frozenset[str]


def _names(opened: Opened) -> _Names:
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
    return _Names(
        text=text,
        is_narrow=len(text) < len(indexed),
        facets={name: kinds[name] for name in spec.search.facets if name in kinds},
        sortable=frozenset(name for name in spec.search.sortable if name in kinds),
    )


def _parse(body: object, names: _Names, columns: Columns) -> Ask:
    """Names that are not configured are passed over (spec 02 section 7.1); wrong types are 400."""
    fields = require_object(body, "A search")
    given = {key: value for key, value in fields.items() if value is not None}
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


def _sort(value: object, names: _Names) -> tuple[str, bool] | None:
    if value is None:
        return None
    match value:
        case [str(field), str(word)]:
            return (field, word.lower() == "desc") if field in names.sortable else None
    raise invalid('sort takes a field and a direction: ["field", "asc"].')


def _highlight(given: Mapping[str, Any], names: _Names) -> tuple[str, ...]:
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
    if isinstance(value, bool | int | float):
        return encode(value).decode()
    return value if isinstance(value, str) else None


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


# --- The statement ---------------------------------------------------------------------------

_FOUND: Final = own("found")
_RANK: Final = own("rank")
_VALUE: Final = own("value")
_COUNT: Final = own("count")


def _flag(number: int) -> str:
    """The column that says whether a row passes a filter."""
    return own(f"passes{number}")


class _Statement:
    """The SQL of one search. Every row of its answer is `(part, value, number)`.

    Where anything narrows the rows they are gathered once, as `m`; where nothing does, the parts
    are read from the table and its indexes directly.
    """

    def __init__(self, opened: Opened, names: _Names, ask: Ask, text: SearchText) -> None:
        self._opened = opened
        self._dialect = opened.dialect
        self._names = names
        self._ask = ask
        self._text = text
        self._params: list[Value] = []
        self._flags = ask.filters if ask.excludes_own else ()
        self._ranks = text.query is not None and ask.sort is None

    def make(self) -> tuple[str, list[Value]]:
        """The statement and its values."""
        gathered = self._gathered()
        self._column = "m." if gathered else "t."
        self._from = f"{_FOUND} m" if gathered else self._opened.table.source
        parts = [self._total(), *self._facets(), self._hits()]
        return f"{gathered}{' UNION ALL '.join(parts)}", self._params

    def _gathered(self) -> str:
        """The rows found, as `m`: their ids and what the parts look at; empty where all are."""
        selected: list[str] = sorted({f"t.{quote(name)}" for name in self._columns()})
        for number, (name, value) in enumerate(self._flags):
            selected.append(f"(t.{quote(name)} = ?) IS TRUE AS {_flag(number)}")
            self._params.append(value)
        query = narrowed(self._text.query, self._names)
        if query is not None:
            self._params.append(self._dialect.search_value(query))
        conditions = self._conditions()
        if query is None and not conditions and not self._flags:
            return ""
        table, source, row_id = self._opened.table, self._opened.table.source, "t.id"
        if query is not None:
            needs_row = bool(selected or conditions)
            found = self._dialect.search_source(table.name, source if needs_row else None)
            source, row_id = found.sql, "t.id" if needs_row else found.row_id
            if self._ranks:
                selected.append(f"{found.rank} AS {_RANK}")
        selected.append(f"{row_id} AS id")
        return (
            f"WITH {_FOUND} AS MATERIALIZED (SELECT {', '.join(selected)} FROM {source}"
            f"{where_clause(conditions)}) "
        )

    def _columns(self) -> set[str]:
        """Fields that the facets and the order look at."""
        sort = self._ask.sort
        return {*self._ask.facets, *(() if sort is None else (sort[0],))} - {"id"}

    def _conditions(self) -> list[str]:
        conditions: list[str] = []
        add_policy(self._opened.where, conditions, self._params)
        for name, value in () if self._flags else self._ask.filters:
            conditions.append(f"t.{quote(name)} = ?")
            self._params.append(value)
        where = compile_condition(self._ask.where, self._dialect, self._params)
        if where is not None:
            conditions.append(where)
        if self._text.is_nothing:
            conditions.append("1 = 0")
        for symbol in self._text.symbols:
            held = [self._dialect.contains(f"t.{quote(name)}") for name in self._names.text]
            conditions.append(f"({' OR '.join(held)})")
            self._params += [symbol] * len(held)
        return conditions

    def _passing(self, besides: str | None = None) -> list[str]:
        """The filters that `m` has only flagged, but that of one facet."""
        return [f"m.{_flag(i)}" for i, (name, _) in enumerate(self._flags) if name != besides]

    def _total(self) -> str:
        nothing = self._dialect.mixed("NULL", "string")
        return f"SELECT -1, {nothing}, count(*) FROM {self._from}{where_clause(self._passing())}"

    def _facets(self) -> Iterator[str]:
        for number, name in enumerate(self._ask.facets):
            value = f"{self._column}{quote(name)}"
            conditions = [f"{value} IS NOT NULL", *self._passing(besides=name)]
            self._params.append(self._ask.facet_values_max)
            mixed = self._dialect.mixed(_VALUE, self._names.facets[name])
            yield (
                f"SELECT {number}, {mixed}, {_COUNT} FROM (SELECT {value} AS {_VALUE},"
                f" count(*) AS {_COUNT} FROM {self._from}{where_clause(conditions)}"
                f" GROUP BY {value} ORDER BY 2 DESC, 1 LIMIT ?) q"
            )

    def _hits(self) -> str:
        self._params += (self._ask.limit, self._ask.offset)
        order = self._order()
        row_json, table = self._dialect.mixed(self._opened.row_json, "string"), self._opened.table
        page = f"{where_clause(self._passing())} ORDER BY {order} LIMIT ? OFFSET ?"
        if self._column == "t.":
            return f"SELECT * FROM (SELECT -2, {row_json}, 0 FROM {table.source}{page}) q"
        # LEFT, though every row is there, is an order to the planner: the page first.
        return (
            f"SELECT * FROM (SELECT -2, {row_json}, 0 FROM (SELECT * FROM {self._from}{page}) m"
            f" LEFT JOIN {table.source} ON t.id = m.id ORDER BY {order}) q"
        )

    def _order(self) -> str:
        if self._ranks:
            return f"m.{_RANK}, m.id"
        if self._ask.sort is None:
            return f"{self._column}id"
        name, descends = self._ask.sort
        word = " DESC" if descends else ""
        nulls = " NULLS LAST" if descends else " NULLS FIRST"
        return f"{self._column}{quote(name)}{word}{nulls}, {self._column}id{word}"


def narrowed(query: SearchQuery | None, names: _Names) -> SearchQuery | None:
    """What is asked of the index, of the searched fields only."""
    return query if query is None or not names.is_narrow else Within(names.text, query)


# --- Answers ---------------------------------------------------------------------------------


class Found(msgspec.Struct, frozen=True):
    """An answer. `hits` are rows as JSON, excerpts in them; counts are by facet and value."""

    hits: list[str]
    total: int
    facet_counts: dict[str, dict[str, int]]

    @property
    def rows(self) -> list[RowData]:
        """The hits decoded."""
        return [decode_trusted(hit) for hit in self.hits]

    def to_json(self, took_ms: int) -> bytes:
        """The body of an answer, keys in both spellings (spec 02 section 7.1 and its end)."""
        return encode(
            {
                "hits": Raw(f"[{','.join(self.hits)}]".encode()),
                "facet_counts": self.facet_counts,
                "total": self.total,
                "took_ms": took_ms,
                "facetCounts": self.facet_counts,
                "tookMs": took_ms,
            }
        )


class Searches:
    """Searches."""

    def __init__(self, door: ReadDoor) -> None:
        self._door = door

    async def find(self, identity: Identity, entity: str, body: object) -> Found:
        """Answer one search.

        404 `ENTITY_NOT_FOUND`, 400 `SEARCH_NOT_CONFIGURED`, 400 `INVALID_QUERY`, and 403
        `SEARCH_REQUIRES_ROW_INDEPENDENT_POLICY` for a caller who could see no row whatever.
        """
        opened = self._open(identity, entity)
        names = _names(opened)
        ask = _parse(body, names, opened.columns)
        text = read(ask.query, names.text)
        found = await self._run(opened, names, ask, text)
        if not found.total and ask.forgives and text.words:
            corrected = await self._corrected(opened, names, text)
            if corrected is not None:
                found = await self._run(opened, names, ask, corrected)
        return found

    def _open(self, identity: Identity, entity: str) -> Opened:
        try:
            opened = self._door.open(identity, entity)
        except PylonError as error:
            if error.code != "ENTITY_NOT_FOUND":
                raise
            raise PylonError(404, error.code, error.message, error.hint) from None
        if opened.where.never:
            raise PylonError(
                403,
                "SEARCH_REQUIRES_ROW_INDEPENDENT_POLICY",
                f"No row of {entity} could ever be visible to this caller.",
                "Sign in, or have the read policy changed.",
            )
        return opened

    async def _run(self, opened: Opened, names: _Names, ask: Ask, text: SearchText) -> Found:
        sql, params = _Statement(opened, names, ask, text).make()
        answer = await self._door.fetch(sql, params)
        total = next(number for part, _, number in answer if part == -1)
        hits = [value for part, value, _ in answer if part == -2]
        if opened.shown is not None:
            hits = [encode(opened.shown(decode_trusted(hit))).decode() for hit in hits]
        if ask.highlight and text is not EVERYTHING:
            hits = [_highlighted(hit, ask.highlight, text) for hit in hits]
        return Found(hits=hits, total=total, facet_counts=_facet_counts(answer, names, ask))

    async def _corrected(
        self, opened: Opened, names: _Names, text: SearchText
    ) -> SearchText | None:
        """The text with words that find nothing replaced by those near them; None without any.

        Whether a word finds something is asked of the rows that the caller may read: what others
        have must not be told from what the caller is corrected to.
        """
        words: list[SearchQuery] = []
        terms: list[Term] = []
        looked_up = 0
        is_corrected = False
        for word in text.words:
            near: list[str] = []
            may = word.term is not None and typos_in(word.term.text) > 0
            if word.term is not None and may and looked_up < limits.SEARCH_TYPO_WORDS_MAX:
                looked_up += 1
                if not await self._finds(opened, narrowed(word.phrase, names)):
                    near = await neighbours(self._door, opened.table.name, word.term)
            is_corrected = is_corrected or bool(near)
            words.append(some((word.phrase, *[Phrase((Piece(each),)) for each in near])))
            terms += [Term(each) for each in near]
        if not is_corrected:
            return None
        return SearchText(
            query=every(tuple(words)), symbols=text.symbols, terms=(*text.terms, *terms)
        )

    async def _finds(self, opened: Opened, query: SearchQuery | None) -> bool:
        params: list[Value] = []
        conditions: list[str] = []
        source = opened.table.source
        if query is not None:
            params.append(opened.dialect.search_value(query))
            source = opened.dialect.search_source(opened.table.name, source).sql
        add_policy(opened.where, conditions, params)
        sql = f"SELECT 1 FROM {source}{where_clause(conditions)} LIMIT 1"
        return bool(await self._door.fetch(sql, params))


def _facet_counts(answer: list[Row], names: _Names, ask: Ask) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {name: {} for name in ask.facets}
    for part, value, number in answer:
        if part >= 0:
            name = ask.facets[part]
            counts[name][_facet_text(names.facets[name], value)] = number
    return {name: values for name, values in counts.items() if values}


def _facet_text(kind: FieldKind, value: Any) -> str:
    if kind == "bool":
        return "true" if value else "false"
    return value if isinstance(value, str) else encode(value).decode()


def _highlighted(hit: str, fields: tuple[str, ...], text: SearchText) -> str:
    """The hit with its excerpts as one more key."""
    row = decode_trusted(hit)
    shown = {}
    for name in fields:
        value = row.get(name)
        if isinstance(value, str):
            found = excerpt(value, text.terms, text.symbols)
            if found is not None:
                shown[name] = found
    return f'{hit[:-1]},"{HIGHLIGHT}":{encode(shown).decode()}}}'
