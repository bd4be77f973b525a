"""The SQL of one search: one statement answers it, so the parts of an answer agree.

The read policy is in it: hits, totals and counts are of the rows that the caller may read, and so
is their order (`search_rank`). Made for `search`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pylon import limits
from pylon.data.conditions import column_sql, compile_condition
from pylon.data.door import Opened
from pylon.data.exact import key_sql
from pylon.data.operators import TEXT_KINDS
from pylon.data.query import add_policy, where_clause
from pylon.data.search_ask import Ask, Names
from pylon.data.search_rank import FOUND, RANK, measured, ranked, sees_all
from pylon.data.search_text import SearchText
from pylon.letters import small, small_sql
from pylon.store.base import Value
from pylon.store.naming import own, quote
from pylon.store.row_json import concat

TOTAL: Final = -1
"""The part of an answer that says how many rows were found."""

HIT: Final = -2
"""The part that is a row; those from 0 are counts of the facet of that number."""

_VALUE: Final = own("value")
_COUNT: Final = own("count")


def _flag(number: int) -> str:
    """The column that says whether a row passes a filter."""
    return own(f"passes{number}")


def _is_short(text: str) -> str:
    """Whether a text may be a facet's value."""
    return f"octet_length({text}) <= {limits.SEARCH_FACET_BYTES_MAX}"


