"""No request holds the event loop: every route is sent its worst, by every kind of caller.

Asked is what the server's own watch has counted (`pylon_loop_holds_total`), never a clock. What is
counted is sent again, and is a fault when it is counted each time: the machine has other work too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.blackbox import worst
from tests.blackbox.worst import KIB, MIB
from tests.server import ADMIN_TOKEN, Server, serving

APP = Path(__file__).parent / "holds_app.py"

TRIES = 3
SHEETS = 30_000
LISTED = 50_000
ENDLESS = {"/events"}
SIZES = {"administrator": 10 * MIB - KIB, "guest": MIB, "nobody": 64 * KIB}
"""How much is sent by whom; what is refused as too large costs nothing."""


LARGE = {"/api/transact", "/api/batch", "/api/sync/push", "/api/import", "/api/entities/Paper"}
"""What is sent the largest bodies; the others read theirs in the same way."""


class Watched:
    """The server, and what its watch has counted."""

    def __init__(self, server: Server, admin: httpx.Client) -> None:
        self.server, self.admin = server, admin
        self._seen = self.holds()
        self.faults: list[str] = []
        """What has held the loop each time that it was sent."""

    def holds(self) -> float:
        """Times that work of the server has held the loop."""
        told = self.admin.get("/metrics").json()["counters"]["pylon_loop_holds_total"]
        return float(told["computing"] + told["waiting"])

    def is_held(self) -> bool:
        """Whether that has happened since the last time of asking."""
        before, self._seen = self._seen, self.holds()
        return self._seen > before

    def ask(self, client: httpx.Client, name: str, ask: worst.Ask) -> None:
        """Send a request. It may be refused, for now too, and must not fail."""

        def send() -> None:
            answer = client.request(ask[0], ask[1], content=ask[2])
            assert answer.status_code < 500 or answer.status_code == 503, (name, answer.text[:500])

        self.watch(name, send)

    def watch(self, name: str, send: Callable[[], object]) -> None:
        """Do something, and note when it holds the loop."""
        for _ in range(TRIES):
            send()
            if not self.is_held():
                return
        self.faults.append(name)

    def settle(self) -> None:
        """Nothing may have held the loop."""
        faults, self.faults = self.faults, []
        assert not faults, f"{faults}\n{self.server.stderr()[-8_000:]}"

    def client(self, who: str) -> httpx.Client:
        if who == "administrator":
            return self.server.client(ADMIN_TOKEN)
        if who == "nobody":
            return self.server.client()
        return self.server.client(self.guest())

    def guest(self) -> str:
        with self.server.client() as client:
            token: str = client.post("/api/auth/guest").json()["token"]
        return token


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(APP, tmp_path_factory.mktemp("holds") / "app.db") as running:
        fill(running)
        yield running


@pytest.fixture(scope="module")
def watched(server: Server) -> Iterator[Watched]:
    with server.client(ADMIN_TOKEN) as admin:
        yield Watched(server, admin)


def fill(server: Server) -> None:
    """Many rows, some of them large, and words that are hard to tell apart."""
    papers: list[dict[str, Any]] = [
        {"id": f"paper-{n}", "title": "a", "text": "a b " * (25 * KIB), "rank": n, "kind": f"k{n}"}
        for n in range(90)
    ]
    papers += [
        {"id": "words", "title": "a", "text": worst.near_words(20 * KIB)},
        {"id": "huge", "title": "a", "text": "x" * (9 * MIB)},
        {"id": "quotes", "title": "a", "text": '"' * (4 * MIB)},
        {"id": "edited", "title": "a"},
    ]
    sheets = [
        {"id": f"sheet-{n}", "text": f"q {n % 977} w{n}", "rank": n, "paperId": f"paper-{n % 90}"}
        for n in range(SHEETS)
    ]
    listed = [{"id": f"l-{n}", "about": f"about {n}", "userId": "x"} for n in range(LISTED)]
    with server.client(ADMIN_TOKEN) as admin:
        for entity, rows in (("Paper", papers), ("Sheet", sheets), ("Listed", listed)):
            lines = [json.dumps({"entity": entity, "row": row}) for row in rows]
            answer = admin.post(
                "/api/import",
                content="\n".join(lines),
                headers={"content-type": "application/x-ndjson"},
                timeout=300,
            )
            assert answer.status_code == 200, answer.text
            assert answer.json()["imported"] == len(rows), answer.text[:500]


def routes(admin: httpx.Client) -> list[tuple[str, str, bool]]:
    """Every route: method, path with names filled in, and whether it takes a body."""
    found = []
    for path, methods in admin.get("/api/openapi.json").json()["paths"].items():
        named = re.sub(r"\{(\w+)\}", lambda name: {"field": "title"}.get(name[1], "none"), path)
        found += [
            (method.upper(), named, "requestBody" in docs)
            for method, docs in methods.items()
            if method in ("get", "post", "patch", "put", "delete") and path not in ENDLESS
        ]
    return found


@pytest.mark.timeout(900)
@pytest.mark.parametrize("who", list(SIZES))
def test_no_body_holds_the_loop(watched: Watched, who: str) -> None:
    shapes, smaller = worst.shapes(SIZES[who]), worst.shapes(min(MIB, SIZES[who]))
    with watched.client(who) as client:
        lines = ("POST", "/api/import?format=ndjson", True)
        for method, path, has_body in (lines, *routes(watched.admin)):
            # Other entities than Paper have the same routes.
            if not has_body or re.search("Sheet|Listed|Ruled|Bag|User", path):
                continue
            for shape, content in (shapes if path in LARGE else smaller).items():
                watched.ask(client, f"{who}: {shape} to {method} {path}", (method, path, content))
    watched.settle()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("who", ["guest", "administrator"])
def test_no_write_holds_the_loop(watched: Watched, who: str) -> None:
    with watched.client(who) as client:
        for name, ask in (*worst.writes(), *worst.documents("edited")):
            watched.ask(client, f"{who}: {name}", ask)
    watched.settle()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("who", ["guest", "administrator"])
def test_no_read_holds_the_loop(watched: Watched, who: str) -> None:
    with watched.client(who) as client:
        for name, ask in worst.reads():
            watched.ask(client, f"{who}: {name}", ask)
    watched.settle()


@pytest.mark.timeout(900)
def test_no_message_of_a_socket_holds_the_loop(watched: Watched) -> None:
    # A stream that says where it is has nothing to be told, also in the server's first minute.
    head = watched.admin.get("/api/sync/status").json()["log"]["head_seq"]
    url = watched.server.ws_url(f"/ws?since={head}")
    protocols: Any = [f"bearer.{watched.guest()}"]
    for shape, content in worst.shapes(64 * KIB - 256).items():
        inner = content.decode("latin-1")
        for kind in (None, "presence", "topic", "crdt-subscribe", "subscribe", "ping", "none"):
            message = inner
            if kind is not None:
                message = f'{{"type": "{kind}", "topic": "t", "data": {inner}}}'

            def send(message: str = message) -> None:
                with connect(url, subprotocols=protocols, max_size=None, proxy=None) as socket:
                    socket.send(message)
                    assert socket.ping().wait(60), message[:100]

            watched.watch(f"{shape} in a message {kind}", send)
    watched.settle()


@pytest.mark.timeout(900)
def test_no_first_request_holds_the_loop(tmp_path: Path) -> None:
    """What is loaded or made when it is first needed is so beside the loop, or before it turns."""
    with serving(APP, tmp_path / "app.db") as running, running.client(ADMIN_TOKEN) as admin:
        first = Watched(running, admin)
        held: list[str] = []
        for method, path, _ in routes(admin):
            admin.request(method, path, content=b"{}" if method != "GET" else None)
            if first.is_held():
                held.append(f"{method} {path}")
        admin.get("/metrics", headers={"accept": "text/plain"})
        if first.is_held():
            held.append("GET /metrics as text")
        assert not held, f"{held}\n{running.stderr()[-4_000:]}"
