"""What a field allows beside its type: choices, bounds, lengths, a pattern, a format.

`constraint` compiles them to one check of a value that has the type already; a value that breaks
one raises `Fault` with a code of its own. Asked on every write (`data/table`), of stored rows when
a constraint is new (`store`), and of defaults (`validate_parts`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import urlsplit

from pylon.errors import ConfigError
from pylon.limits import (
    DECIMAL_DIGITS_MAX,
    EMAIL_CHARACTERS_MAX,
    FIELD_PATTERN_TEXT_MAX,
    URL_CHARACTERS_MAX,
)
from pylon.schema.model import Bound, FieldSpec

Check: TypeAlias = Callable[[Any], None]


CONSTRAINTS: Final = ("format", "choices", "min", "max", "minLength", "maxLength", "pattern")
"""The attributes of `FieldSpec` that are checked here."""


class Fault(ValueError):
    """A value that a field does not allow. `code` is stable; the text says what was expected, as
    the end of "must be ..."."""

    def __init__(self, code: str, expected: str) -> None:
        super().__init__(expected)
        self.code = code


class Pattern(Protocol):
    """A compiled pattern, by an engine whose time is linear in the text."""

    def fullmatch(self, text: str, /) -> object | None: ...


class PatternInvalid(ValueError):
    """A pattern that cannot be compiled; the text says why."""


def constraint(field: FieldSpec) -> Check | None:
    """The check of a field's values; None where every value of the type is allowed.

    500 `PATTERNS_UNAVAILABLE` where it has a pattern and there is no engine for it.
    """
    checks = tuple(_checks(field))
    if not checks:
        return None
    if len(checks) == 1:
        return checks[0]

    def check(value: Any) -> None:
        for each in checks:
            each(value)

    return check


def _checks(field: FieldSpec) -> Iterator[Check]:
    if field.choices:
        yield _choice(field.choices)
    if field.min is not None or field.max is not None:
        yield _between(field)
    if field.minLength is not None or field.maxLength is not None:
        yield _length(field)
    if field.format == "email":
        yield _email
    elif field.format == "url":
        yield _url
    if field.pattern is not None:
        yield _matches(field.pattern)


def _choice(choices: tuple[str | int, ...]) -> Check:
    known = frozenset(choices)
    shown = ", ".join(map(str, choices))

    def check(value: Any) -> None:
        if value not in known:
            raise Fault("NOT_A_CHOICE", f"one of: {shown}")

    return check


def comparable(field: FieldSpec, value: Any) -> Any:
    """A value of a field as its bounds are compared with: decimals by value, not as text."""
    return Decimal(str(value)) if field.kind == "decimal" else value


def _between(field: FieldSpec) -> Check:
    low = None if field.min is None else comparable(field, field.min)
    high = None if field.max is None else comparable(field, field.max)
    is_decimal = field.kind == "decimal"

    def check(value: Any) -> None:
        found = Decimal(value) if is_decimal else value
        if low is not None and found < low:
            raise Fault("TOO_SMALL", f"at least {_shown(field.min)}")
        if high is not None and found > high:
            raise Fault("TOO_LARGE", f"at most {_shown(field.max)}")

    return check


def _shown(bound: Bound | None) -> str:
    return str(bound)


def _length(field: FieldSpec) -> Check:
    low, high = field.minLength or 0, field.maxLength
    unit = "items" if field.kind == "list" else "characters"

    def check(value: Any) -> None:
        if len(value) < low:
            raise Fault("TOO_SHORT", _counted("at least", low, unit))
        if high is not None and len(value) > high:
            raise Fault("TOO_LONG", _counted("at most", high, unit))

    return check


def _counted(words: str, count: int, unit: str) -> str:
    shown = unit[:-1] if count == 1 else unit
    return f"{words} {count} {shown} long" if unit == "characters" else f"{words} {count} {shown}"


# --- types that are texts --------------------------------------------------------------------

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DECIMAL: Final = re.compile(r"([+-]?)(\d{1,18})(?:\.(\d{1,18}))?", re.ASCII)


def is_day(text: str) -> bool:
    """Whether a text is a day of the calendar: `2026-01-31`."""
    if _DAY.fullmatch(text) is None:
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def decimal_text(value: str | int | float | Decimal, scale: int) -> str | None:
    """A number as a decimal of so many digits behind the point is stored: `12.5` is `12.50`.

    None for one that has more digits, or is none. A float is taken as it is written.
    """
    text = value if isinstance(value, str) else _digits(value)
    found = _DECIMAL.fullmatch(text)
    if found is None:
        return None
    whole, part = found[2].lstrip("0") or "0", (found[3] or "").rstrip("0")
    digits = 0 if whole == "0" else len(whole)
    if len(part) > scale or digits + scale > DECIMAL_DIGITS_MAX:
        return None
    sign = "-" if found[1] == "-" and (part or whole != "0") else ""
    return f"{sign}{whole}.{part:0<{scale}}" if scale else f"{sign}{whole}"


def _digits(value: int | float | Decimal) -> str:
    """A number written out; without an exponent where it is one that a decimal can be."""
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite() or abs(number.adjusted()) > 2 * DECIMAL_DIGITS_MAX:
        return ""
    return format(number.normalize() if number else number, "f")


def is_decimal(value: str | int | float | Decimal, scale: int) -> bool:
    """Whether a value is a decimal of at most so many digits behind the point."""
    return decimal_text(value, scale) is not None


# --- formats ---------------------------------------------------------------------------------

_ADDRESS: Final = re.compile(r"[^@\s\x00-\x1f\x7f<>()\[\],;:\\\"]{1,64}@([^@\s]{1,253})")
_LABEL: Final = re.compile(r"(?!-)[\w-]{1,63}(?<!-)")


def _email(value: Any) -> None:
    """An address as forms of browsers take it, with letters of any script: whether somebody reads
    there, only a message tells."""
    found = _ADDRESS.fullmatch(value) if len(value) <= EMAIL_CHARACTERS_MAX else None
    if found is None or ".." in value or value.startswith(".") or ".@" in value:
        raise Fault("NOT_AN_EMAIL", "an e-mail address")
    labels = found[1].split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise Fault("NOT_AN_EMAIL", "an e-mail address")


def _url(value: Any) -> None:
    """An absolute http or https URL with a host and no spaces."""
    expected = "a URL that begins with http:// or https://"
    if len(value) > URL_CHARACTERS_MAX or re.search(r"[\s\x00-\x1f\x7f<>\"\\^`{|}]", value):
        raise Fault("NOT_A_URL", expected)
    try:
        parts = urlsplit(value)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port  # Raises for a port that is none.
    except ValueError:
        is_url = False
    if not is_url:
        raise Fault("NOT_A_URL", expected)


# --- patterns --------------------------------------------------------------------------------


def _matches(pattern: str) -> Check:
    compiled = compile_pattern(pattern)

    def check(value: Any) -> None:
        if len(value) > FIELD_PATTERN_TEXT_MAX:
            raise Fault("TOO_LONG", _counted("at most", FIELD_PATTERN_TEXT_MAX, "characters"))
        # A text with half a character cannot be encoded, so it matches nothing.
        if not _is_text(value) or compiled.fullmatch(value) is None:
            raise Fault("PATTERN_MISMATCH", f"of the form {pattern}")

    return check


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


@lru_cache(maxsize=1_000)
def compile_pattern(pattern: str) -> Pattern:
    """The pattern, for whole texts. Raises `PatternInvalid`, or `ConfigError` without the engine.

    RE2's syntax: that of other engines without references back and looking around, whose time
    could not be bounded.
    """
    try:
        import re2  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise ConfigError(
            "PATTERNS_UNAVAILABLE",
            "The app has fields with a pattern, and no engine for patterns is installed.",
            'Install the extra: pip install "pylon-server[patterns]".',
        ) from None
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        compiled: Pattern = re2.compile(pattern, options)
    except re2.error as error:
        raise PatternInvalid(_reason(error)) from None
    return compiled


def _reason(error: Exception) -> str:
    (reason,) = error.args[:1] or ("",)
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
