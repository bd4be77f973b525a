"""Streams come and go in every way there is, and nothing of them stays.

Two thousand by default, a hundred thousand with PYLON_LONG=1.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.blackbox.crowd import Crowd, Traces
from tests.server import ADMIN_TOKEN, serving

LONG = bool(os.environ.get("PYLON_LONG"))
STREAMS = 100_000 if LONG else 2_000
WARM_UP = 40_000 if LONG else 1_000
GROWTH_KIB_MAX = 32_768 if LONG else 16_384
"""Some 300 bytes for each of a hundred thousand, so nothing is kept of each. What there is, is
allocators' and what is remembered of sessions and addresses."""

APP = Path(__file__).parents[1] / "crdt" / "app.py"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.timeout(1_800)
async def test_nothing_stays_of_streams_that_have_gone(tmp_path: Path) -> None:
    env = {"PYLON_DRAIN_SECS": "2"}
    with serving(APP, tmp_path / "app.db", env=env) as server:
        traces = Traces(server)
        await traces.begin()
        async with server.async_client(ADMIN_TOKEN) as admin:
            answer = await admin.post("/api/entities/Page", json={"body": "text"})
        crowd = Crowd(server, answer.json()["id"])
        for token in crowd.tokens[::2]:
            async with server.async_client(token) as client:
                await client.get("/api/sync/pull")
        await crowd.come_and_go(WARM_UP)
        await traces.none_is_open()
        before = traces.resident_kib()
        await crowd.come_and_go(STREAMS)
        await traces.none_is_open()
        grown = traces.resident_kib() - before
        print(f"{STREAMS} streams: {before} KiB, grown by {grown} KiB")
        assert grown < GROWTH_KIB_MAX
