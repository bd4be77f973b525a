"""Faceted search over one entity: hits, their number, and counts of facets (spec 02 section 7).

What is asked is read in `search_ask`, the typed text in `search_text`; the SQL is made in
`search_statement`, the index in the `Dialect` of the store. Called by `api/search` and by
functions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from pylon import limits
from pylon.changes.model import RowData
from pylon.codec import decode_trusted, encode
from pylon.data.door import Opened, ReadDoor
from pylon.data.query import add_policy, where_clause
from pylon.data.search_ask import Ask, Names, names_of, parse_ask
from pylon.data.search_highlight import Marker
from pylon.data.search_rank import sees_all
from pylon.data.search_statement import HIT, TOTAL, Statement
from pylon.data.search_text import SearchText, read
from pylon.data.search_typos import Within, neighbours, typos_in
from pylon.errors import PylonError
from pylon.identity import Identity
from pylon.schema.model import FieldKind
from pylon.store.base import Row, Value
from pylon.store.search_query import Phrase, Piece, SearchQuery, every, some
from pylon.store.search_words import Term

HIGHLIGHT: Final = "_highlight"
"""The key of a hit's excerpts."""


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
        counted = {
            "facet_counts": self.facet_counts,
            "total": self.total,
            "took_ms": took_ms,
            "facetCounts": self.facet_counts,
            "tookMs": took_ms,
        }
        # Hits may be many megabytes, so each is copied as few times as can be.
        parts = [b'{"hits":[']
        for hit in self.hits:
            parts += (hit.encode(), b",")
        if self.hits:
            parts.pop()
        return b"".join((*parts, b"],", memoryview(encode(counted))[1:]))


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
        names = names_of(opened)
        ask = parse_ask(body, names, opened.columns)
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
                self._door.why_none(identity, entity)
                or "Sign in, or have the read policy changed.",
            )
        return opened

    async def _run(self, opened: Opened, names: Names, ask: Ask, text: SearchText) -> Found:
        statement = Statement(opened, names, ask, text)
        answer = await self._door.fetch(*statement.make())
        total = next(row[2] for row in answer if row[0] == TOTAL)
        found = [row for row in answer if row[0] == HIT]
        hits = [row[1] for row in found]
        if opened.shown is not None:
            hits = [encode(opened.shown(decode_trusted(hit))).decode() for hit in hits]
        if statement.shows:
            texts = [row[3] for row in found]
            marker = Marker(text.terms, text.symbols)
            key = _highlight_key(opened)
            let_others = self._door.let_others
            hits = await highlighted(hits, texts, statement.shows, marker, let_others, key=key)
        return Found(hits=hits, total=total, facet_counts=_facet_counts(answer, names, ask))

    async def _corrected(self, opened: Opened, names: Names, text: SearchText) -> SearchText | None:
        """The text with words that find nothing replaced by those near them; None without any.

        Whether a word finds something is asked of the rows that the caller may read, and only words
        of these are near: what others have must not be told from what the caller is corrected to.
        """
        words: list[SearchQuery] = []
        terms: list[Term] = []
        looked_up = 0
        is_open = sees_all(opened) and not names.is_narrow
        is_corrected = False
        for word in text.words:
            near: list[str] = []
            may = word.term is not None and typos_in(word.term.text) > 0
            if word.term is not None and may and looked_up < limits.SEARCH_TYPO_WORDS_MAX:
                looked_up += 1
                if not await self._finds(opened, names.narrowed(word.phrase)):
                    near = await neighbours(
                        self._door,
                        opened.table.name,
                        word.term,
                        within=None if is_open else Within(opened, names.text),
                    )
            is_corrected = is_corrected or bool(near)
            words.append(some((word.phrase, *[Phrase((Piece(each),)) for each in near])))
            terms += [Term(each) for each in near]
        if not is_corrected:
            return None
        return SearchText(
            query=every(tuple(words)), symbols=text.symbols, terms=(*text.terms, *terms)
        )

    async def _finds(self, opened: Opened, query: SearchQuery) -> bool:
        params: list[Value] = [opened.dialect.search_value(query, opened.key)]
        conditions: list[str] = []
        source = opened.dialect.search_source(opened.table.name, opened.table.source).sql
        add_policy(opened.where, conditions, params)
        sql = f"SELECT 1 FROM {source}{where_clause(conditions)} LIMIT 1"
        return bool(await self._door.fetch(sql, params))


async def highlighted(
    hits: Sequence[str],
    texts: Sequence[str],
    fields: Sequence[str],
    marker: Marker,
    let_others: Callable[[], Awaitable[None]],
    *,
    key: str = HIGHLIGHT,
) -> list[str]:
    """Hits with their excerpts under one more `key`. `texts` are JSON lists of what stands in
    `fields`; `let_others` is awaited between two hits."""
    marked = []
    for hit, beginnings in zip(hits, texts, strict=True):
        shown = {}
        for name, beginning in zip(fields, decode_trusted(beginnings), strict=True):
            found = None if beginning is None else marker.excerpt(beginning)
            if found is not None:
                shown[name] = found
        marked.append(f'{hit[:-1]},"{key}":{encode(shown).decode()}}}')
        await let_others()
    return marked


def _highlight_key(opened: Opened) -> str:
    """The key of excerpts, with underscores behind it until the entity has no such field."""
    key = HIGHLIGHT
    while key in opened.table.spec.fields_by_name:
        key += "_"
    return key


def _facet_counts(answer: list[Row], names: Names, ask: Ask) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {name: {} for name in ask.facets}
    for part, value, number, *_ in answer:
        if part >= 0:
            name = ask.facets[part]
            counts[name][_facet_text(names.facets[name], value)] = number
    return {name: values for name, values in counts.items() if values}


def _facet_text(kind: FieldKind, value: Any) -> str:
    if kind == "bool":
        return "true" if value else "false"
    return value if isinstance(value, str) else encode(value).decode()
