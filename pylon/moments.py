"""Moments: what a time's text means, as text whose order is the order of time.

Two spellings of one moment have the same key, whatever their zone, form and number of digits. The
row keeps the text that was sent; the key stands beside it in the table (`store/tables.py`), and
all that compares, orders or groups times goes by it: filters, indexes, policies, buckets.
Docs: docs/rows.md, "Times", and docs/decisions/0019.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

EXPECTED: Final = "a date and time as ISO 8601 text"
"""What a text that is no time should have been, for messages."""

UNREADABLE: Final = "~"
"""Begins the keys of texts that are no time, which are there in old databases; they come last."""

_PREFIX: Final = "_pylon_at_"

_EPOCH: Final = re.compile(r"(\d{1,15})(Z?)", re.ASCII)
"""`"1767225600Z"`, which the reference's auth routes wrote, and plain epoch seconds."""
_UTC: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d+))?Z", re.ASCII)
_FRACTION: Final = re.compile(r"[.,](\d+)", re.ASCII)

_START: Final = datetime(1970, 1, 1)  # UTC, like every time without a zone
_SECOND: Final = timedelta(seconds=1)
_FIRST: Final = (datetime.min - _START) // _SECOND
_LAST: Final = (datetime.max - _START) // _SECOND
_CACHED_CHARACTERS_MAX: Final = 64


def moment(text: str) -> str:
    """The key of a time: `YYYY-MM-DDTHH:MM:SS` in UTC, then its fraction without zeros at the end.

    Taken are ISO 8601 as `datetime.fromisoformat` reads it, a date alone (its midnight), and
    seconds since 1970 with or without a `Z`; without a zone it is UTC. Eight digits that are a date
    are one. Times after the year 9999 have keys of another form, which follow all others.
    `ValueError` for any other text.
    """
    if len(text) <= _CACHED_CHARACTERS_MAX:
        return _cached(text)
    return _moment(text)


def moment_key(text: str) -> str:
    """The same for any text: one that is no time has a key of its own, after all times, in the
    order of code points. No key has signs of control in it."""
    try:
        return moment(text)
    except ValueError:
        return UNREADABLE + text.encode("utf-8", "surrogatepass").hex()


def is_time(text: str) -> bool:
    """Whether a text can be read as a time."""
    try:
        moment(text)
    except ValueError:
        return False
    return True


# --- the column of the keys ------------------------------------------------------------------


def moment_column(field: str) -> str:
    """The column beside a time's own that has the keys; no field can be called so."""
    return _PREFIX + field


def with_keys(values: Mapping[str, Any], times: Iterable[str]) -> dict[str, Any]:
    """The values of fields, then those of the columns beside the `times` among them."""
    columns = dict(values)
    for name in times:
        if name in values:
            text = values[name]
            columns[_PREFIX + name] = moment_key(text) if isinstance(text, str) else None
    return columns


def shown_column(column: str) -> str:
    """The field of such a column; any other name as it is."""
    return column.removeprefix(_PREFIX)


# --- reading ---------------------------------------------------------------------------------


def _moment(text: str) -> str:
    plain = _UTC.fullmatch(text)
    if plain is not None:
        datetime.fromisoformat(text)
        return _with_fraction(text[:19], plain[1])
    seconds = _EPOCH.fullmatch(text)
    if seconds is not None and (seconds[2] or not _is_date(text)):
        return _key(int(seconds[1]), None)
    at = datetime.fromisoformat(text)
    whole = (at.replace(tzinfo=None, microsecond=0) - _START) // _SECOND
    fraction = _fraction(text, at)
    offset = at.utcoffset()
    if offset is None:
        return _key(whole, fraction)
    if offset.microseconds:
        shifted = whole * 1_000_000 + at.microsecond - offset // timedelta(microseconds=1)
        whole, rest = divmod(shifted, 1_000_000)
        return _key(whole, f"{rest:06}")
    return _key(whole - offset // _SECOND, fraction)


_cached = lru_cache(maxsize=4096)(_moment)


def _fraction(text: str, at: datetime) -> str | None:
    """All digits of the fraction; `at` has six of them."""
    found = _FRACTION.search(text)
    if found is not None and int(found[1][:6].ljust(6, "0")) == at.microsecond:
        return found[1]
    return f"{at.microsecond:06}"  # what was found is of the zone's offset


def _key(seconds: int, fraction: str | None) -> str:
    """`seconds` since 1970."""
    if seconds > _LAST:
        return _with_fraction(f"Y{seconds:016}", fraction)
    if seconds < _FIRST:  # the last hours before the year 1, by an offset
        at = _START + timedelta(seconds=seconds, days=365)
        return _with_fraction(f"0000{at.isoformat()[4:]}", fraction)
    return _with_fraction((_START + timedelta(seconds=seconds)).isoformat(), fraction)


def _with_fraction(whole: str, fraction: str | None) -> str:
    kept = fraction.rstrip("0") if fraction else ""
    return f"{whole}.{kept}" if kept else whole


def _is_date(text: str) -> bool:
    if len(text) != 8:
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
