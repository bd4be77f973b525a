"""What people are told of a server: where it is and what it serves."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from pylon import limits
from pylon.cli.serving import _bounds, _within, addresses, database_name, headline
from pylon.config import Config
from pylon.http.doors import Ports


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "localhost"),
        ("::", "localhost"),
        ("::1", "[::1]"),
        ("notes.example.com", "notes.example.com"),
    ],
)
def test_addresses_can_be_opened(host: str, shown: str) -> None:
    found = addresses(Config(host=host), Ports(main=80, ws=81, sse=82))
    assert found["page"] == f"http://{shown}:80/"
    assert found["websocket"] == f"ws://{shown}:80/ws"
    assert found["websocket_door"] == f"ws://{shown}:81/"
    assert found["sse_door"] == f"http://{shown}:82/events"


def test_closed_doors_are_not_named() -> None:
    found = addresses(Config(), Ports(main=80))
    assert not any(name.endswith("_door") for name in found)


def test_the_headline_counts_what_there_is() -> None:
    told = {"name": "n", "version": "1", "queries": [], "actions": [], "routes": ["/"]}
    told |= {"entities": ["A", "B"], "policies": ["A"]}
    assert headline(told) == "n v1 (2 entities, 1 policy, 1 route)"


def test_the_database_is_named_as_people_see_it(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    assert database_name(Config(db_path=f"{tmp_path}/data/a.db")) == "data/a.db"
    assert database_name(Config(in_memory=True)) == "in memory"


def test_streams_leave_room_for_requests_where_few_files_may_be_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "pylon")
    assert _within(Config(), limits.CONNECTIONS_MAX) == Config()
    assert not caplog.records
    assert _within(Config(), 400) == replace(Config(), sockets_max=360)
    assert "allows 400 connections" in caplog.text
    caplog.clear()
    _within(Config(dev_mode=True), 400)
    assert not caplog.records, "who develops has no use for it"
    few = Config(sockets_max=100)
    assert _within(few, 400) == few


def test_addresses_are_not_bounded_behind_a_proxy() -> None:
    assert _bounds(Config(), 400).connections_per_address_max == limits.CONNECTIONS_PER_ADDRESS_MAX
    assert _bounds(Config(connections_per_address_max=7), 400).connections_per_address_max == 7
    assert _bounds(Config(trusted_proxy_hops=1), 400).connections_per_address_max == 0
