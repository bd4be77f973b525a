"""SIGKILL while hooks of commits are told: nothing acknowledged is lost to them, order is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from tests.api.hooks_app import __file__ as hooks_app
from tests.server import ADMIN_TOKEN, Server

ROUNDS = 3
ROUNDS_MAX = 30
CLIENTS = 4
TOLD_BEFORE_KILL = 20


async def write_until_killed(server: Server, told: Path, lines: int) -> list[str]:
    """The ids of acknowledged inserts, made until so many lines more are told."""
    acknowledged: list[str] = []

    async def client() -> None:
        async with server.async_client(ADMIN_TOKEN) as caller:
            try:
                while True:
                    answer = await caller.post("/api/entities/Note", json={"title": "x"})
                    assert answer.status_code == 201, answer.text
                    acknowledged.append(answer.json()["id"])
            except httpx.TransportError:
                return

    clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
    while len(lines_of(told)) < lines:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    server.kill()
    await asyncio.gather(*clients)
    return acknowledged


def lines_of(told: Path) -> list[str]:
    return told.read_text().splitlines() if told.exists() else []


async def test_hooks_of_commits_are_told_of_every_commit_over_crashes(tmp_path: Path) -> None:
    told = tmp_path / "told"
    env = {"HOOKS_TOLD": str(told)}
    server = Server(Path(hooks_app), tmp_path / "app.db", env=env)
    acknowledged: list[str] = []
    was_behind = False
    try:
        for done in range(ROUNDS_MAX):
            if was_behind and done >= ROUNDS:
                break
            server.start()
            lines = len(lines_of(told)) + TOLD_BEFORE_KILL
            acknowledged += await write_until_killed(server, told, lines)
            was_behind |= not set(acknowledged) <= {line.split()[1] for line in lines_of(told)}
        assert was_behind, "a crash found hooks with something still to be told"
        server.start()
        while not set(acknowledged) <= {line.split()[1] for line in lines_of(told)}:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    finally:
        server.stop()
    first_times = list(dict.fromkeys(int(line.split()[0]) for line in lines_of(told)))
    assert first_times == sorted(first_times), "told in the order of the commits"
    assert first_times == list(range(1, len(first_times) + 1)), "and none left out"
