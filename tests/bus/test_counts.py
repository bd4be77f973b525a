"""Counts of rate limits cross the bus."""

from __future__ import annotations

import asyncio

from pylon.bus.counts import CountExchange
from pylon.clock import ManualClock
from pylon.http.rate_limit import SharedRateLimiter
from pylon.testing.bus import Network


def limiter(clock: ManualClock) -> SharedRateLimiter:
    return SharedRateLimiter(requests_max=4, window_seconds=60, clock=clock)


async def test_what_one_let_through_counts_in_the_others() -> None:
    clock, network = ManualClock(at=1000), Network()
    here, there = limiter(clock), limiter(clock)
    exchanges = [
        CountExchange(network.join(), {"requests": here, "pulls": limiter(clock)}),
        CountExchange(network.join(), {"requests": there}),
    ]
    for each in (here, here, here, there):
        assert each.hit("a") == 0
    for exchange in exchanges:
        await exchange.exchange()
    await asyncio.sleep(0.01)
    assert (here.hit("a"), there.hit("a")) == (15, 15)
    assert there.hit("b") == 0


async def test_nothing_is_said_where_nobody_hears_or_nothing_happened() -> None:
    clock, network = ManualClock(), Network()
    here = limiter(clock)
    exchange = CountExchange(network.join(), {"requests": here})
    here.hit("a")
    await exchange.exchange()
    network.join()
    await exchange.exchange()
    assert network.sent == [], "what was counted before somebody came is not told"
    here.hit("a")
    await exchange.exchange()
    assert len(network.sent) == 1
