"""A to Z in small letters: what "in either case" means to values, in Python and in SQL.

No other letters: databases differ in theirs, and some of Unicode's fold onto A to Z (the sign for
kelvin is a K), so two mailboxes could be taken for one. How texts are searched is another matter
(`store/search_words`).
"""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase
from typing import Final, TypeVar

SMALL_LETTERS: Final = str.maketrans(ascii_uppercase, ascii_lowercase)

T = TypeVar("T")


def small(value: T) -> T:
    """A text with A to Z in small; any other value as it is."""
    if isinstance(value, str):
        return value.translate(SMALL_LETTERS)  # type: ignore[return-value]
    return value


def small_sql(text: str) -> str:
    """The same of a text in SQL, which is all that `lower` does in every store."""
    return f"lower({text})"
