"""A reader's copy of the data, kept as the official client keeps it (spec 03 section 8.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pylon.codec import decode
from pylon.errors import PylonError
from pylon.identity import Identity
from pylon.live.outlet import LINES, Encoding
from tests.sync.world import World

Table = dict[str, dict[str, Any]]


class Replica:
    """Applies pulls and live events; `closed` once the hub ended the stream."""

    encoding: Encoding = LINES

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.rows: dict[str, Table] = {}
        self.cursor = 0
        self.joined_at = 0
        self.resets = 0
        self.seen: list[int] = []
        self.closed: int | None = None
        self.events: list[dict[str, Any]] = []

    # --- the hub's side ----------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        for line in data.split(b"\n"):
            event = decode(line)
            self.events.append(event)
            if event["seq"] > self.cursor:
                self.apply(event)
                self.cursor = event["seq"]

    def written(self) -> int:
        return 0

    def backlog(self) -> int:
        return 0

    def close(self, code: int, reason: str) -> None:
        self.closed = code

    # --- the client's side -------------------------------------------------------------------

    def apply(self, event: dict[str, Any]) -> None:
        table = self.rows.setdefault(event["entity"], {})
        row_id = event["row_id"]
        if event["kind"] == "insert":
            table[row_id] = {**event["data"], "id": row_id}
        elif event["kind"] == "update":
            table[row_id] = {**table.get(row_id, {}), **event["data"], "id": row_id}
        else:
            table.pop(row_id, None)

    async def pull(self, app: World) -> None:
        """Pull to the end, starting anew on 410."""
        while True:
            try:
                page = await app.pulls.pull(self.identity, "here", self.cursor)
            except PylonError as error:
                if error.status != 410 or self.cursor == 0:  # since=0 is never refused
                    raise
                self.rows, self.cursor = {}, 0
                self.resets += 1
                continue
            for _, payload in page.events:
                self.apply(decode(payload))
            assert not page.has_more or page.last_seq > self.cursor
            self.cursor = max(self.cursor, page.last_seq)
            if not page.has_more:
                return

    async def equals_truth(self, app: World, entities: Sequence[str]) -> None:
        """The copy is exactly what a list shows this reader."""
        for entity in entities:
            try:
                truth = await app.rows.list(self.identity, entity, limit=None, offset=0)
            except PylonError as error:
                if error.code != "POLICY_DENIED":
                    raise
                truth = []
            assert self.rows.get(entity, {}) == {row["id"]: row for row in truth}
