"""The words of a full-text index once more, under the value by which a read rule shows rows.

Where the rule of an entity lets callers see rows with one value of one field (their own, those of
their tenant), an index keeps each word a second time with a mark of that value before it. Who is
under the rule asks for words with his mark, and the index goes through his rows instead of
everybody's. Pure; which field it is, `policy/pinned` says. docs/decisions/0021 says why.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final

import msgspec

SIGN: Final = "¤"
"""What every mark begins with: to `search_words` no part of any word, so nobody can type one."""

_BYTES: Final = 5
"""Of a digest. Two values with one mark are found together, and the rule takes them apart."""

_KNOWN_CHARACTERS: Final = 64
"""Of a value whose mark is remembered: ids of people and tenants, of which some write most."""

NO_VALUE: Final = SIGN + "00" * _BYTES
"""The mark of rows without a value, which every index has so that all rows count twice."""


def mark_of(value: str | None) -> str:
    """What words of rows with this value begin with."""
    if value is None:
        return NO_VALUE
    return _known(value) if len(value) <= _KNOWN_CHARACTERS else _digest(value)


def _digest(value: str) -> str:
    return SIGN + blake2b(value.encode(errors="surrogatepass"), digest_size=_BYTES).hexdigest()


_known = lru_cache(1024)(_digest)


def marked(words: str, mark: str) -> str:
    """Words that a space parts, each with a mark before it."""
    return mark + words.replace(" ", f" {mark}") if words else ""


class SearchKey(msgspec.Struct, frozen=True):
    """Whose words are asked for: `field` is what the index is kept by, `mark` that of the value."""

    field: str
    mark: str

    @staticmethod
    def of(field: str, value: str) -> SearchKey:
        """The words of rows whose `field` has this value."""
        return SearchKey(field, mark_of(value))
