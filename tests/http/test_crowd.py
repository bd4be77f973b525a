"""Who goes when there are too many connections, by counts alone."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.http.crowd import Crowd, Waiting

REQUEST, CLIENT, US = Waiting.REQUEST, Waiting.CLIENT, Waiting.US


class Room:
    """A process with connections; they stand in the order in which they came."""

    def __init__(self, *, total_max: int = 100, per_address_max: int = 50) -> None:
        self.crowd = Crowd(total_max=total_max, per_address_max=per_address_max)
        self.open: list[Guest] = []
        self.now = 0.0

    def come(self, address: str, waiting: Waiting = US) -> Guest | None:
        guest = Guest(self, address, waiting)
        if not self.crowd.admit(guest, address, len(self.open), self.now):
            return None
        self.open.append(guest)
        return guest

    def fill(self, address: str, count: int, waiting: Waiting = US) -> list[Guest]:
        guests = [self.come(address, waiting) for _ in range(count)]
        return [guest for guest in guests if guest is not None]

    def count(self, address: str) -> int:
        assert self.crowd.of(address) == sum(guest.address == address for guest in self.open)
        return self.crowd.of(address)


class Guest:
    """One connection."""

    def __init__(self, room: Room, address: str, waiting: Waiting) -> None:
        self.room, self.address, self.waiting = room, address, waiting

    def cut(self) -> None:
        self.room.open.remove(self)
        self.room.crowd.leave(self, self.address)


@pytest.mark.parametrize("waiting", [REQUEST, CLIENT])
def test_the_most_crowded_address_makes_room(waiting: Waiting) -> None:
    room = Room(per_address_max=1_000)
    quiet = room.fill("1.1.1.1", 5, REQUEST)
    hogs = room.fill("2.2.2.2", 95, waiting)
    for _ in range(20):
        assert room.come("3.3.3.3") is not None
    assert all(guest in room.open for guest in quiet), "others are not touched"
    assert room.open[5:80] == hogs[20:], "the oldest went"
    assert len(room.open) == 100


def test_what_has_no_request_goes_before_what_has_one() -> None:
    room = Room(per_address_max=1_000)
    room.fill("2.2.2.2", 90, CLIENT)
    room.fill("2.2.2.2", 10, REQUEST)
    room.fill("3.3.3.3", 10)
    assert [guest.waiting for guest in room.open if guest.address == "2.2.2.2"] == [CLIENT] * 90


def test_who_waits_for_us_is_never_cut() -> None:
    room = Room(per_address_max=1_000)
    busy = room.fill("2.2.2.2", 100, US)
    assert room.come("3.3.3.3") is None
    assert room.open == busy
    assert (room.crowd.refused_count, room.crowd.cut_count) == (1, 0)


def test_a_slow_upload_is_safe_where_its_address_has_few() -> None:
    room = Room(per_address_max=1_000)
    for number in range(25):
        room.fill(f"2.2.2.{number}", 4, CLIENT)
    assert room.come("3.3.3.3") is None
    room.fill("3.3.3.3", 10)
    assert len(room.open) == 100


def test_what_comes_by_a_proxy_is_cut_between_requests_only() -> None:
    room = Room(per_address_max=0)
    room.fill("10.0.0.1", 99, CLIENT)
    idle = room.come("10.0.0.1", REQUEST)
    assert room.come("10.0.0.1") is not None
    assert idle not in room.open
    assert room.come("10.0.0.1") is None
    assert room.count("10.0.0.1") == 100


def test_an_address_has_its_bound() -> None:
    room = Room(per_address_max=10)
    mine = room.fill("2.2.2.2", 10, REQUEST)
    assert room.come("2.2.2.2") is not None
    assert mine[0] not in room.open
    assert room.count("2.2.2.2") == 10
    for guest in room.open:
        guest.waiting = US
    assert room.come("2.2.2.2") is None
    assert room.come("3.3.3.3") is not None, "others have theirs"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", ""])
def test_this_machine_has_none(address: str) -> None:
    room = Room(per_address_max=10)
    assert len(room.fill(address, 50)) == 50


def test_a_network_of_one_subscriber_counts_as_one_address() -> None:
    room = Room(per_address_max=10)
    for number in range(10):
        assert room.come(f"2001:db8::{number:x}") is not None
    assert room.come("2001:db8::ffff") is None
    assert room.come("2001:db8:0:1::1") is not None


def test_a_look_that_found_nobody_is_not_repeated_for_each_newcomer() -> None:
    room = Room(per_address_max=1_000)
    guests = room.fill("2.2.2.2", 100, US)
    assert room.come("3.3.3.3") is None
    guests[0].waiting = REQUEST
    assert room.come("3.3.3.3") is None
    room.now += 1.0
    assert room.come("3.3.3.3") is not None


def test_the_log_tells_of_it_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "pylon.http")
    room = Room(total_max=3)
    room.now = 1.0
    for _ in range(3):
        room.fill("2.2.2.2", 20, REQUEST)
        room.now += 61.0
    assert len(caplog.records) == 3


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["1.1.1.1", "2.2.2.2", "127.0.0.1", "::2"]),
        st.sampled_from([*Waiting, None]),
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 8), st.integers(0, 4))
def test_any_history_keeps_the_bounds_and_loses_nobody(
    steps: list[tuple[str, Waiting | None]], total_max: int, per_address_max: int
) -> None:
    room = Room(total_max=total_max, per_address_max=per_address_max)
    for address, waiting in steps:
        room.now += 1.0
        if waiting is None:
            if room.open:
                room.open[0].cut()
            continue
        busy = [guest for guest in room.open if guest.waiting is US]
        room.come(address, waiting)
        assert [guest for guest in busy if guest in room.open] == busy
        assert len(room.open) <= total_max
        assert len(room.crowd) == len(room.open)
        if per_address_max and not address.startswith("127."):
            assert room.count(address) <= per_address_max
