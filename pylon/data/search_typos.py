"""Words of an index that differ from a mistyped one by a letter or two.

The index is asked for candidates, which share the first letter and half of the word, and of which
the caller sees a row; which of them are near enough is decided here. Called by `search` for words
that find nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from pylon import limits
from pylon.data.door import Opened, ReadDoor
from pylon.data.query import add_policy, where_clause
from pylon.errors import PylonError
from pylon.store.base import Value
from pylon.store.dialect import Dialect
from pylon.store.search_words import Term

ONE_TYPO_FROM = 4
"""Length of a word from which one typo is forgiven; shorter ones have too many neighbours."""

TWO_TYPOS_FROM = 8
"""Length from which two are."""


class Within(Struct, frozen=True):
    """Where a word must stand to be a candidate: in these fields of a row that the caller sees."""

    opened: Opened
    fields: Sequence[str]


def typos_in(word: str) -> int:
    """How many typos are forgiven; none in what is longer than words are."""
    if not ONE_TYPO_FROM <= len(word) <= limits.SEARCH_TYPO_LETTERS_MAX:
        return 0
    return 1 if len(word) < TWO_TYPOS_FROM else 2


async def neighbours(
    door: ReadDoor, entity: str, term: Term, *, within: Within | None = None
) -> list[str]:
    """The words near `term`, the nearest first, `limits.SEARCH_TYPO_NEIGHBOURS_MAX` at most.

    None where looking for them takes longer than `limits.SEARCH_TYPO_SECONDS_MAX`.
    """
    typos = typos_in(term.text)
    if not typos:
        return []
    sql, params = _candidates(door.dialect, entity, term, typos, within)
    found = []
    try:
        candidates = await door.fetch(sql, params, seconds=limits.SEARCH_TYPO_SECONDS_MAX)
    except PylonError as error:
        if error.code != "QUERY_TIMEOUT":
            raise
        return []
    for (word,) in candidates:
        apart = distance(term.text, word, typos)
        if term.is_prefix and len(word) > len(term.text):
            apart = min(apart, distance(term.text, word[: len(term.text)], typos))
        if apart <= typos:
            found.append((apart, word))
    return [word for _, word in sorted(found)[: limits.SEARCH_TYPO_NEIGHBOURS_MAX]]


def _candidates(
    dialect: Dialect, entity: str, term: Term, typos: int, within: Within | None
) -> tuple[str, list[Value]]:
    """Of a word cut into one part more than its typos can touch, some part is without any, and at
    most as many places from its own as there are typos.

    A typo touches one part, or two where neighbours on both sides of a cut are changed over. What
    the caller does not see is left out before the candidates are counted: it must not take the
    place of others.
    """
    word, size = term.text, len(term.text)
    count = 2 * typos + 1
    cuts = [size * part // count for part in range(count + 1)]
    parts = [word[start:end] for start, end in pairwise(cuts)]
    places = [(max(1, start + 1 - typos), end + typos) for start, end in pairwise(cuts)]
    longest = limits.SEARCH_TYPO_LETTERS_MAX if term.is_prefix else size + typos
    key = None if within is None else within.opened.key
    mark = "" if key is None else key.mark
    term_sql = "w.term" if key is None else f"substr(w.term, {len(mark) + 1})"
    intact = " OR ".join(
        dialect.contains(f"substr({term_sql}, {first}, {last + 1 - first})")
        for first, last in places
    )
    begin = mark + word[0]
    conditions = ["w.term >= ?", "w.term < ?", f"length({term_sql}) BETWEEN ? AND ?", f"({intact})"]
    params: list[Value] = [begin, begin + "\U0010ffff", size - typos, longest, *parts]
    if within is not None:
        asked = dialect.search_word("w.term", within.fields, key)
        found = dialect.search_source(entity, within.opened.table.source, asked=asked)
        seen: list[str] = []
        add_policy(within.opened.where, seen, params)
        conditions.append(f"EXISTS (SELECT 1 FROM {found.sql}{where_clause(seen)})")
    sql = f"SELECT {term_sql} FROM {dialect.search_words(entity)} w{where_clause(conditions)}"
    return f"{sql} ORDER BY w.term LIMIT ?", [*params, limits.SEARCH_TYPO_CANDIDATES_MAX]


def distance(left: str, right: str, most: int) -> int:
    """Edits from one word to the other: a letter put in, left out or changed, or two neighbours
    changed over. `most + 1` where it is more than `most`, which is found out early."""
    if abs(len(left) - len(right)) > most:
        return most + 1
    same = 0
    while same < min(len(left), len(right)) and left[same] == right[same]:
        same += 1
    left, right = left[same:], right[same:]
    before: list[int] = []
    row = [min(j, most + 1) for j in range(len(right) + 1)]
    for i, sign in enumerate(left, 1):
        # Beyond `most` places from the diagonal nothing can be as near as `most`.
        first, last = max(1, i - most), min(len(right), i + most)
        earlier, before, row = before, row, [most + 1] * (len(right) + 1)
        row[0] = min(i, most + 1)
        for j in range(first, last + 1):
            other = right[j - 1]
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (sign != other))
            if i > 1 and j > 1 and sign == right[j - 2] and left[i - 2] == other:
                cost = min(cost, earlier[j - 2] + 1)
            row[j] = cost
        if min(row) > most and min(before) > most:
            return most + 1
    return min(row[-1], most + 1)
