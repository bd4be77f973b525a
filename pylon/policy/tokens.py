"""Policy text to tokens (spec 05 section 5.1, with numbers, brackets and order signs added).

One regular expression, no recursion; every text either tokenizes or raises `PolicySyntaxError`.
"""

from __future__ import annotations

import math
import re
from typing import Literal as OneOf

from msgspec import Struct

from pylon.limits import POLICY_CHARACTERS_MAX
from pylon.policy.nodes import Scalar

TokenKind = OneOf["sign", "word", "string", "number", "end"]

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<word>[A-Za-z_][A-Za-z0-9_.]*)
      | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?![A-Za-z0-9_.]))
      | (?P<sign>&&|\|\||==|!=|<=|>=|[()\[\],!<>])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "r": "\r", "t": "\t", "0": "\0"}
_INT_DIGITS_MAX = 19
_HINTS = {
    "=": "Compare with `==`.",
    "&": "Write `&&`.",
    "|": "Write `||`.",
    "+": "There is no arithmetic.",
    "-": "There is no arithmetic; a negative number is written `-1`, without a space.",
    "*": "There is no arithmetic.",
    "/": "There is no arithmetic and there are no comments.",
    '"': "The string has no end.",
    "'": "The string has no end.",
}


class PolicySyntaxError(Exception):
    """A text that is no policy expression. `offset` counts characters from 0."""

    def __init__(self, message: str, offset: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint


class Token(Struct, frozen=True, kw_only=True):
    """`text` is the sign or word itself; `value` is that of a string or number."""

    kind: TokenKind
    text: str
    offset: int
    value: Scalar = None


def tokenize(text: str) -> list[Token]:
    """The tokens of `text`, the last of kind `end`. Raises `PolicySyntaxError`."""
    if len(text) > POLICY_CHARACTERS_MAX:
        raise PolicySyntaxError(
            f"the expression is longer than {POLICY_CHARACTERS_MAX} characters",
            POLICY_CHARACTERS_MAX,
            "Move long lists of values into rows or roles.",
        )
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise PolicySyntaxError(f"unexpected {text[at]!r}", at, _HINTS.get(text[at]))
        piece = match.group()
        match match.lastgroup:
            case "word":
                tokens.append(Token(kind="word", text=piece, offset=at))
            case "sign":
                tokens.append(Token(kind="sign", text=piece, offset=at))
            case "string":
                value = _unescape(piece, at)
                tokens.append(Token(kind="string", text=piece, offset=at, value=value))
            case "number":
                tokens.append(Token(kind="number", text=piece, offset=at, value=_number(piece, at)))
        at = match.end()
    tokens.append(Token(kind="end", text="", offset=len(text)))
    return tokens


def _unescape(quoted: str, offset: int) -> str:
    def replaced(match: re.Match[str]) -> str:
        plain = _ESCAPES.get(match.group(1))
        if plain is None:
            raise PolicySyntaxError(
                f"unknown escape {match.group()!r}",
                offset + 1 + match.start(),
                "Escapes are \\\\ \\\" \\' \\n \\r \\t \\0.",
            )
        return plain

    value = _ESCAPE.sub(replaced, quoted[1:-1])
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        # No database takes it, so it could only fail later, at the first query.
        raise PolicySyntaxError("a string with half of a surrogate pair", offset)
    return value


def _number(piece: str, offset: int) -> int | float:
    if "." in piece:
        decimal = float(piece)
        if math.isinf(decimal):
            raise PolicySyntaxError("the number is too large", offset)
        return decimal
    digits = piece.lstrip("-").lstrip("0")
    if len(digits) <= _INT_DIGITS_MAX:
        whole = int(piece)
        if -(2**63) <= whole < 2**63:
            return whole
    raise PolicySyntaxError(
        "the number does not fit in 64 bits", offset, "Write it with a decimal point."
    )
