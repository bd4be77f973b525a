"""How well rows fit a search, told by nothing that the caller may not see.

The index measures with all its rows: how rare a word is, how long texts are. In the order of what
a caller finds, that would tell how often hidden rows have a word. So where a caller does not see
all of it, the same measure (BM25) is taken here of the rows found: how often each word stands in
them, how many of them have it, how long they are. Called by `query` and `search_statement`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pylon import limits
from pylon.data.door import Opened
from pylon.store.base import Value
from pylon.store.naming import own, quote
from pylon.store.search_keys import SearchKey
from pylon.store.search_words import Term

FOUND: Final = own("found")
"""The rows found."""

RANK: Final = own("rank")
"""How well a row of them fits; the best is the smallest."""

_NO_TERM: Final = -1

_GATHERED: Final = own("gathered")
_COUNTS: Final = own("counts")
_WEIGHTS: Final = own("weights")
_SCORES: Final = own("scores")
_NUMBER: Final = own("number")
_LENGTH: Final = own("length")
_TERM: Final = own("term")
_WORD: Final = own("word")
_END: Final = own("end")
_EXACT: Final = own("exact")
_BEGUN: Final = own("begun")
_COUNT: Final = own("count")
_WEIGHT: Final = own("weight")
_SCORE: Final = own("score")


def sees_all(opened: Opened) -> bool:
    """Whether nothing that the index knows of an entity is hidden from the caller."""
    return opened.where.sql is None and opened.columns.is_indexed


def measured(number: str, fields: Sequence[str]) -> list[str]:
    """What `ranked` needs to be selected of each row; `number` is that of its index."""
    sizes = [f"coalesce(octet_length(t.{quote(name)}), 0)" for name in fields]
    return [f"{number} AS {_NUMBER}", f"{' + '.join(sizes)} AS {_LENGTH}"]


def ranked(
    opened: Opened, rows: str, terms: Sequence[Term], fields: Sequence[str], params: list[Value]
) -> str:
    """Common tables for the front of a statement, the last of them `FOUND`: what `rows` selects,
    what is `measured` in it, and `RANK`. Its values are appended to `params`."""
    gathered = f"WITH {_GATHERED} AS MATERIALIZED ({rows})"
    if not terms:
        return f"{gathered}, {FOUND} AS (SELECT r.*, 0 AS {RANK} FROM {_GATHERED} r) "
    places = opened.dialect.search_places(opened.table.name, fields, opened.key)
    found = f"SELECT r.{_NUMBER} FROM {_GATHERED} r"
    # Every row once by itself: an inner join is one by an index, an outer join would not be.
    standing = f"SELECT r.{_NUMBER}, {_NO_TERM} AS {_TERM} FROM {_GATHERED} r"
    # Most places are of rows that were not found, so that is looked at first.
    for table, rows, condition in _asked(terms, opened.key, params):
        gathered += f", {table} AS (VALUES {rows})"
        standing += (
            f" UNION ALL SELECT {places.number}, a.{_TERM}"
            f" FROM {table.partition('(')[0]} a JOIN {places.sql}"
            f" ON {condition.format(places.term)}"
            f" WHERE {places.number} IN ({found}) AND {places.counts}"
        )
    rarity = f"(SELECT count(*) FROM {_GATHERED}) - count(*) + 0.5"
    # The usual constants: a word counts less each time, and less in a long row.
    damping = f"0.3 + 0.9 * r.{_LENGTH} / (1.0 + (SELECT avg({_LENGTH}) FROM {_GATHERED}))"
    return (
        f"{gathered},"
        f" {_COUNTS} AS MATERIALIZED (SELECT s.{_NUMBER}, s.{_TERM}, count(*) AS {_COUNT}"
        f" FROM ({standing}) s GROUP BY s.{_NUMBER}, s.{_TERM}),"
        f" {_WEIGHTS} AS MATERIALIZED (SELECT c.{_TERM},"
        f" CASE WHEN c.{_TERM} = {_NO_TERM} THEN 0.0"
        f" ELSE ln(1.0 + ({rarity}) / (count(*) + 0.5)) END AS {_WEIGHT}"
        f" FROM {_COUNTS} c GROUP BY c.{_TERM}),"
        f" {_SCORES} AS MATERIALIZED (SELECT c.{_NUMBER},"
        f" sum(w.{_WEIGHT} * c.{_COUNT} / (c.{_COUNT} + {damping})) AS {_SCORE}"
        f" FROM {_COUNTS} c JOIN {_WEIGHTS} w ON w.{_TERM} = c.{_TERM}"
        f" JOIN {_GATHERED} r ON r.{_NUMBER} = c.{_NUMBER} GROUP BY c.{_NUMBER}),"
        f" {FOUND} AS MATERIALIZED (SELECT r.*, -s.{_SCORE} AS {RANK}"
        f" FROM {_SCORES} s JOIN {_GATHERED} r ON s.{_NUMBER} = r.{_NUMBER}) "
    )


def _asked(
    terms: Sequence[Term], key: SearchKey | None, params: list[Value]
) -> list[tuple[str, str, str]]:
    """The terms as tables: name and columns, rows, and the condition on a word `p` found by one.

    As tables, since a statement may have some dozen parts at most, and a search more words.
    """
    mark = "" if key is None else key.mark
    numbered = list(enumerate(list(dict.fromkeys(terms))[: limits.SEARCH_RANKED_TERMS_MAX]))
    exact = [(number, mark + term.text) for number, term in numbered if not term.is_prefix]
    begun = [(number, mark + term.text) for number, term in numbered if term.is_prefix]
    tables = []
    if exact:
        params += [text for _, text in exact]
        rows = ", ".join(f"({number}, ?)" for number, _ in exact)
        tables.append((f"{_EXACT}({_TERM}, {_WORD})", rows, f"{{}} = a.{_WORD}"))
    if begun:
        params += [each for _, text in begun for each in (text, text + "\U0010ffff")]
        rows = ", ".join(f"({number}, ?, ?)" for number, _ in begun)
        condition = f"{{0}} >= a.{_WORD} AND {{0}} < a.{_END}"
        tables.append((f"{_BEGUN}({_TERM}, {_WORD}, {_END})", rows, condition))
    return tables
