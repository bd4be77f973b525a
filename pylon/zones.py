"""Time zones by name, as databases can use them: from which moment which offset holds.

The rules are the system's (or those of the package `tzdata`). Used by buckets of aggregates.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

_NAME: Final = re.compile(r"[A-Z][A-Za-z0-9_+\-]*(?:/[A-Za-z0-9_+\-]+)*", re.ASCII)
_NAME_CHARACTERS_MAX: Final = 64
_FROM, _TO = datetime(1840, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_STEP: Final = timedelta(days=7)
_SECOND: Final = timedelta(seconds=1)


class Zone(Struct, frozen=True, kw_only=True):
    """`first_seconds` east of UTC at first; then each change: the moment in UTC, as
    `YYYY-MM-DDTHH:MM:SS`, and the seconds from there on. Changes are known from 1840,
    before which no clock had a zone, to 2100."""

    name: str
    first_seconds: int
    changes: tuple[tuple[str, int], ...]

    @property
    def last_seconds(self) -> int:
        """After the last change."""
        return self.changes[-1][1] if self.changes else self.first_seconds


@lru_cache(maxsize=64)
def zone_named(name: str) -> Zone:
    """The zone of this name, such as `Europe/Berlin`; `LookupError` for any other."""
    if len(name) > _NAME_CHARACTERS_MAX or not _NAME.fullmatch(name):
        raise LookupError(name)
    try:
        rules = ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise LookupError(name) from error
    changes: list[tuple[str, int]] = []
    at, seconds = _FROM, _seconds(rules, _FROM)
    first = seconds
    while at < _TO:
        after = at + _STEP
        if _seconds(rules, after) != seconds:
            moment = _change(rules, at, after)
            seconds = _seconds(rules, moment)
            changes.append((moment.strftime("%Y-%m-%dT%H:%M:%S"), seconds))
            after = moment
        at = after
    return Zone(name=name, first_seconds=first, changes=tuple(changes))


def _change(rules: tzinfo, before: datetime, after: datetime) -> datetime:
    """The first second of another offset."""
    seconds = _seconds(rules, before)
    while after - before > _SECOND:
        middle = before + (after - before) // _SECOND // 2 * _SECOND
        if _seconds(rules, middle) == seconds:
            before = middle
        else:
            after = middle
    return after


def _seconds(rules: tzinfo, at: datetime) -> int:
    offset = at.astimezone(rules).utcoffset()
    return 0 if offset is None else offset // _SECOND
