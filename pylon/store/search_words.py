"""The words of a text, as every search knows them: what an index keeps and what a query asks for.

One folding for both, with an index and without: small letters, no marks where marks are optional,
and the parts of scripts that write no spaces. Pure; the rooms of databases call it for texts, and
`data/search_text` for what is typed. docs/decisions/0016 says why.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from operator import add
from typing import Final

import msgspec

from pylon import limits
from pylon.store.search_query import Phrase, Piece

VERSION: Final = 1
"""Counted up when the words of some text become others: every index is then made anew."""

# --- Letters ---------------------------------------------------------------------------------

_PAIRED: Final = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e50-\u0e59"  # Thai
    "\u0e81-\u0ece\u0ed0-\u0edf"  # Lao
    "\u1000-\u1049\u1050-\u109f\ua9e0-\ua9fe\uaa60-\uaa7f"  # Burmese
    "\u1780-\u17d3\u17d7\u17dc\u17dd\u17e0-\u17e9"  # Khmer
    "\u1100-\u11ff\uac00-\ud7a3\ud7b0-\ud7fb"  # Korean: words are written together with others
    "\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # kana
    "\u3105-\u312f\u31a0-\u31bf"  # Bopomofo
    "\u3005-\u3007\u3021-\u3029\u3038-\u303b"  # signs that stand for Chinese characters
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
)
"""Letters, marks and digits of scripts in which words are not told apart by spaces."""

_OPTIONAL: Final = (
    "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"  # accents
    "\u0483-\u0489"  # Cyrillic
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"  # Hebrew points
    "\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u08ca-\u08ff"
)
"""Marks that people leave out: accents, points of Hebrew, vowels and the stroke of Arabic. The
vowels of Indic scripts and of Thai are as much of a word as its letters."""

_UNSEEN: Final = "\u00ad\u200c-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff"
"""What is not shown, and parts no words."""


@cache
def _marks() -> str:
    """The marks that belong to words and are no letters to `re`, as ranges: those of Indic scripts,
    and accents of texts that are not folded."""
    ranges: list[list[int]] = []
    for start, end in ((0x0300, 0x3400), (0xA000, 0xAC00), (0xFB1E, 0xFB1F), (0x10A00, 0x12000)):
        for code in range(start, end):
            if unicodedata.category(chr(code)) not in ("Mn", "Mc"):
                continue
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


_LETTER: Final = f"[^\\W_{_PAIRED}]"
_HALF_KANA: Final = "\uff66-\uff9f"


# Made at the first text beyond ASCII: the sets of letters take 20 ms to compile, a twentieth of a
# start, and most services are never asked for such a word.


@cache
def _word() -> str:
    return f"{_LETTER}+(?:[{_marks()}]+{_LETTER}*)*"


@cache
def _run() -> re.Pattern[str]:
    """A run of letters without spaces between words (the group), or a word."""
    return re.compile(f"([{_PAIRED}]+)|{_word()}")


@cache
def _only_words() -> re.Pattern[str]:
    """The words of a text that has no such run."""
    return re.compile(_word())


@cache
def _paired() -> re.Pattern[str]:
    return re.compile(f"[{_PAIRED}]")


@cache
def _typed_run() -> re.Pattern[str]:
    """A run or a word in a text that is not folded."""
    return re.compile(
        f"([{_PAIRED}{_HALF_KANA}]+)"
        f"|[^\\W_{_PAIRED}{_HALF_KANA}]+"
        f"(?:[{_marks()}{_UNSEEN}]+[^\\W_{_PAIRED}{_HALF_KANA}]*)*"
    )


_PASSED_OVER: Final = re.compile(f"[{_OPTIONAL}{_UNSEEN}]+")

_PLAIN: Final = {
    "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "ħ": "h", "ŧ": "t", "\u0131": "i",
    "þ": "th", "ƒ": "f", "ɓ": "b", "ɗ": "d", "ƙ": "k", "ŀ": "l", "ŉ": "n",
}  # fmt: skip
"""Small letters that are no letter with a mark to Unicode, and are typed as these."""

_IS_PLAIN: Final = re.compile(f"[{''.join(_PLAIN)}]")

_ASCII_WORDS: Final = "".join(
    chr(code).lower() if chr(code).isalnum() else " " for code in range(128)
)


def fold(text: str) -> str:
    """A text in small letters, without optional marks, in one spelling of each letter. A long one
    is folded in several calls, between which other threads may go on."""
    if text.isascii():
        return text.lower()
    size = limits.SEARCH_FOLDED_AT_ONCE
    if len(text) <= size:
        return _folded(text)
    parts, start = [], 0
    while start < len(text):
        end = min(start + size, len(text))
        while end < len(text) and not _begins_anew(text[end]):
            end += 1
        parts.append(_folded(text[start:end]))
        start = end
    return "".join(parts)


def _folded(text: str) -> str:
    spelt = unicodedata.normalize("NFKD", text).casefold()
    bare = unicodedata.normalize("NFC", _PASSED_OVER.sub("", spelt))
    return _IS_PLAIN.sub(lambda found: _PLAIN[found[0]], bare)


def _begins_anew(sign: str) -> bool:
    """Whether a sign is a letter or space that becomes no part of what stands before it."""
    is_joined = "\u1100" <= sign <= "\u11ff" or "\ud7b0" <= sign <= "\ud7fb" or sign in "ﾞﾟ"
    return (sign.isalnum() or sign.isspace()) and not is_joined


# --- Words -----------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """The words of a text in order, as an index keeps them.

    A run of a script without spaces is kept as its pairs of neighbours, each letter with the next
    one, and the last by itself: so every part of it is found, wherever its words begin.
    """
    if text.isascii():
        return text.translate(_ASCII_WORDS).split()
    try:
        return _latin_words(text)
    except UnicodeEncodeError:
        return _words_of_any(text)


def _latin_words(text: str) -> list[str]:
    """The same of a text without signs beyond Latin-1, in a sixth of the time; others raise
    `UnicodeEncodeError`. No letter there becomes part of what stands beside it."""
    encoded = text.encode("latin-1")
    table, unseen, longer = _latin_letters()
    bare = encoded.translate(table, unseen).decode("ascii")
    for stands_for, letters in longer:
        bare = bare.replace(stands_for, letters)
    return bare.split()


def _words_of_any(text: str) -> list[str]:
    is_long = len(text) > limits.SEARCH_FOLDED_AT_ONCE
    text = fold(text)
    if _paired().search(text) is None:
        if is_long:
            return [found[0] for found in _only_words().finditer(text)]
        return _only_words().findall(text)
    found: list[str] = []
    for run in _run().finditer(text):
        if run.lastindex is None:
            found.append(run[0])
        else:
            for part in _slices(run[0]):
                found += part
    return found


@cache
def _latin_letters() -> tuple[bytes, bytes, tuple[tuple[str, str], ...]]:
    """For `bytes.translate`, what each sign of Latin-1 becomes in words and which are left out; and
    what is more than a letter of ASCII, with the control character that stands for it meanwhile."""
    table, unseen = bytearray(_ASCII_WORDS.encode()), bytearray()
    longer: dict[str, str] = {}
    for code in range(128, 256):
        folded = _folded(chr(code))
        letters = "".join(sign if _only_words().match(sign) else " " for sign in folded)
        if not letters:
            unseen.append(code)
        if len(letters) != 1 or not letters.isascii():
            letters = longer.setdefault(letters, chr(len(longer) + 1)) if letters else " "
        table.append(ord(letters))
    return bytes(table), bytes(unseen), tuple((sign, letters) for letters, sign in longer.items())


def _slices(run: str) -> Iterator[Iterable[str]]:
    """What `pairs` gives, some at a time."""
    size = limits.SEARCH_FOLDED_AT_ONCE
    for start in range(0, len(run), size):
        yield map(add, run[start : start + size], run[start + 1 : start + size + 1])
    yield (run[-1],)


def pairs(run: str) -> list[str]:
    """What is kept of a run of letters without spaces."""
    return [*map(add, run, run[1:]), run[-1]]


def has_word(text: str) -> bool:
    """Whether there is anything in a text that an index keeps."""
    if text.isascii():
        return not text.translate(_ASCII_WORDS).isspace() if text else False
    return _run().search(fold(text)) is not None


class Run(msgspec.Struct, frozen=True):
    """A word as it stands in a text, from `start` to `end`; `is_paired`: kept as pairs."""

    text: str
    start: int
    end: int
    is_paired: bool


def runs(text: str, start: int = 0) -> Iterator[Run]:
    """The words of a text that is not folded, where they stand."""
    for found in _typed_run().finditer(text, start):
        yield Run(found[0], found.start(), found.end(), found.lastindex is not None)


# --- What is asked ---------------------------------------------------------------------------


class Term(msgspec.Struct, frozen=True):
    """A folded word that is looked for; `is_prefix`: longer words that begin so are found too."""

    text: str
    is_prefix: bool = False


def piece_terms(piece: Piece, *, is_last: bool = True) -> list[Term]:
    """The words that must follow one another for a piece; `is_last`: of its phrase.

    At the end of a phrase a run of letters without spaces may go on, so its last letter is not
    asked for by itself: it is in the last pair, or the beginning of one.
    """
    asked = words(piece.text)
    is_prefix = piece.is_prefix
    if is_last and asked and _is_paired(asked[-1]):
        # Behind its run's last pair, where it has one.
        if len(asked) > 1 and _is_paired(asked[-2]) and asked[-2][1:] == asked[-1]:
            asked.pop()
        else:
            is_prefix = True
    return [Term(word, is_prefix and number == len(asked)) for number, word in enumerate(asked, 1)]


def phrase_terms(phrase: Phrase) -> list[Term]:
    """The words that must follow one another for a phrase."""
    last = len(phrase.pieces) - 1
    return [
        term
        for number, piece in enumerate(phrase.pieces)
        for term in piece_terms(piece, is_last=number == last)
    ]


def _is_paired(word: str) -> bool:
    return not word.isascii() and _paired().match(word) is not None
