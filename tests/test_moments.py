"""Moments: every spelling that is taken, what it means, and what is none; and zones by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.data.fields import check_datetime
from pylon.moments import is_time, moment, moment_column, moment_key, shown_column, with_keys
from pylon.zones import zone_named
from tests.policy.oracle import when
from tests.policy.worlds import effort

NEW_YEAR = "2026-01-01T00:00:00"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("2026-01-01T00:00:00Z", NEW_YEAR),
        ("2026-01-01T00:00:00.000Z", NEW_YEAR),
        ("2026-01-01T02:00:00+02:00", NEW_YEAR),
        ("2025-12-31T14:00-1000", NEW_YEAR),
        ("2026-01-01T05:30:15+05:30:15", NEW_YEAR),
        ("2026-01-01T01:00:00.5+01:00:00.5", NEW_YEAR),
        ("2026-01-01", NEW_YEAR),
        ("20260101", NEW_YEAR),
        ("2026-W01-4", NEW_YEAR),
        ("2026W014", NEW_YEAR),
        ("2026-01-01 00:00", NEW_YEAR),
        ("2026-01-01x00", NEW_YEAR),
        ("20260101T000000Z", NEW_YEAR),
        ("1767225600", NEW_YEAR),
        ("1767225600Z", NEW_YEAR),
        ("2026-01-01T00:00:00,1000000010Z", f"{NEW_YEAR}.100000001"),
        ("20260101Z", "1970-08-23T11:48:21"),
        ("2026", "1970-01-01T00:33:46"),
        ("17000101012", "2508-09-17T10:16:52"),
        ("0001-01-01T00:00+14:00", "0000-12-31T10:00:00"),
        ("9999-12-31T23:59:59.5-14:00", "Y0000253402351199.5"),
        ("999999999999999Z", "Y0999999999999999"),
    ],
)
def test_what_a_spelling_means(text: str, key: str) -> None:
    assert moment(text) == key
    assert check_datetime(text) == text, "it comes back as it was sent"


NO_TIMES = (
    *("", "now", "Z", "12:00", "2026-01", "2026-13-01", "2026-02-30", "2026-01-01T25:00", "1e3"),
    *("1234567890123456", "-5", "2026-01-01T00:00:60Z", "\uff12026-01-01", "2026-01-01\0"),
)


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_time_is_refused_but_has_a_place_behind_all_times(text: str) -> None:
    assert not is_time(text)
    with pytest.raises(ValueError, match="a date and time"):
        check_datetime(text)
    assert moment_key(text) > moment("999999999999999Z")


instants = st.datetimes(
    min_value=datetime(1, 1, 3),
    max_value=datetime(9999, 12, 29),
    timezones=st.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m))),
)
spellings = st.one_of(
    instants.map(datetime.isoformat),
    instants.map(lambda at: at.astimezone(UTC).isoformat().replace("+00:00", "Z")),
    instants.map(lambda at: at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "milliseconds")),
    instants.map(lambda at: at.date().isoformat()),
    instants.map(lambda at: f"{at:%Y%m%dT%H%M%S%z}".zfill(20)),
    st.integers(0, 10**15 - 1).map(str),
    st.integers(0, 10**15 - 1).map("{}Z".format),
    st.text(max_size=12),
)


@effort(300)
@given(spellings, spellings)
def test_keys_are_in_the_order_of_time(one: str, other: str) -> None:
    assert (moment_key(one) < moment_key(other)) == (when(one) < when(other))
    assert (moment_key(one) == moment_key(other)) == (when(one) == when(other))


def test_keys_stand_beside_the_times_that_are_given() -> None:
    column = moment_column("at")
    assert with_keys({"at": "2026-01-01", "n": 1}, ("at", "due")) == {
        "at": "2026-01-01",
        "n": 1,
        column: NEW_YEAR,
    }
    assert with_keys({"at": None}, ("at",)) == {"at": None, column: None}
    assert (shown_column(column), shown_column("n")) == ("at", "n")


# --- zones -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/St_Johns", "Africa/Casablanca", "UTC"])
def test_a_zone_knows_every_change_of_its_offset(name: str) -> None:
    zone, rules = zone_named(name), ZoneInfo(name)
    at = datetime(1950, 1, 1, tzinfo=UTC)
    while at.year < 2040:
        key = at.strftime("%Y-%m-%dT%H:%M:%S")
        known = [seconds for since, seconds in zone.changes if since <= key]
        offset = at.astimezone(rules).utcoffset()
        assert offset == timedelta(seconds=known[-1] if known else zone.first_seconds), key
        at += timedelta(hours=13)


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../etc/passwd", "localtime", "/etc/localtime"]
)
def test_there_is_no_zone_of_other_names(name: str) -> None:
    with pytest.raises(LookupError):
        zone_named(name)
