"""The limiter against a simple model, and the stage over a real server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon import limits
from pylon.asking import address_key
from pylon.clock import ManualClock
from pylon.config import Config
from pylon.http.rate_limit import RateLimiter, SharedRateLimiter
from tests.http.kernel import ADMIN_TOKEN, DEV


def limiter(clock: ManualClock, *, requests_max: int = 3, keys_max: int = 100) -> RateLimiter:
    return RateLimiter(requests_max=requests_max, window_seconds=60, clock=clock, keys_max=keys_max)


def test_allows_the_burst_then_tells_when() -> None:
    clock = ManualClock(at=1000)
    limit = limiter(clock)
    assert [limit.hit("a") for _ in range(4)] == [0, 0, 0, 20]
    assert limit.hit("b") == 0
    clock.advance(20)
    assert [limit.hit("a"), limit.hit("a")] == [0, 20]
    clock.advance(120)
    assert [limit.hit("a") for _ in range(4)] == [0, 0, 0, 20]


def test_waiting_as_told_is_enough() -> None:
    clock = ManualClock()
    limit = limiter(clock, requests_max=7)
    for _ in range(30):
        seconds = limit.hit("a")
        clock.advance(seconds)
        assert not seconds or limit.hit("a") == 0


@pytest.mark.parametrize(("requests_max", "window"), [(0, 60), (5, 0)])
def test_zero_switches_it_off(requests_max: int, window: int) -> None:
    limit = RateLimiter(requests_max=requests_max, window_seconds=window, clock=ManualClock())
    assert not limit.is_on
    assert not any(limit.hit("a") for _ in range(100))


def test_keys_are_bounded_and_idle_ones_forgotten() -> None:
    clock = ManualClock()
    limit = limiter(clock, keys_max=100)
    for i in range(1_000):
        limit.hit(str(i))
    assert len(limit) <= 101
    clock.advance(61)
    limit.hit("x")
    clock.advance(61)
    limit.hit("x")
    assert len(limit) <= 2


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 90)), max_size=80),
    st.integers(1, 5),
)
def test_agrees_with_a_bucket_that_forgets_nothing(
    steps: list[tuple[str, float]], requests_max: int
) -> None:
    clock = ManualClock(at=0)
    limit = limiter(clock, requests_max=requests_max)
    interval = 60 / requests_max
    whole_at: dict[str, float] = {}
    for key, pause in steps:
        clock.advance(pause)
        next_at = max(whole_at.get(key, 0.0), clock.at) + interval
        passes = next_at - clock.at <= 60 + 1e-6
        assert (limit.hit(key) == 0) == passes
        if passes:
            whole_at[key] = next_at


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("1.2.3.4", "1.2.3.5", False),
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:1.2.3.4", "1.2.3.4", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("not:an:address", "not:an:address", True),
    ],
)
def test_ipv6_counts_by_network(left: str, right: str, same: bool) -> None:
    assert (address_key(left) == address_key(right)) == same


def test_over_sockets(serve: Callable[[Config], httpx.Client]) -> None:
    client = serve(replace(DEV, rate_limit_max=3, trusted_proxy_hops=1))
    assert [client.get("/api/who").status_code for _ in range(3)] == [200] * 3
    assert client.options("/api/who").status_code == 204
    refused = client.get("/api/who", headers={"authorization": f"Bearer {ADMIN_TOKEN}"})
    assert refused.status_code == 429
    seconds = int(refused.headers["retry-after"])
    assert 1 <= seconds <= 60
    assert refused.json()["error"] == {
        "code": "RATE_LIMITED",
        "message": f"Too many requests. Retry after {seconds} seconds.",
    }
    assert refused.headers["access-control-allow-origin"] == "*"
    assert client.get("/health").status_code == 200
    # Another client behind the proxy; what it writes itself further left does not count.
    other = {"x-forwarded-for": "9.9.9.9, 5.6.7.8"}
    assert client.get("/api/who", headers=other).json()["client"] == "5.6.7.8"


# --- in several processes --------------------------------------------------------------------

EXCHANGE = 0.2
"""Seconds between two exchanges of counts."""


@given(
    processes=st.integers(1, 4),
    steps=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 12), st.sampled_from([0.0, 0.05, 0.2, 3.0])),
        max_size=80,
    ),
)
def test_a_limit_is_passed_by_no_more_than_is_said(
    processes: int, steps: list[tuple[int, int, float]]
) -> None:
    """At once a caller may do what it may in one process in each of them; over time its rate, and
    what each process lets through before it has heard of the others."""
    most, window = 5, 10.0
    clock = ManualClock(at=1000)
    limiters = [
        SharedRateLimiter(requests_max=most, window_seconds=window, clock=clock)
        for _ in range(processes)
    ]
    passed, started, exchanged_at = 0, clock.monotonic(), clock.monotonic()
    for number, hits, wait in steps:
        passed += sum(limiters[number % processes].hit("a") == 0 for _ in range(hits))
        clock.advance(wait)
        while clock.monotonic() - exchanged_at >= EXCHANGE:
            exchanged_at += EXCHANGE
            exchange(limiters)
        seconds = clock.monotonic() - started
        assert passed <= processes * most + (seconds + processes * EXCHANGE) * most / window


def exchange(limiters: list[SharedRateLimiter]) -> None:
    """What `bus/counts.py` does, at once."""
    taken = [each.take_counts() for each in limiters]
    for counts in taken:
        for each, own in zip(limiters, taken, strict=True):
            if own is not counts:
                each.add_counts(counts)


def test_who_was_let_through_twice_makes_up_for_it() -> None:
    clock = ManualClock(at=1000)
    here, there = (
        SharedRateLimiter(requests_max=3, window_seconds=60, clock=clock) for _ in range(2)
    )
    assert [each.hit("a") for each in (here, there) for _ in range(3)] == [0] * 6
    exchange([here, there])
    assert here.hit("a") == there.hit("a") == 80, "three too many, and then the next"
    assert here.hit("b") == 0
    clock.advance(80)
    assert here.hit("a") == 0
    exchange([here, there])
    assert there.hit("a") == 20


def test_counts_are_bounded_and_none_are_kept_without_a_limit() -> None:
    clock = ManualClock()
    limit = SharedRateLimiter(requests_max=3, window_seconds=60, clock=clock)
    for number in range(limits.RATE_COUNTS_KEYS_MAX + 10):
        limit.hit(str(number))
    assert len(limit.take_counts()) == limits.RATE_COUNTS_KEYS_MAX
    assert limit.take_counts() == {}
    off = SharedRateLimiter(requests_max=0, window_seconds=60, clock=clock)
    off.hit("a")
    off.add_counts({"a": 5})
    assert (off.take_counts(), len(off), off.hit("a")) == ({}, 0, 0)
