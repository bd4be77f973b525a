"""`sync.js` of the todo example in Node, with a real server and a network that fails as told.

What needs a browser (IndexedDB, several windows, reloads) is in `test_todo_page.py`.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.served import EXAMPLES, ServedApp

SCRIPT = Path(__file__).with_name("sync_js.mjs")
NODE = shutil.which("node")
SECONDS_MAX = 120

UNSEEN = """

@app.entity
class Feedback(Entity):
    text: str

    class policy:
        read = update = delete = auth.isAdmin
        insert = auth.userId != None
"""

pytestmark = pytest.mark.skipif(NODE is None, reason="no Node on this machine")


@pytest.fixture(scope="module")
def todo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedApp]:
    """The todo example, with an entity that may be written and not read."""
    folder = tmp_path_factory.mktemp("sync_js")
    app = (EXAMPLES / "todo" / "app.py").read_text("utf-8")
    (folder / "app.py").write_text(app + UNSEEN)
    served = ServedApp(folder, folder / "todo.db")
    served.start()
    yield served
    served.stop()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's files, said to be modules."""
    folder = tmp_path_factory.mktemp("client")
    for name in ("sync.js", "sync-disk.js"):
        shutil.copy(EXAMPLES / "todo" / "public" / name, folder / name)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


async def run(client: Path, todo: ServedApp, *scenario: str) -> None:
    assert NODE is not None
    node = await asyncio.create_subprocess_exec(
        *(NODE, "--experimental-websocket", str(SCRIPT), str(client), todo.url, *scenario),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        told, _ = await asyncio.wait_for(node.communicate(), SECONDS_MAX)
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()
    assert node.returncode == 0, told.decode()


@pytest.mark.parametrize(
    "scenario",
    [
        *("order", "refused", "gone", "unsendable", "expired", "resync", "backoff", "renewed"),
        *("ids", "pairing", "unseen", "stopped", "results"),
    ],
)
async def test_a_scenario(client: Path, todo: ServedApp, scenario: str) -> None:
    await run(client, todo, scenario)


@pytest.mark.parametrize("seed", range(1, 7))
async def test_all_that_was_done_arrives_once_and_in_order_whatever_the_network_does(
    client: Path, todo: ServedApp, seed: int
) -> None:
    await run(client, todo, "chaos", str(seed))
