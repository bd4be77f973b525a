"""Defaults that are worked out once, when the app is declared, and were meant anew for each row:
`datetime.now()`, `uuid4()`, `random()`. Asked by `entity` for each field with a default.
"""

from __future__ import annotations

import ast
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from pylon.schema.expressions import Expression, Now
from pylon.schema.fields import FieldOptions, Problem

_TIMES: Final = frozenset({"now", "utcnow", "today", "time", "time_ns", "monotonic", "localtime"})
_RANDOM: Final = frozenset(
    {
        *("uuid1", "uuid4", "uuid6", "uuid7", "urandom", "getrandbits"),
        *("token_hex", "token_urlsafe", "token_bytes", "randint", "randrange", "random"),
    }
)
_SECONDS: Final = 60
"""A time with microseconds that is no further away is the time of the declaration."""


def is_value(value: object) -> bool:
    """Whether a class attribute without annotation was most likely meant as a field."""
    plain = (str, int, float, bool, datetime, date, Decimal, list, dict, tuple, set, frozenset)
    return value is None or isinstance(value, (*plain, FieldOptions, Expression, Now))


def refuse_frozen(written: ast.expr | None, value: object) -> None:
    """Raise `Problem` for a default that every row would share though it is of one moment.

    `written` is its source, where there is one: a call that gives something else each time.
    """
    called = None if written is None else _changing_call(_default_in(written))
    if called is None and not _is_of_this_moment(value):
        return
    is_time = called is None or called.func in _TIMES
    shown = "a time of now" if called is None else f"`{called.text}`"
    raise Problem(
        "DEFAULT_FROZEN",
        f"has the default {shown}, which is worked out once, when the app is declared:"
        " every row would get the same",
        "Write `field(default=now)`, with `from pylon import now`."
        if is_time
        else "Let the client send it, or set it in a before-insert hook; `id` is made for you.",
    )


class _Called:
    def __init__(self, node: ast.Call, func: str) -> None:
        self.func = func
        self.text = ast.unparse(node)[:60]


def _default_in(written: ast.expr) -> ast.expr | None:
    """The default in `= value` or `= field(default=value)`."""
    if isinstance(written, ast.Call) and _name(written.func) == "field":
        return next((word.value for word in written.keywords if word.arg == "default"), None)
    return written


def _changing_call(written: ast.expr | None) -> _Called | None:
    for node in () if written is None else ast.walk(written):
        if isinstance(node, ast.Call) and _name(node.func) in _TIMES | _RANDOM:
            return _Called(node, _name(node.func))
    return None


def _name(node: ast.expr) -> str:
    return getattr(node, "attr", "") or getattr(node, "id", "")


def _is_of_this_moment(value: object) -> bool:
    if not isinstance(value, datetime) or not value.microsecond:
        return False
    spans = [abs((value.astimezone(UTC) - datetime.now(UTC)).total_seconds())]
    if value.tzinfo is None:  # datetime.utcnow()
        spans.append(abs((value.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()))
    return min(spans) < _SECONDS
