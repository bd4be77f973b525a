"""Our server, as an operator would start it: `pylon start`, production rules, full durability.

Only the rate limit is off. Users are minted by the admin token (spec 04 section 7.2); rows are
seeded over HTTP, so that every one has gone through validation, policy and the change log.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

from bench.load import Plan, request_bytes, send_all
from bench.peers.base import LIST_ROWS, PLAN_REQUESTS, spread_over, title_of
from bench.processes import REPOSITORY, Child, Fleet, expect, free_port, wait_answer

OWNER = "user_bench"
SEED_ROWS_AT_ONCE = 50_000
PORTS = 4
"""The main port and the three that clients derive from it."""


class PylonServer:
    """One server process on a database file of its own."""

    name = "pylon"
    child: Child

    def __init__(
        self,
        *,
        cores: AbstractSet[int],
        load_cores: AbstractSet[int],
        app: str = "app.py",
        settings: Mapping[str, str] | None = None,
        tree: Path = REPOSITORY,
    ) -> None:
        """`tree` is the checkout whose code and app are started."""
        self._tree = tree
        self._app = app
        self._settings = settings or {}
        self.port = free_port(span=PORTS)
        self.admin_token = f"bench_{secrets.token_hex(16)}"
        self.token = ""
        self.ids: list[str] = []
        self._cores = cores
        self._load_cores = load_cores
        self._fleet: Fleet | None = None
        self.database = Path()

    def start(self, fleet: Fleet, folder: Path) -> None:
        """Start and sign the owner in."""
        self._fleet = fleet
        self.database = folder / "pylon.db"
        self.launch()
        wait_answer(self.child, self.port, "/health")
        self.token = self.mint(OWNER)

    def launch(self) -> None:
        """Start the process only; also used to measure the start itself."""
        assert self._fleet is not None
        self.child = self._fleet.spawn(
            self.name,
            [
                *(sys.executable, "-m", "pylon", "start", str(self._tree / "bench" / self._app)),
                *("--port", str(self.port), "--db", str(self.database)),
            ],
            cores=self._cores,
            environment={
                "PYLON_ADMIN_TOKEN": self.admin_token,
                "PYLON_RATE_LIMIT_MAX": "0",
                "PYLON_ALLOW_UNSAFE": "no-rate-limit",
                "PYLON_HOST": "127.0.0.1",
                "PYLON_CORS_ORIGIN": "http://localhost",
                "PYTHONPATH": str(self._tree),
                **self._settings,
            },
            folder=self._tree,
        )

    def halt(self) -> None:
        """End the process; its database stays."""
        assert self._fleet is not None
        self._fleet.stop(self.child)

    def move(self, cores: AbstractSet[int]) -> None:
        """End the process and start it on other cores, with its rows and sessions."""
        self.halt()
        self._cores = cores
        self.launch()
        wait_answer(self.child, self.port, "/health")

    def mint(self, user_id: str) -> str:
        """A session token of this user."""
        body = {"user_id": user_id}
        answer = expect(self.port, "POST", "/api/auth/session", body=body, token=self.admin_token)
        return str(answer["token"])

    def seed(self, rows: int) -> None:
        """Insert what is missing to `rows`, then learn the ids by walking the cursor."""
        assert self._fleet is not None
        for first in range(len(self.ids), rows, SEED_ROWS_AT_ONCE):
            part = range(first, min(rows, first + SEED_ROWS_AT_ONCE))
            requests = [self._insert(number) for number in part]
            send_all(self._fleet, requests, port=self.port, cores=self._load_cores)
        after = self.ids[-1] if self.ids else ""
        while True:
            path = f"/api/entities/Item/cursor?limit=100&after={after}"
            page = expect(self.port, "GET", path, token=self.token)
            self.ids += [row["id"] for row in page["data"]]
            if not page["has_more"]:
                return
            after = page["next_cursor"]

    def get_plan(self) -> Plan:
        """`GET /api/entities/Item/<id>` (spec 02 section 4.3)."""
        paths = [f"/api/entities/Item/{row}" for row in spread_over(self.ids, PLAN_REQUESTS)]
        return self._reading("get", paths)

    def list_plan(self) -> Plan:
        """`GET /api/entities/Item/cursor` (spec 02 section 4.2)."""
        starts = spread_over(self.ids[:-LIST_ROWS], PLAN_REQUESTS)
        path = f"/api/entities/Item/cursor?limit={LIST_ROWS}&after="
        return self._reading("list", [path + start for start in starts])

    def pull_plan(self, since: list[int]) -> Plan:
        """`GET /api/sync/pull` from each of these cursors (spec 03 section 3.1)."""
        return self._reading("pull", [f"/api/sync/pull?since={seq}" for seq in since])

    def insert_plan(self) -> Plan:
        """`POST /api/entities/Item` (spec 02 section 4.4)."""
        requests = tuple(self._insert(number) for number in range(PLAN_REQUESTS))
        return Plan(
            name="pylon insert",
            port=self.port,
            requests=requests,
            expect=201,
            pid=self.child.pid,
        )

    def callers_plan(self) -> Plan:
        """Get one row, each request by another caller, who owns the row that it asks for."""
        requests = []
        for number in range(PLAN_REQUESTS):
            token = self.mint(f"caller_{number}")
            row = {"title": title_of(number)}
            made = expect(self.port, "POST", "/api/entities/Item", body=row, token=token)
            headers = {"Authorization": f"Bearer {token}"}
            path = f"/api/entities/Item/{made['id']}"
            requests.append(request_bytes("GET", path, headers=headers))
        return Plan(
            name="pylon callers", port=self.port, requests=tuple(requests), pid=self.child.pid
        )

    def _insert(self, number: int) -> bytes:
        row = {"title": title_of(number), "done": False, "ownerId": OWNER}
        return request_bytes(
            "POST", "/api/entities/Item", headers=self._bearer(), body=json.dumps(row).encode()
        )

    def _reading(self, name: str, paths: list[str]) -> Plan:
        requests = tuple(request_bytes("GET", path, headers=self._bearer()) for path in paths)
        return Plan(name=f"pylon {name}", port=self.port, requests=requests, pid=self.child.pid)

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}
