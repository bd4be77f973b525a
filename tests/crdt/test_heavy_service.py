"""Heavy edits of documents against the real program: everybody else goes on meanwhile."""

# mypy: disable-error-code="no-untyped-call"
# The server is another process, so these tests may wait for it as they like.
# ruff: noqa: ASYNC212

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.crdt.editors import SNAPSHOT, Editor, editing
from tests.server import ADMIN_TOKEN, Server, serving

WORDS = "abcdefgh \n"
MARKS = 700
MEANWHILE = 3
"""Rounds of requests of others that are answered while one heavy edit is merged; held up, it would
be one, that which had begun."""

TRIES = 3
"""Edits, of which one has to leave so much time: a busy machine may hold the test itself up."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    app = Path(__file__).parent / "app.py"
    with serving(app, tmp_path_factory.mktemp("heavy") / "app.db") as running:
        yield running


@pytest.fixture
def admin(server: Server) -> Iterator[httpx.Client]:
    with server.client(ADMIN_TOKEN) as client:
        yield client


def words(count: int, seed: int = 1) -> str:
    return "".join(Random(seed).choices(WORDS, k=count))


def make(admin: httpx.Client, **data: Any) -> str:
    answer = admin.post("/api/entities/Page", json=data)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def opened(editor: Editor, page: str) -> None:
    await editor.subscribe(page)
    await editor.until_frame(SNAPSHOT)


async def take_all(editor: Editor) -> None:
    """Take what comes and do nothing with it: a socket that nobody reads is slow to close."""
    with suppress(ConnectionClosed):
        while True:
            await editor.socket.recv()


async def until_both_texts(editor: Editor, text: str) -> None:
    """Until the editor has it in both places; its own last key is in one of them at once."""
    while not editor.row["body"] == editor.root().to_string() == text:
        await editor.next()


def marked(editor: Editor, count: int) -> bytes:
    """Marks that overlap: each takes time with the number of the others."""
    random, text = Random(2), editor.text()
    for number in range(count):
        text.mark(random.randrange(9_000), 10_000 + random.randrange(9_000), "bold", number)
    return editor.take_update()


def figure(admin: httpx.Client, name: str) -> float:
    """A number of the pool of documents, as `/metrics` tells it."""
    text = admin.get("/metrics", headers={"accept": "text/plain"}).text
    start = f'pylon_pool_{name}{{pool="documents"}} '
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(start))


def pool_processes(server: Server) -> list[int]:
    """The processes that the server has started."""
    assert server.child is not None
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(status[1]) == server.child.pid and status[0] != "Z":
                found.append(int(entry.name))
    return found


async def heavy(editor: Editor, page: str, kind: str) -> asyncio.Task[httpx.Response]:
    """Begin one heavy edit."""
    if kind == "marks":
        update = marked(editor, MARKS)
    elif kind == "insert":
        editor.text().insert(2, words(480_000))
        update = editor.take_update()
    elif kind == "both texts":
        editor.text().insert(2, words(200_000))
        editor.root().insert(9, words(200_000, 2))
        update = editor.take_update()
    else:
        body = {"body": words(800_000, 3)}
        return asyncio.create_task(editor.http.patch(f"/api/entities/Page/{page}", json=body))
    return asyncio.create_task(editor.push(page, update))


@pytest.mark.parametrize("kind", ["marks", "insert", "both texts", "patch"])
async def test_others_go_on_while_a_heavy_edit_is_merged(
    kind: str, server: Server, admin: httpx.Client
) -> None:
    answered: list[int] = []
    while not answered or (answered[-1] < MEANWHILE and len(answered) < TRIES):
        answered.append(await answered_meanwhile(kind, server, admin))
    assert answered[-1] >= MEANWHILE, answered


async def answered_meanwhile(kind: str, server: Server, admin: httpx.Client) -> int:
    """How many rounds of requests are answered while an edit is merged."""
    page, other = make(admin, body=words(20_000)), make(admin, body="other")
    async with editing(server, f"heavy-{kind}") as one, editing(server, "bob") as two:
        await opened(one, page)
        await opened(two, other)
        reading = [asyncio.create_task(take_all(each)) for each in (one, two)]
        edit = await heavy(one, page, kind)
        answered = 0
        while not edit.done():
            two.text().insert(0, "k")
            assert (await two.push(other)).status_code == 200
            answer = await two.http.get(f"/api/entities/Page/{other}")
            assert answer.json()["body"].startswith("k" * (answered + 1))
            answered += 1
            # On the same row, too.
            title = {"title": f"{kind} {answered}"} if answered % 10 == 0 else {"n": answered}
            target = page if answered % 10 == 0 else other
            changed = await two.http.patch(f"/api/entities/Page/{target}", json=title)
            assert changed.status_code == 200
        told = (await edit).status_code
        assert told == 200, (await edit).text
        row = admin.get(f"/api/entities/Page/{page}").json()
        assert (len(row["body"]) > 100_000) == (kind != "marks")
    await asyncio.gather(*reading)
    return answered


async def test_everybody_types_while_somebody_pastes(server: Server, admin: httpx.Client) -> None:
    page = make(admin, body="start")
    async with (
        editing(server, "paster") as paster,
        editing(server, "ann") as ann,
        editing(server, "bob") as bob,
    ):
        for editor in (paster, ann, bob):
            await opened(editor, page)
        pasting = True

        async def types(editor: Editor, key: str) -> int:
            keys = 0
            while pasting or keys < 20:
                (editor.text() if keys % 2 else editor.root()).insert(0, key)
                assert (await editor.push(page)).status_code == 200
                keys += 1
                await asyncio.sleep(0.03)
            return keys

        typing = [asyncio.create_task(types(*each)) for each in ((ann, "a"), (bob, "b"))]
        for number in range(3):
            paster.text().insert(0, f"<{number}:{words(60_000, number)}>")
            answer = await paster.push(page)
            assert answer.status_code == 200, answer.text
        pasting = False
        keys = await asyncio.gather(*typing)
        body = admin.get(f"/api/entities/Page/{page}").json()["body"]
        for editor in (paster, ann, bob):
            await until_both_texts(editor, body)
        for number in range(3):
            assert body.count(f"<{number}:") == 1
        pasted = sum(words(60_000, number).count("a") for number in range(3))
        assert body.count("a") == keys[0] + pasted + "start".count("a")
        assert len(body) == 5 + sum(keys) + 3 * 60_004
        reading = [asyncio.create_task(take_all(each)) for each in (paster, ann, bob)]
    await asyncio.gather(*reading)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
async def test_a_process_that_is_killed_loses_one_edit(server: Server, admin: httpx.Client) -> None:
    page = make(admin, body=words(20_000))
    async with editing(server, "unlucky") as one:
        await opened(one, page)
        edit = asyncio.create_task(one.push(page, marked(one, MARKS)))
        while not figure(admin, "busy"):
            assert not edit.done(), (await edit).text
            await asyncio.sleep(0.005)
        for pid in pool_processes(server):
            os.kill(pid, signal.SIGKILL)
        answer = await edit
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "CRDT_WORK_LOST")
        assert int(answer.headers["retry-after"]) > 0
        assert admin.get(f"/api/entities/Page/{page}").json()["body"] == words(20_000)
    async with editing(server, "next") as two:
        await opened(two, page)
        two.text().insert(0, "x" * 10_000)
        assert (await two.push(page)).status_code == 200
        assert figure(admin, "lost_total") >= 1


async def test_no_process_stays_behind(tmp_path: Path) -> None:
    app = Path(__file__).parent / "app.py"
    with serving(app, tmp_path / "app.db") as server:
        with server.client(ADMIN_TOKEN) as client:
            page = make(client, body="x")
            assert pool_processes(server) == [], "none before there is work"
            async with editing(server, "ann") as one:
                await opened(one, page)
                one.text().insert(0, "y" * 10_000)
                assert (await one.push(page)).status_code == 200
            (pid,) = pool_processes(server)
        server.kill()
        for _ in range(1_000):
            if not Path(f"/proc/{pid}").exists() or _is_zombie(pid):
                break
            await asyncio.sleep(0.01)
        else:
            raise AssertionError("it has outlived its server")
        server.start()


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
