"""Why a rule was asked whether it is true, told from what Python was doing, and the mend.

A rule has no truth value while the app is declared: `and`, `or`, `not`, `in [...]` and chained
comparisons ask for one all the same. Called by `expressions`.
"""

from __future__ import annotations

import dis
from types import FrameType
from typing import Final

_NUMBERS: Final = {name.lower(): number for name, number in dis.opmap.items()}
_IN: Final = _NUMBERS["contains_op"]
_NOT: Final = _NUMBERS["unary_not"]
_CACHE: Final = _NUMBERS["cache"]
_TO_BOOL: Final = _NUMBERS.get("to_bool")
"""Since Python 3.13 it stands before `not` as well."""


def why_no_truth(text: str, asked_by: FrameType) -> str:
    """A sentence for people; `asked_by` is the frame whose code asked the rule `text`."""
    code = asked_by.f_code.co_code
    doing = code[asked_by.f_lasti] if asked_by.f_lasti >= 0 else None
    says = f"the rule `{text}` has no truth value while the app is declared; "
    if doing == _IN:
        return f"{says}write `data.state.in_([...])` instead of Python's `in`"
    if doing in (_NOT, _TO_BOOL) and _is_negated(code, asked_by.f_lasti):
        return f"{says}write `~(...)` instead of `not`"
    return (
        f"{says}combine rules with & | ~ instead of and, or, not, and do not chain comparisons: "
        "each comparison beside & or | needs parentheses, `(data.a == 1) & (data.b == 2)`"
    )


def _is_negated(code: bytes, at: int) -> bool:
    """Whether what stands here, or behind it and its caches, is `not`."""
    places = (at for at in range(at, len(code), 2) if code[at] not in (_CACHE, _TO_BOOL))
    return code[next(places, at)] == _NOT
