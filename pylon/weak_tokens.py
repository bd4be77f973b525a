"""Whether somebody could guess a token, or read it in the page that told them to change it.

Pure. Asked by `unsafe` for the administrator's token. What random generators print (hexadecimal,
UUID, base64) always passes; a test tries many.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

CHARACTERS_LEFT_MIN: Final = 10
"""Characters that must be left of a token when the words that everybody writes are taken out."""

DISTINCT_MIN: Final = 6
"""Different characters of a token; 16 random hexadecimal digits have ten."""

STEPS_SHARE_MAX: Final = 0.8
"""Share of characters that may be the one before, the one after or the same as the last: `12345`,
`aaaa`. Of random hexadecimal digits a fifth are."""

_LONG_WORDS: Final = (
    *("administrator", "authorization", "changeme", "changethis", "changeit", "development"),
    *("placeholder", "production", "supersecret", "qwertyuiop", "qwerty", "asdfghjkl", "asdfgh"),
    *("zxcvbnm", "zxcvbn", "1q2w3e4r5t", "1q2w3e4r", "1q2w3e", "q1w2e3r4", "iloveyou", "letmein"),
    *("password", "passwort", "passwd", "insecure", "unsafe", "secret", "secure", "security"),
    *("change", "replace", "default", "example", "sample", "staging", "testing", "welcome"),
    *("trustno1", "football", "baseball", "sunshine", "princess", "dragon", "monkey", "master"),
    *("bearer", "session", "signing", "server", "service", "application", "private", "public"),
    *("pylon", "admin", "token", "please", "value", "random", "string", "strong", "dummy"),
    *("temporary", "lorem", "ipsum", "dolor", "hello", "world", "local", "localhost", "super"),
    *("your", "here", "this", "with", "long", "test", "demo", "root", "user", "pass", "word"),
    *("login", "access", "cookie", "apikey", "fixme", "todo", "very", "something"),
)
_SHORT_WORDS: Final = frozenset(
    {
        *("a", "an", "the", "my", "our", "me", "it", "to", "be", "is", "in", "of", "for", "not"),
        *("do", "use", "key", "api", "app", "foo", "bar", "baz", "abc", "dev", "jwt", "xxx", "new"),
        *("prod", "temp", "tmp", "set", "and", "or", "no", "some", "auth", "safe", "mode"),
    }
)
_LETTERS: Final = str.maketrans("@$!0134578", "asioleastb")
"""How people write letters to make a word look like none."""

_LONG: Final = re.compile("|".join(sorted(_LONG_WORDS, key=len, reverse=True)))


def why_weak(token: str) -> str | None:
    """What makes the token easy to guess; None where nothing does. Its length is not judged."""
    if len(set(token)) < DISTINCT_MIN:
        return f"has fewer than {DISTINCT_MIN} different characters"
    if token in (token + token)[1:-1]:
        return "is the same text over and over"
    if _is_sequence(token):
        return "is a sequence of neighbouring characters"
    left = _without_words(token.lower())
    if len(left) < min(CHARACTERS_LEFT_MIN, len(token)) or _is_sequence(left):
        return "is made of words that everybody tries first"
    return None


def _is_sequence(text: str) -> bool:
    steps = sum(abs(ord(after) - ord(before)) <= 1 for before, after in pairwise(text))
    return len(text) > 1 and steps >= STEPS_SHARE_MAX * (len(text) - 1)


def _without_words(text: str) -> str:
    """What is left when known words, and signs between words, are taken out of a lower-case text,
    as it is written or read with letters for the signs that look like them."""
    return min((_left(text), _left(text.translate(_LETTERS))), key=len)


def _left(text: str) -> str:
    parts = re.split(r"[^a-z0-9]+", _LONG.sub("-", text))
    return "".join(part for part in parts if part not in _SHORT_WORDS)
