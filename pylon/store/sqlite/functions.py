"""Functions that SQLite is given on every connection: what it cannot do with texts by itself.

Triggers of search indexes call `_pylon_words`, so what writes a searchable table needs it. All are
harmless, and but for `_pylon_later` deterministic. Called where connections are made; the SQL that
names them is made in `dialect` and `search_indexes`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import apsw

from pylon.store.like import is_like
from pylon.store.naming import own
from pylon.store.search_finds import finds
from pylon.store.search_keys import mark_of, marked
from pylon.store.search_words import words

WORDS: Final = own("words")
"""`(text, most)`: what an index keeps of a text, of no more than its first `most` characters."""

MARKED_WORDS: Final = own("marked_words")
"""`(value, text, most)`: the same words, each under the mark of a value (`search_keys`)."""

LATER: Final = own("later")
"""`(entity, number, bytes)`: whether a row is indexed later (`index_later`); where nobody says so,
it is not."""

LIKE: Final = own("like")
"""`(text, pattern)`: what LIKE says of a text, which to LIKE ends at its first NUL."""

BEGINNING: Final = own("beginning")
"""`(text, most)`: its first `most` characters."""

FINDS: Final = own("finds")
"""`(query, most, text, ..)`: whether a search that was written down finds a row by its texts."""


def add_functions(connection: apsw.Connection) -> None:
    """Make them known to a connection; again is nothing."""
    functions: tuple[tuple[str, Any, int], ...] = (
        (WORDS, _words, 2),
        (MARKED_WORDS, _marked_words, 3),
        (LIKE, _like, 2),
        (BEGINNING, _text, 2),
        (FINDS, _finds, -1),
    )
    for name, function, count in functions:
        connection.create_scalar_function(
            name, function, count, deterministic=True, flags=apsw.SQLITE_INNOCUOUS
        )

    set_later(connection, _now)


def set_later(connection: apsw.Connection, may_wait: Callable[..., bool]) -> None:
    """Have somebody decide whether a row is indexed later."""
    connection.create_scalar_function(LATER, may_wait, 3, flags=apsw.SQLITE_INNOCUOUS)


def _now(entity: str, number: int, size: int) -> bool:
    return False


def beginning(text: str, most: str) -> str:
    """SQL of the beginning of a text for these functions, so that not all of a long one is handed
    over: its bytes, since to `substr` a text ends at its first NUL."""
    return (
        f"CASE WHEN octet_length({text}) > {most}"
        f" THEN substr(CAST({text} AS BLOB), 1, 4 * ({most})) ELSE {text} END"
    )


def _text(value: object, most: object) -> str | None:
    assert isinstance(most, int)
    if isinstance(value, bytes):  # cut off, perhaps within a sign
        value = value.decode(errors="ignore")
    return None if value is None else str(value)[:most]


def _words(value: object, most: object) -> str | None:
    text = _text(value, most)
    if text is None or (text.isascii() and "\0" not in text):
        return text  # The tokenizer takes letters of ASCII by itself.
    return _kept(text)


def _marked_words(value: object, text: object, most: object) -> str | None:
    beginning = _text(text, most)
    if beginning is None:
        return None
    kept = beginning.lower() if _is_one_word(beginning) else _kept(beginning)
    return marked(kept, mark_of(None if value is None else str(value)))


def _is_one_word(text: str) -> bool:
    return text.isascii() and text.isalnum()


@lru_cache(1)
def _kept(text: str) -> str:
    """The words of a text with spaces between them; those of one text are asked for twice in a
    row."""
    return " ".join(words(text))


def _like(text: object, pattern: object) -> bool | None:
    return None if text is None or pattern is None else is_like(str(text), str(pattern))


def _finds(query: object, most: object, *values: object) -> bool:
    return finds(str(query), [_text(value, most) for value in values])
