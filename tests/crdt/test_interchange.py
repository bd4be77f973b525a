"""The server's documents and those of npm `loro-crdt` are the same documents (spec 03 section 9).

Skipped by name where node or npm is missing or the package cannot be fetched. It is kept in
`.pylon/npm/` of the checkout, which git ignores.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from pylon.codec import decode_trusted, encode
from tests.crdt.editors import SNAPSHOT, UPDATE
from tests.server import ADMIN_TOKEN, Server, bearer, serving

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".pylon" / "npm"
INSTALL_SECONDS = 90.0
WAIT_SECONDS = 60.0


@pytest.fixture(scope="session")
def tabs_script() -> Path:
    """`tabs.mjs` beside an installed `loro-crdt`."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    if not (CACHE / "node_modules" / "loro-crdt" / "package.json").exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        (CACHE / "package.json").write_text('{"private": true}')
        try:
            done = subprocess.run(
                [npm, "install", "--no-audit", "--no-fund", "loro-crdt@^1.10.6"],
                cwd=CACHE,
                capture_output=True,
                timeout=INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pytest.skip("npm did not fetch loro-crdt in time")
        if done.returncode:
            pytest.skip(f"npm cannot fetch loro-crdt: {done.stderr.decode()[-200:]}")
    script = CACHE / "tabs.mjs"
    shutil.copyfile(HERE / "tabs.mjs", script)
    return script


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tabs_script: Path) -> Iterator[Server]:
    with serving(HERE / "app.py", tmp_path_factory.mktemp("interchange") / "app.db") as running:
        yield running


class Tabs:
    """Two tabs in one Node process, each with a socket of its own."""

    def __init__(self, node: asyncio.subprocess.Process, http: httpx.AsyncClient) -> None:
        self._node = node
        self._http = http
        self.sockets: dict[str, ClientConnection] = {}
        self.page = ""

    async def do(self, what: str, name: str, **more: Any) -> Any:
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        self._node.stdin.write(encode({"do": what, "name": name, **more}) + b"\n")
        line = await asyncio.wait_for(self._node.stdout.readline(), WAIT_SECONDS)
        answer = decode_trusted(line)
        assert "error" not in answer, answer
        return answer["result"]

    async def open(self, page: str) -> None:
        """Subscribe in both tabs and take the snapshots."""
        self.page = page
        for name in self.sockets:
            await self.sockets[name].send(
                encode({"type": "crdt-subscribe", "entity": "Page", "rowId": page}).decode()
            )
            while await self.take(name) != SNAPSHOT:
                pass

    async def take(self, name: str) -> int:
        """Take a tab's next message; the type of its frame, 0 for an event."""
        message = await asyncio.wait_for(self.sockets[name].recv(), WAIT_SECONDS)
        if isinstance(message, str):
            return 0
        frame = await self.do("frame", name, hex=message.hex())
        assert (frame["entity"], frame["rowId"]) == ("Page", self.page)
        kind = frame["type"]
        assert kind in (SNAPSHOT, UPDATE)
        return int(kind)

    async def push(self, update: str) -> None:
        path = f"/api/crdt/Page/{self.page}"
        answer = await self._http.post(path, json={"update": update})
        assert answer.status_code == 200, answer.text

    async def read(self, name: str) -> Any:
        return await self.do("read", name)

    async def until(self, name: str, field: str, value: object) -> Any:
        """Take messages until the tab shows this value."""
        while True:
            shown = await self.read(name)
            if shown["json"]["row"].get(field) == value:
                return shown
            await self.take(name)


@asynccontextmanager
async def two_tabs(server: Server, script: Path) -> AsyncIterator[Tabs]:
    token = await asyncio.to_thread(server.token_of, "ann")
    node = await asyncio.create_subprocess_exec(
        "node", str(script), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        async with server.async_client(token) as http:
            tabs = Tabs(node, http)
            for name in ("a", "b"):
                tabs.sockets[name] = await connect(
                    server.ws_url(), additional_headers=bearer(token), proxy=None
                )
            yield tabs
            for socket in tabs.sockets.values():
                await socket.close()
    finally:
        assert node.stdin is not None
        node.stdin.close()
        await node.wait()


async def test_two_tabs_and_the_server_converge(server: Server, tabs_script: Path) -> None:
    with server.client(ADMIN_TOKEN) as admin:
        made = {"body": "hello", "likes": 1, "tags": ["x"], "steps": ["p", "q"], "n": 2**53 - 1}
        page = admin.post("/api/entities/Page", json=made).json()["id"]
        path = f"/api/entities/Page/{page}"
        async with two_tabs(server, tabs_script) as tabs:
            await tabs.open(page)
            row = (await tabs.read("a"))["json"]["row"]
            assert (row["body"], row["likes"], row["tags"]) == ("hello", 1, ["x"])
            # At the same time, each without the other's edits.
            edits = [
                await tabs.do("insert", "a", field="body", at=5, value=" world"),
                await tabs.do("rootInsert", "b", field="body", at=0, value="> "),
                await tabs.do("increment", "a", field="likes", value=2),
                await tabs.do("increment", "b", field="likes", value=3),
                await tabs.do("pushMap", "a", field="tags", value={"k": 1.5, "a": [True, None]}),
                await tabs.do("insert", "b", field="tags", at=0, value="first"),
                await tabs.do("move", "a", field="steps", **{"from": 0, "to": 1}),
                await tabs.do("node", "b", field="outline", value="top"),
                await tabs.do("set", "a", field="done", value=True),
                await tabs.do("set", "b", field="title", value="from b"),
                await tabs.do("set", "b", field="n", value=7),
            ]
            for update in edits:
                await tabs.push(update)
            admin.patch(path, json={"title": "mark"})
            shown = [await tabs.until(name, "title", "mark") for name in ("a", "b")]
            assert shown[0] == shown[1]
            row = admin.get(path).json()
            assert row["body"] == shown[0]["texts"]["body"] == "> hello world"
            assert (row["likes"], row["done"], row["n"]) == (6, True, 7)
            assert row["tags"] == '["first","x",{"a":[true,null],"k":1.5}]'
            assert row["steps"] == '["q","p"]'
            (top,) = decode_trusted(row["outline"])
            assert (top["meta"], top["children"][0]["meta"]) == (
                {"title": "top"},
                {"title": "top child"},
            )


async def test_the_official_text_hook_reaches_rest_and_back(
    server: Server, tabs_script: Path
) -> None:
    with server.client(ADMIN_TOKEN) as admin:
        page = admin.post("/api/entities/Page", json={"body": "seed"}).json()["id"]
        path = f"/api/entities/Page/{page}"
        async with two_tabs(server, tabs_script) as tabs:
            await tabs.open(page)
            assert (await tabs.read("a"))["texts"]["body"] == "seed"
            for value in ("seed!", "seed!!", ""):
                await tabs.push(await tabs.do("collab", "a", field="body", value=value))
                assert admin.get(path).json()["body"] == value
                shown = await tabs.until("b", "body", value)
                assert shown["texts"]["body"] == value
            admin.patch(path, json={"body": "set by the server"})
            for name in ("a", "b"):
                shown = await tabs.until(name, "body", "set by the server")
                assert shown["texts"]["body"] == "set by the server"
