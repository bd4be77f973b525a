"""What people type into a search box, read: plain words, or a query with operators.

`read` never fails on syntax: what is no query is taken as plain words. What comes out is a tree
that any index can be asked. Knows no entity beyond the names of its searched fields; called by
`search` and `filters`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from typing import Final

import msgspec

from pylon import limits
from pylon.errors import PylonError
from pylon.store.search_query import (
    But,
    Every,
    Near,
    Phrase,
    Piece,
    SearchQuery,
    Some,
    Within,
    Words,
    but,
    every,
    some,
)
from pylon.store.search_words import Term, has_word, phrase_terms

# --- Words -----------------------------------------------------------------------------------


class SearchText(msgspec.Struct, frozen=True):
    """A text that was read.

    `query` is for the index (None: the index is not asked), `symbols` are pieces without a word in
    them, such as emoji, that the row's text must hold. `terms` are the words to show. `words` are
    the plain words, each as the index is asked for it; none when the text was a query.
    `is_nothing`: it says something, but nothing that could be found.
    """

    query: SearchQuery | None = None
    symbols: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()
    words: tuple[Word, ...] = ()
    is_nothing: bool = False


class Word(msgspec.Struct, frozen=True):
    """One plain word: its part of the `query`, and what it is when it is one word to the index."""

    phrase: Phrase
    term: Term | None


EVERYTHING: Final = SearchText()


def check_length(text: str) -> None:
    """400 `INVALID_QUERY` for a text that is too long."""
    if len(text) > limits.SEARCH_CHARACTERS_MAX:
        raise _invalid(f"A search has at most {limits.SEARCH_CHARACTERS_MAX} characters.")


def read(text: str, fields: Collection[str]) -> SearchText:
    """Read a text for an index over these fields. Blank finds everything.

    400 `INVALID_QUERY` for more than `limits.SEARCH_CHARACTERS_MAX` or `SEARCH_WORDS_MAX`.
    """
    check_length(text)
    # To databases a text ends at its first NUL, or cannot have one.
    text = text.replace("\0", " ")
    if not text.strip() or not fields:
        return EVERYTHING
    if _SYNTAX.search(text):
        try:
            return _Parser(text, fields).read()
        except _NotSyntax:
            pass
    return _plain(text)


def terms_of(query: SearchQuery) -> tuple[Term, ...]:
    """The words that rows are found by, in their order; not those that they must not have."""
    match query:
        case Phrase():
            return tuple(phrase_terms(query))
        case Near() | Words():
            return tuple(term for phrase in query.phrases for term in terms_of(phrase))
        case Every() | Some():
            return tuple(term for part in query.parts for term in terms_of(part))
        case But():
            return terms_of(query.parts[0])
        case Within():
            return terms_of(query.query)


def _plain(text: str) -> SearchText:
    """All words must be there; the last one may be the beginning of a word."""
    typed = text.split()
    _check_count(len(typed))
    is_open = not text[-1].isspace()
    words: list[Word] = []
    terms: list[Term] = []
    symbols: list[str] = []
    for position, piece in enumerate(typed):
        phrase = Phrase((Piece(piece, is_open and position == len(typed) - 1),))
        inner = terms_of(phrase)
        if inner:
            terms += inner
            words.append(Word(phrase, inner[0] if len(inner) == 1 else None))
        elif any(unicodedata.category(sign) == "So" for sign in piece):
            symbols.append(piece.strip('"'))
    return SearchText(
        query=Words(tuple(word.phrase for word in words)) if words else None,
        symbols=tuple(symbols),
        terms=tuple(terms),
        words=tuple(words),
        is_nothing=not words and not symbols,
    )


def _check_count(count: int) -> None:
    if count > limits.SEARCH_WORDS_MAX:
        raise _invalid(f"A search has at most {limits.SEARCH_WORDS_MAX} words.")


def _invalid(message: str) -> PylonError:
    return PylonError(400, "INVALID_QUERY", message)


# --- The syntax of queries -------------------------------------------------------------------
#
# or     := and (OR and)*        and := not (AND not)*        not := run (NOT run)*
# run    := (group | near)+      group := [columns ":"] "(" or ")"
# near   := [columns ":"] (["^"] phrase | NEAR "(" phrase+ ["," number] ")")
# phrase := string ["*"] ("+" string ["*"])*
# columns := ["-"] (name | "{" name+ "}"), the searched fields

_SYNTAX: Final = re.compile(r'["*():{}^+]|\b(?:AND|OR|NOT)\b')
"""What tells query syntax from plain words, if it parses."""

_TOKEN: Final = re.compile(
    r'\s*(?:"(?P<string>(?:[^"]|"")*)"|(?P<word>[A-Za-z0-9_\u0080-\U0010ffff]+)'
    # Behind a word it is no operator: `a^b` is one word to people.
    r"|(?P<inner>(?<=\w)\^)|(?P<sign>\S))"
)

_SIGNS: Final = frozenset("*():{}^+-,")


class _NotSyntax(Exception):
    """The text is no query; it is plain words."""


class _Token(msgspec.Struct, frozen=True):
    kind: str
    text: str


_END: Final = _Token("end", "")


def _tokens(text: str) -> Iterator[_Token]:
    position, text = 0, text.rstrip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise _NotSyntax
        position = found.end()
        if found["string"] is not None:
            yield _Token("string", found["string"].replace('""', '"'))
        elif found["word"] is not None:
            yield _Token("word", found["word"])
        elif found["sign"] in _SIGNS:
            yield _Token(found["sign"], found["sign"])
        else:
            raise _NotSyntax
    yield _END


class _Parser:
    """Reads one query."""

    def __init__(self, text: str, fields: Collection[str]) -> None:
        self._tokens = list(_tokens(text))
        self._position = 0
        self._fields = {name.lower(): name for name in fields}
        self._strings = 0
        self._depth = 0

    def read(self) -> SearchText:
        query = self._either()
        if self._next.kind != "end":
            raise _NotSyntax
        return SearchText(query=query, terms=terms_of(query))

    @property
    def _next(self) -> _Token:
        return self._tokens[self._position]

    def _take(self) -> _Token:
        token = self._next
        if token.kind != "end":
            self._position += 1
        return token

    def _skip(self, kind: str) -> bool:
        if self._next.kind != kind:
            return False
        self._position += 1
        return True

    def _skip_word(self, word: str) -> bool:
        if self._next != _Token("word", word):
            return False
        self._position += 1
        return True

    def _expect(self, kind: str) -> None:
        if not self._skip(kind):
            raise _NotSyntax

    def _either(self) -> SearchQuery:
        self._depth += 1
        if self._depth > limits.SEARCH_WORDS_MAX:
            raise _NotSyntax
        parts = [self._all()]
        while self._skip_word("OR"):
            parts.append(self._all())
        self._depth -= 1
        return some(tuple(parts))

    def _all(self) -> SearchQuery:
        parts = [self._but()]
        while self._skip_word("AND"):
            parts.append(self._but())
        return every(tuple(parts))

    def _but(self) -> SearchQuery:
        parts = [self._run()]
        while self._skip_word("NOT"):
            parts.append(self._run())
        return but(tuple(parts))

    def _run(self) -> SearchQuery:
        parts = [self._member()]
        while self._begins_member():
            parts.append(self._member())
        return every(tuple(parts))

    def _begins_member(self) -> bool:
        if self._next.kind == "word":
            return self._next.text not in ("AND", "OR", "NOT")
        return self._next.kind in ("string", "^", "{", "-", "(")

    def _member(self) -> SearchQuery:
        place = self._field_filter()
        if self._skip("("):
            inner = self._either()
            self._expect(")")
        elif self._next == _Token("word", "NEAR") and self._after(1).kind == "(":
            inner = self._near()
        else:
            inner = self._phrase(is_first=self._skip("^"))
        return inner if place is None else Within(place[0], inner, is_outside=place[1])

    def _near(self) -> Near:
        self._position += 2
        phrases = [self._phrase()]
        while self._next.kind in ("string", "word"):
            phrases.append(self._phrase())
        distance = None
        if self._skip(","):
            number = self._take()
            if number.kind != "word" or not re.fullmatch("[0-9]{1,6}", number.text):
                raise _NotSyntax
            distance = int(number.text)
        self._expect(")")
        return Near(tuple(phrases), distance)

    def _phrase(self, *, is_first: bool = False) -> Phrase:
        pieces = [self._piece()]
        while self._skip("+"):
            pieces.append(self._piece())
        return Phrase(tuple(pieces), is_first)

    def _piece(self) -> Piece:
        token = self._take()
        is_operator = token.kind == "word" and token.text in ("AND", "OR", "NOT")
        if token.kind not in ("string", "word") or is_operator:
            raise _NotSyntax
        if not has_word(token.text):
            raise _NotSyntax
        self._strings += 1
        _check_count(self._strings)
        is_prefix = self._skip("*")
        return Piece(token.text, is_prefix)

    def _after(self, count: int) -> _Token:
        position = self._position + count
        return self._tokens[position] if position < len(self._tokens) else _END

    def _field_filter(self) -> tuple[tuple[str, ...], bool] | None:
        """The fields of `columns :` and whether the others are meant; None where none stands."""
        is_outside = self._next.kind == "-"
        offset = 1 if is_outside else 0
        if self._after(offset).kind == "{":
            self._position += offset + 1
            names = []
            while not self._skip("}"):
                names.append(self._field(self._take()))
            self._expect(":")
        elif self._after(offset).kind in ("word", "string") and self._after(offset + 1).kind == ":":
            names = [self._field(self._after(offset))]
            self._position += offset + 2
        elif is_outside:
            raise _NotSyntax
        else:
            return None
        if not names:
            raise _NotSyntax
        return tuple(names), is_outside

    def _field(self, token: _Token) -> str:
        name = self._fields.get(token.text.lower())
        if name is None or token.kind not in ("word", "string"):
            raise _NotSyntax
        return name
