"""How large JSON values are at least: told in a bounded time, whatever they are.

Not the exact size, which encoding tells. Asked by `table` of all values of a row together; one
value has a bound of its own in `fields`.
"""

from __future__ import annotations

from typing import Any, Final

_BRACKET: Final = 1
_QUOTES: Final = 2
_SCALAR: Final = 2
"""A digit, and the comma or bracket behind it."""


def least_size(value: Any, enough: int) -> int:
    """At least so many bytes a value has as JSON, with a comma; numbers count as one digit.

    It is looked through until there are more than `enough`, which is an end for values that hold
    themselves, too.
    """
    size, pending = 0, [value]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            size += _QUOTES + len(part)
        elif isinstance(part, dict | list | tuple):
            size += _BRACKET
            if size + len(part) > enough:
                return size + len(part)
            pending.extend(part)
            if isinstance(part, dict):
                pending.extend(part.values())
        else:
            size += _SCALAR
        if size > enough:
            break
    return size
