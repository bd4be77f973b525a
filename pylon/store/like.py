r"""What LIKE says, of any text: `%` for any signs, `_` for one, `\` takes away the meaning of the
sign behind it; A to Z in either case, all other letters in their own only.

For texts that LIKE of a database cannot be asked of; takes time that grows with the text times the
pattern, never worse. Called by the rooms of databases.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from pylon.letters import small

_SIGN: Final = re.compile(r"\\(.)|(%)|(_)|(.)", re.DOTALL)


def is_like(text: str, pattern: str) -> bool:
    """Whether a text matches a pattern."""
    text = small(text)
    parts, begins, ends = _parts(pattern)
    if len(parts) == 1 and begins and ends:
        return parts[0].fullmatch(text) is not None
    position, end = 0, len(text)
    if begins:
        first = parts[0].match(text)
        if first is None:
            return False
        position = first.end()
    if ends:
        size = _size(parts[-1])
        if end - size < position or parts[-1].match(text, end - size) is None:
            return False
        end -= size
    # Each part at the first place where it stands leaves the most for those behind it.
    for part in parts[begins : len(parts) - ends]:
        found = part.search(text, position, end)
        if found is None:
            return False
        position = found.end()
    return True


@lru_cache(64)
def _parts(pattern: str) -> tuple[tuple[re.Pattern[str], ...], bool, bool]:
    """What stands between the `%`, and whether the text must begin and end with the outer ones."""
    parts, begins, ends = [""], True, True
    for escaped, many, one, sign in _SIGN.findall(small(pattern)):
        ends = not many
        if many:
            begins = begins and parts != [""]
            parts += [""] if parts[-1] else []
        else:
            parts[-1] += "." if one else re.escape(escaped or sign)
    if not parts[-1] and len(parts) > 1:
        parts.pop()
    return tuple(re.compile(part, re.DOTALL) for part in parts), begins, ends


def _size(part: re.Pattern[str]) -> int:
    """How many signs a part is long."""
    return len(re.sub(r"\\(.)", r"\1", part.pattern, flags=re.DOTALL))