class Statement:
    """The SQL of one search. Every row of its answer is `(part, value, number)`; where excerpts are
    wanted a fourth value, for hits, is the JSON list of the beginnings of the texts to show.

    Where anything narrows the rows they are gathered once, as `m`; where nothing does, the parts
    are read from the table and its indexes directly.
    """

    def __init__(self, opened: Opened, names: Names, ask: Ask, text: SearchText) -> None:
        self._opened = opened
        self._dialect = opened.dialect
        self._names = names
        self._ask = ask
        self._text = text
        self._params: list[Value] = []
        self._flags = ask.filters if ask.excludes_own else ()
        self._ranks = text.query is not None and ask.sort is None
        self.shows = ask.highlight if text.terms or text.symbols else ()
        """The fields whose texts come along."""

    def make(self) -> tuple[str, list[Value]]:
        """The statement and its values."""
        gathered = self._gathered()
        self._column = "m." if gathered else "t."
        self._from = f"{FOUND} m" if gathered else self._opened.table.source
        parts = [self._total(), *self._facets(), self._hits()]
        return f"{gathered}{' UNION ALL '.join(parts)}", self._params

    def _gathered(self) -> str:
        """The rows found, as `m`: their ids and what the parts look at; empty where all are."""
        selected = self._looked_at()
        for number, (name, value) in enumerate(self._flags):
            column, wanted = self._compared(name, value)
            selected.append(f"({column} = ?) IS TRUE AS {_flag(number)}")
            self._params.append(wanted)
        query = self._text.query
        if query is not None:
            self._params.append(
                self._dialect.search_value(self._names.narrowed(query), self._opened.key)
            )
        conditions = self._conditions()
        if query is None and not conditions and not self._flags:
            return ""
        table, source, row_id = self._opened.table, self._opened.table.source, "t.id"
        measures = self._ranks and not sees_all(self._opened)
        if query is not None:
            needs_row = bool(selected or conditions or measures)
            found = self._dialect.search_source(table.name, source if needs_row else None)
            source, row_id = found.sql, "t.id" if needs_row else found.row_id
            if measures:
                selected += measured(found.number, self._names.text)
            elif self._ranks:
                selected.append(f"{found.rank} AS {RANK}")
        selected.append(f"{row_id} AS id")
        rows = f"SELECT {', '.join(selected)} FROM {source}{where_clause(conditions)}"
        if measures:
            terms, fields = self._text.terms, self._names.text
            return ranked(self._opened, rows, terms, fields, self._params)
        return f"WITH {FOUND} AS MATERIALIZED ({rows}) "

    def _looked_at(self) -> list[str]:
        """The fields that the facets and the order look at; of those of facets no long text."""
        sort = None if self._ask.sort is None else self._ask.sort[0]
        selected = []
        for name in sorted({*self._ask.facets, *(() if sort is None else (sort,))} - {"id"}):
            column, compared = f"t.{quote(name)}", self._opened.columns.compared(name)
            if compared != name:
                selected.append(f"t.{quote(compared)}")
            if name != sort and self._is_text(name):
                column = f"CASE WHEN {_is_short(column)} THEN {column} END AS {quote(name)}"
            selected.append(column)
        return selected

    def _compared(self, name: str, value: Value) -> tuple[str, Value]:
        """A column and what it is compared with."""
        columns = self._opened.columns
        is_folded = name in columns.folded
        column = column_sql(columns.compared(name), is_folded)
        return column, small(value) if is_folded else value

    def _is_text(self, facet: str) -> bool:
        return self._names.facets[facet] in TEXT_KINDS

    def _conditions(self) -> list[str]:
        conditions: list[str] = []
        add_policy(self._opened.where, conditions, self._params)
        for name, value in () if self._flags else self._ask.filters:
            column, wanted = self._compared(name, value)
            conditions.append(f"{column} = ?")
            self._params.append(wanted)
        where = compile_condition(self._ask.where, self._dialect, self._params, self._opened.key)
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
        total = f"{TOTAL}, {nothing}, count(*){self._beside()}"
        return f"SELECT {total} FROM {self._from}{where_clause(self._passing())}"

    def _beside(self, texts: str | None = None) -> str:
        """The fourth value, where there is one."""
        if not self.shows:
            return ""
        return f", {self._dialect.mixed('NULL' if texts is None else texts, 'string')}"

    def _facets(self) -> Iterator[str]:
        for number, name in enumerate(self._ask.facets):
            value = f"{self._column}{quote(name)}"
            conditions = [f"{value} IS NOT NULL", *self._passing(besides=name)]
            if self._is_text(name):
                conditions.append(_is_short(value))
            self._params.append(self._ask.facet_values_max)
            mixed = self._dialect.mixed(_VALUE, self._names.facets[name])
            shown, shared = value, value
            if name in self._opened.columns.folded:  # shown as one of its rows has it
                shown, shared = f"min({value})", small_sql(value)
            elif self._names.facets[name] == "datetime":
                compared = quote(self._opened.columns.compared(name))
                shown, shared = f"min({value})", f"{self._column}{compared}"
            yield (
                f"SELECT {number}, {mixed}, {_COUNT}{self._beside()} FROM"
                f" (SELECT {shown} AS {_VALUE}, count(*) AS {_COUNT}"
                f" FROM {self._from}{where_clause(conditions)}"
                f" GROUP BY {shared} ORDER BY 2 DESC, 1 LIMIT ?) q"
            )

    def _hits(self) -> str:
        self._params += (self._ask.limit, self._ask.offset)
        order = self._order()
        row_json, table = self._dialect.mixed(self._opened.row_json, "string"), self._opened.table
        hit = f"{HIT}, {row_json}, 0{self._beside(self._texts())}"
        page = f"{where_clause(self._passing())} ORDER BY {order} LIMIT ? OFFSET ?"
        if self._column == "t.":
            return f"SELECT * FROM (SELECT {hit} FROM {table.source}{page}) q"
        # LEFT, though every row is there, is an order to the planner: the page first.
        return (
            f"SELECT * FROM (SELECT {hit} FROM (SELECT * FROM {self._from}{page}) m"
            f" LEFT JOIN {table.source} ON t.id = m.id ORDER BY {order}) q"
        )

    def _texts(self) -> str | None:
        if not self.shows:
            return None
        in_all = limits.SEARCH_HIGHLIGHTS_CHARACTERS_MAX // (self._ask.limit * len(self.shows))
        most = min(limits.SEARCH_HIGHLIGHT_CHARACTERS_MAX, in_all)
        parts: list[str] = []
        for name in self.shows:
            text = self._dialect.json_text(
                self._dialect.beginning(f"t.{quote(name)}", most), "string"
            )
            parts += ["','" if parts else "'['", text]
        return concat([*parts, "']'"])

    def _order(self) -> str:
        if self._ranks:
            return f"m.{RANK}, m.id"
        if self._ask.sort is None:
            return f"{self._column}id"
        name, descends = self._ask.sort
        word = " DESC" if descends else ""
        nulls = " NULLS LAST" if descends else " NULLS FIRST"
        column = f"{self._column}{quote(self._opened.columns.compared(name))}"
        if name in self._opened.columns.scales:
            column = key_sql(column)
        elif name in self._opened.columns.folded:
            column = small_sql(column)
        return f"{column}{word}{nulls}, {self._column}id{word}"
