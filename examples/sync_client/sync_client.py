"""A sync client in plain Python, written from docs/sync-protocol.md alone.

It keeps a copy of the rows that its user may see in a file, follows changes live, writes while
offline, and survives restarts of itself and of the server. It needs `websockets` and nothing else:

    python sync_client.py http://localhost:4321 rows.json [TOKEN]

and then takes commands, one a line, and prints the rows whenever they change. Without a token it
becomes a guest.

    insert Todo {"title": "milk"}
    update Todo <id> {"done": true}
    delete Todo <id>
"""

from __future__ import annotations

import json
import queue
import random
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

Row = dict[str, Any]
Change = dict[str, Any]

BACKOFF_SECONDS_MAX = 30.0
STABLE_SECONDS = 5.0
LOOK_SECONDS = 0.2
"""How often it is looked whether there is something to push while the socket is quiet."""


class Refused(Exception):
    """The server answered with a status that is no success."""

    def __init__(self, status: int, retry_after_seconds: float) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class Store:
    """What outlives a restart: the server's rows, the cursor, and changes still to be pushed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        known = json.loads(path.read_text()) if path.exists() else {}
        self.token: str | None = known.get("token")
        self.cursor: int = known.get("cursor", 0)
        self.rows: dict[str, dict[str, Row]] = known.get("rows", {})
        self.pending: list[Change] = known.get("pending", [])
        self.applied: list[Change] = known.get("applied", [])
        """Changes that the server has made but whose events have not come yet."""
        self.failed: list[dict[str, Any]] = known.get("failed", [])

    def save(self) -> None:
        """Rows and cursor go into one file at once, so the cursor is never ahead of the rows."""
        names = ("token", "cursor", "rows", "pending", "applied", "failed")
        text = json.dumps({name: getattr(self, name) for name in names})
        fresh = self._path.with_name(f"{self._path.name}.new")
        fresh.write_text(text)
        fresh.replace(self._path)

    def start_anew(self) -> None:
        self.cursor, self.rows, self.applied = 0, {}, []

    def apply(self, event: dict[str, Any]) -> None:
        rows = self.rows.setdefault(event["entity"], {})
        row_id = event["row_id"]
        if event["kind"] == "delete":
            rows.pop(row_id, None)
            return
        old = rows.get(row_id, {}) if event["kind"] == "update" else {}
        rows[row_id] = {**old, **event["data"], "id": row_id}

    def heard(self, event: dict[str, Any]) -> None:
        """A live event: apply it, and move on."""
        self.apply(event)
        self.cursor = event["seq"]
        row = (event["entity"], event["row_id"])
        mine = next((c for c in self.applied if (c["entity"], c["row_id"]) == row), None)
        self.applied = [c for c in self.applied if c is not mine and c["until"] > self.cursor]

    def pushed(self, answer: dict[str, Any]) -> None:
        """What became of the pending changes. One that failed is set aside."""
        done, rest = self.pending[: answer["applied"]], self.pending[answer["applied"] :]
        self.applied += [{**change, "until": answer["cursor"]["last_seq"]} for change in done]
        if answer["errors"]:
            self.failed.append({"change": rest.pop(0), "error": answer["errors"][0]})
        self.pending = rest

    def shown(self) -> dict[str, dict[str, Row]]:
        """The server's rows with one's own changes over them: one that fails vanishes by itself."""
        shown = {entity: dict(rows) for entity, rows in self.rows.items()}
        for change in (*self.applied, *self.pending):
            rows, row_id = shown.setdefault(change["entity"], {}), change["row_id"]
            if change["kind"] == "delete":
                rows.pop(row_id, None)
            elif change["kind"] == "insert" or row_id in rows:
                rows[row_id] = {**rows.get(row_id, {}), **change["data"], "id": row_id}
        return {entity: rows for entity, rows in shown.items() if rows}


class SyncClient:
    """One client of one server. `run` does everything; `change` may be called from any thread."""

    def __init__(self, base_url: str, path: Path, token: str | None = None) -> None:
        self._base = base_url.rstrip("/")
        parts = urlsplit(self._base)
        self._socket_url = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}/ws"
        self.store = Store(path)
        self._is_token_given = token is not None
        if token is not None and token != self.store.token:
            # Rows and cursor belong to the session that pulled them.
            self.store.start_anew()
            self.store.token = token
        self._said: queue.SimpleQueue[Change] = queue.SimpleQueue()
        self._closes = 0
        self.stopped = threading.Event()

    def change(self, kind: str, entity: str, row_id: str | None, data: Row | None = None) -> str:
        """Queue an insert, update or delete; the id of the row. A new row gets a real id here."""
        change: Change = {"kind": kind, "entity": entity, "row_id": row_id or str(uuid.uuid4())}
        change["op_id"] = str(uuid.uuid4())
        if data is not None:
            change["data"] = data
        self._said.put(change)
        return str(change["row_id"])

    # --- the loop ----------------------------------------------------------------------------

    def run(self) -> None:
        """Pull, then listen; whenever the socket closes, wait a little and begin again."""
        while not self.stopped.is_set():
            wait = 0.0
            opened = time.monotonic()
            try:
                self._identify()
                self._push()
                self._pull()
                opened = time.monotonic()
                self._listen()
            except Refused as refused:
                wait = refused.retry_after_seconds
                print(f"refused: {refused}", file=sys.stderr)
            except (OSError, ConnectionClosed, InvalidHandshake) as error:
                print(f"offline: {type(error).__name__}", file=sys.stderr)
            if time.monotonic() - opened >= STABLE_SECONDS:
                self._closes = 0
            self._closes += 1
            bound = min(BACKOFF_SECONDS_MAX, 2.0 ** (self._closes - 1))
            until = time.monotonic() + max(wait, random.uniform(0, bound))
            while time.monotonic() < until and not self.stopped.wait(LOOK_SECONDS):
                self._take_said()

    def _identify(self) -> None:
        """A token that is not known any more counts as none: the answers are then the public's."""
        if self._request("GET", "/api/auth/me").get("user_id") is None:
            if self._is_token_given:
                raise SystemExit("The token is not known, or its session has ended: sign in again.")
            self.store.start_anew()
            self.store.token = self._request("POST", "/api/auth/guest", {})["token"]
            self._show()

    def _pull(self) -> None:
        while True:
            try:
                page = self._request("GET", f"/api/sync/pull?since={self.store.cursor}")
            except Refused as refused:
                if refused.status != 410:
                    raise
                self.store.start_anew()
                continue
            for event in page["changes"]:
                self.store.apply(event)
            self.store.cursor = max(self.store.cursor, page["cursor"]["last_seq"])
            if not page["has_more"]:
                self.store.applied = []
            self._show()
            if not page["has_more"]:
                return

    def _listen(self) -> None:
        headers = {"Authorization": f"Bearer {self.store.token}"}
        url = f"{self._socket_url}?since={self.store.cursor}"
        with connect(url, additional_headers=headers, max_size=None, proxy=None) as socket:
            while not self.stopped.is_set():
                event = self._next(socket)
                if event is not None and event["seq"] > self.store.cursor:
                    self.store.heard(event)
                    self._show()
                self._push()

    def _next(self, socket: ClientConnection) -> dict[str, Any] | None:
        """The next change event, or None when there is none for a while."""
        with suppress(TimeoutError):
            message = socket.recv(timeout=LOOK_SECONDS)
            if isinstance(message, str):
                event: dict[str, Any] = json.loads(message)
                if all(event.get(key) for key in ("seq", "entity", "kind")):
                    return event
        return None

    # --- pushing -----------------------------------------------------------------------------

    def _take_said(self) -> None:
        with suppress(queue.Empty):
            while True:
                self.store.pending.append(self._said.get_nowait())
                self._show()

    def _push(self) -> None:
        """Push what is pending until nothing is left."""
        self._take_said()
        while self.store.pending:
            changes = {"changes": self.store.pending}
            self.store.pushed(self._request("POST", "/api/sync/push", changes))
            self._show()

    # --- parts -------------------------------------------------------------------------------

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if self.store.token is not None:
            headers["Authorization"] = f"Bearer {self.store.token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._base + path, data=data, headers=headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, float(error.headers.get("Retry-After") or 0)) from error

    def _show(self) -> None:
        self.store.save()
        print(json.dumps(self.store.shown()), flush=True)


def obey(client: SyncClient) -> None:
    """Take commands from standard input until it ends."""
    for line in sys.stdin:
        kind, entity, *rest = line.split(maxsplit=2) if line.strip() else ("", "")
        if kind == "insert":
            client.change(kind, entity, None, json.loads(rest[0]))
        elif kind in ("update", "delete"):
            row_id, _, data = rest[0].partition(" ")
            client.change(kind, entity, row_id.strip(), json.loads(data) if data else None)
    client.stopped.set()


def main() -> None:
    base_url, path, *token = sys.argv[1:]
    client = SyncClient(base_url, Path(path), *token)
    threading.Thread(target=obey, args=(client,), daemon=True).start()
    client.run()


if __name__ == "__main__":
    main()
