"""Words of an index that differ from a mistyped one by a letter or two.

The index is asked for candidates, which share the first letter and half of the word; which of them
are near enough is decided here. Called by `search` for words that find nothing.
"""

from __future__ import annotations

from itertools import pairwise

from pylon import limits
from pylon.data.door import ReadDoor
from pylon.data.search_text import Term
from pylon.store.base import Value
from pylon.store.dialect import Dialect

ONE_TYPO_FROM = 4
"""Length of a word from which one typo is forgiven; shorter ones have too many neighbours."""

TWO_TYPOS_FROM = 8
"""Length from which two are."""


def typos_in(word: str) -> int:
    """How many typos are forgiven."""
    if len(word) < ONE_TYPO_FROM:
        return 0
    return 1 if len(word) < TWO_TYPOS_FROM else 2


async def neighbours(door: ReadDoor, entity: str, term: Term) -> list[str]:
    """The words near `term`, the nearest first, `limits.SEARCH_TYPO_NEIGHBOURS_MAX` at most."""
    typos = typos_in(term.text)
    if not typos:
        return []
    sql, params = _candidates(door.dialect, entity, term, typos)
    found = []
    for (word,) in await door.fetch(sql, params):
        apart = distance(term.text, word, typos)
        if term.is_prefix and len(word) > len(term.text):
            apart = min(apart, distance(term.text, word[: len(term.text)], typos))
        if apart <= typos:
            found.append((apart, word))
    return [word for _, word in sorted(found)[: limits.SEARCH_TYPO_NEIGHBOURS_MAX]]


def _candidates(dialect: Dialect, entity: str, term: Term, typos: int) -> tuple[str, list[Value]]:
    """Of a word cut into one part more than its typos can touch, some part is without any.

    A typo touches one part, or two where neighbours on both sides of a cut are changed over.
    """
    word, size = term.text, len(term.text)
    count = 2 * typos + 1
    cuts = [size * part // count for part in range(count + 1)]
    parts = [word[start:end] for start, end in pairwise(cuts)]
    intact = " OR ".join([dialect.contains("term")] * len(parts))
    longest = "" if term.is_prefix else " AND length(term) <= ?"
    sql = (
        f"SELECT term FROM {dialect.search_words(entity)} WHERE term >= ? AND term < ?"
        f" AND length(term) >= ?{longest} AND ({intact}) LIMIT ?"
    )
    params: list[Value] = [word[0], word[0] + "\U0010ffff", size - typos]
    if not term.is_prefix:
        params.append(size + typos)
    return sql, [*params, *parts, limits.SEARCH_TYPO_CANDIDATES_MAX]


def distance(left: str, right: str, most: int) -> int:
    """Edits from one word to the other: a letter put in, left out or changed, or two neighbours
    changed over. `most + 1` where it is more than `most`."""
    if abs(len(left) - len(right)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, sign in enumerate(left, 1):
        earlier, before, row = before, row, [i]
        for j, other in enumerate(right, 1):
            cost = min(before[j] + 1, row[-1] + 1, before[j - 1] + (sign != other))
            if i > 1 and j > 1 and sign == right[j - 2] and left[i - 2] == other:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
        if min(row) > most and min(before) > most:
            return most + 1
    return min(row[-1], most + 1)
