"""A double of the official JavaScript client's SyncEngine (spec 03 section 8), faults included.

What that client does is done here, wrong or right: it applies whatever a pull brings, takes a live
event only if its seq is above the cursor and then moves the cursor there whatever lies between,
never tells the server where it is when it connects, swallows most failures, and matches the
results of a push by their place. Time and chance are handed in. How bytes travel is a `Network`
(`tests/sync/networks.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, Protocol

from pylon import codec

Row = dict[str, Any]
Event = dict[str, Any]
Key = tuple[str, str]

MAX_SAFE_INTEGER = 2**53 - 1
TOKEN = "pylon_token"
BACKOFF_MAX_MS = 30_000
STABLE_MS = 5_000


class Offline(Exception):
    """The network failed; no answer came."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer with a JSON body."""

    status: int
    body: Any


class Stream(Protocol):
    """An open WebSocket or event stream."""

    async def receive(self) -> str | bytes | None:
        """The next message; None once it is closed, whoever closed it."""
        ...

    async def send(self, text: str) -> None: ...

    async def close(self) -> None: ...


class Network(Protocol):
    """The way to the server; every call may raise `Offline`."""

    async def request(
        self, method: str, path: str, *, token: str | None, body: Any = None
    ) -> Answer: ...

    async def websocket(self, token: str | None) -> Stream: ...

    async def events(self) -> Stream:
        """An EventSource: it sends no token."""
        ...


@dataclass(slots=True)
class Browser:
    """What the tabs of one browser share: localStorage and one IndexedDB database."""

    local: dict[str, str] = field(default_factory=dict)
    rows: dict[Key, Row] = field(default_factory=dict)
    cursor: int | None = None
    mutations: list[dict[str, Any]] = field(default_factory=list)


Sleep = Callable[[float], Awaitable[None]]
"""Waits for so many milliseconds."""


class SyncEngine:
    """One tab."""

    def __init__(
        self,
        network: Network,
        browser: Browser,
        *,
        transport: Literal["websocket", "sse", "poll"] = "websocket",
        persist: bool = True,
        sleep: Sleep,
        random: Random,
        now_ms: Callable[[], float],
        reconnect_delay: float = 1_000,
        poll_interval: float = 1_000,
        is_newer: bool = False,
    ) -> None:
        """`is_newer`: it reads of each change of a push what became of it, instead of counting, and
        sends pings (spec 09)."""
        self._network = network
        self._is_newer = is_newer
        self._browser = browser
        self._transport = transport
        self.persist = persist
        self._sleep = sleep
        self._random = random
        self._now_ms = now_ms
        self._reconnect_delay = reconnect_delay
        self._poll_interval = poll_interval
        self.client_id = browser.local.setdefault("pylon:client_id", _base36(random))
        self.rows: dict[Key, Row] = {}
        self.tombstones: dict[Key, int] = {}
        self.cursor = 0
        self.queue: list[dict[str, Any]] = []
        self.user: dict[str, Any] = {}
        self.connected = False
        self.resets = 0
        self.applied: list[int] = []
        """Positions of live events that were applied since the last reset, in order."""
        self.live_events: list[Event] = []
        """Every live event that arrived, applied or not."""
        self._pulled_with: str | None = None
        self._has_pulled = False
        self._resyncs = 0
        self._reconnects = 0
        self._pushing: asyncio.Future[None] | None = None
        self._stream: Stream | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def token(self) -> str | None:
        """Read from storage at each use."""
        return self._browser.local.get(TOKEN)

    # --- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Section 8.3: load, ask who one is, pull, connect. The queue is not pushed."""
        if self.persist:
            self._load()
        await self._who_am_i()
        await self.pull()
        self._save_cursor()
        loop = {"websocket": self._live, "sse": self._live, "poll": self._poll}[self._transport]
        self._running = asyncio.create_task(loop())

    async def stop(self) -> None:
        """The tab is closed."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        if self._stream is not None:
            await self._stream.close()
        self._stream, self._running, self.connected = None, None, False

    async def drop(self) -> None:
        """The connection breaks."""
        if self._stream is not None:
            await self._stream.close()

    def _load(self) -> None:
        for (entity, row_id), row in self._browser.rows.items():
            self._apply(
                {"seq": 0, "entity": entity, "row_id": row_id, "kind": "insert", "data": row},
                save=False,
            )
        self.cursor = self._browser.cursor or 0
        known = {item["id"] for item in self.queue}
        self.queue += [dict(item) for item in self._browser.mutations if item["id"] not in known]

    async def _who_am_i(self) -> None:
        with suppress(Offline):
            answer = await self._network.request("GET", "/api/auth/me", token=self.token)
            if answer.status < 300:
                before, self.user = self.user, answer.body
                if before and before.get("tenant_id") != self.user.get("tenant_id"):
                    self._reset()

    # --- pulling -----------------------------------------------------------------------------

    async def pull(self) -> None:
        """Pages until there are no more; every failure but 410 and 429 is swallowed."""
        token = self.token
        if self._has_pulled and token != self._pulled_with:
            self._reset()
            self._pulled_with = token
            await self._who_am_i()
        self._has_pulled, self._pulled_with = True, token
        while True:
            try:
                answer = await self._network.request(
                    "GET", f"/api/sync/pull?since={self.cursor}", token=self.token
                )
            except Offline:
                return
            if answer.status == 410:
                await self._resync()
                return
            if answer.status == 429:
                self._reconnects += 3
                return
            if answer.status >= 300:
                return
            self._resyncs = 0
            page = answer.body
            for event in page["changes"]:
                self._apply(event)
            last_seq = page["cursor"]["last_seq"]
            assert not page["has_more"] or last_seq > self.cursor, "the client would loop for ever"
            self.cursor = max(self.cursor, last_seq)
            self._save_cursor()
            if not page["has_more"]:
                return

    async def _resync(self) -> None:
        assert self.cursor > 0, "since=0 is never 410"
        self._resyncs += 1
        if self._resyncs > 1:
            await self._sleep(min(BACKOFF_MAX_MS, 1_000 * 2 ** min(self._resyncs, 5)))
        self._reset()
        await self.pull()

    def _reset(self) -> None:
        """Rows of IndexedDB stay, as they do in the original."""
        self.cursor = 0
        self.rows.clear()
        self.tombstones.clear()
        self.applied.clear()
        self.resets += 1
        self._save_cursor()

    def _save_cursor(self) -> None:
        if self.persist:
            self._browser.cursor = self.cursor

    # --- applying ----------------------------------------------------------------------------

    def _apply(self, event: Event, *, save: bool = True) -> None:
        key: Key = (event["entity"], event["row_id"])
        kind, seq = event["kind"], event["seq"]
        if kind == "delete":
            self.rows.pop(key, None)
            self.tombstones[key] = max(seq, self.tombstones.get(key, 0))
        elif seq >= self.tombstones.get(key, 0) and "data" in event:
            old = self.rows.get(key, {}) if kind == "update" else {}
            self.rows[key] = {**old, **event["data"], "id": key[1]}
        if save and self.persist:
            if key in self.rows:
                self._browser.rows[key] = dict(self.rows[key])
            else:
                self._browser.rows.pop(key, None)

    def _on_message(self, text: str) -> None:
        event = codec.decode(text)
        if not (event.get("seq") and event.get("entity") and event.get("kind")):
            return
        self.live_events.append(event)
        if event["seq"] > self.cursor:
            self._apply(event)
            self.cursor = event["seq"]
            self.applied.append(event["seq"])
            self._save_cursor()

    # --- live --------------------------------------------------------------------------------

    async def _live(self) -> None:
        while True:
            opened = self._now_ms()
            with suppress(Offline):
                if self._transport == "sse":
                    self._stream = await self._network.events()
                else:
                    self._stream = await self._network.websocket(self.token)
                self.connected = True
                if self._is_newer and self._transport == "websocket":
                    await self._stream.send('{"type":"ping"}')
                while (message := await self._stream.receive()) is not None:
                    if isinstance(message, str):
                        self._on_message(message)
            self.connected, self._stream = False, None
            if self._transport == "websocket" and self._now_ms() - opened >= STABLE_MS:
                self._reconnects = 0
            self._reconnects += 1
            bound = min(BACKOFF_MAX_MS, self._reconnect_delay * 2 ** (self._reconnects - 1))
            await self._sleep(self._random.uniform(0, bound))
            await self.pull()

    async def _poll(self) -> None:
        while True:
            await self._sleep(self._poll_interval)
            await self.push()
            await self.pull()

    # --- optimistic writes -------------------------------------------------------------------

    async def insert(self, entity: str, data: Row) -> str:
        """Show the row under a temporary id, queue it and push; the temporary id."""
        temporary = f"_pending_{int(self._now_ms())}_{_base36(self._random)}"
        self.rows[entity, temporary] = {"id": temporary, **data}
        await self._mutate(entity, temporary, "insert", data)
        return temporary

    async def update(self, entity: str, row_id: str, patch: Row) -> None:
        """Merge into the row if it is there, queue it and push."""
        if (entity, row_id) in self.rows:
            self.rows[entity, row_id] = {**self.rows[entity, row_id], **patch}
        await self._mutate(entity, row_id, "update", patch)

    async def delete(self, entity: str, row_id: str) -> None:
        """Remove the row for good, queue it and push."""
        self.rows.pop((entity, row_id), None)
        self.tombstones[entity, row_id] = MAX_SAFE_INTEGER
        await self._mutate(entity, row_id, "delete", None)

    async def _mutate(self, entity: str, row_id: str, kind: str, data: Row | None) -> None:
        op_id = f"mut_{int(self._now_ms())}_{_base36(self._random)}"
        change: dict[str, Any] = {"entity": entity, "row_id": row_id, "kind": kind, "op_id": op_id}
        if data is not None:
            change["data"] = dict(data)
        self.queue.append({"id": op_id, "change": change, "status": "pending"})
        self._save_queue()
        await self.push()

    async def push(self) -> None:
        """One push at a time; who calls meanwhile waits for the one in flight."""
        if self._pushing is None:
            self._pushing = asyncio.ensure_future(self._push())
            self._pushing.add_done_callback(self._pushed)
        await asyncio.shield(self._pushing)

    def _pushed(self, _: object) -> None:
        self._pushing = None

    async def _push(self) -> None:
        batch = [item for item in self.queue if item["status"] == "pending"]
        if not batch:
            return
        body = {"changes": [item["change"] for item in batch], "client_id": self.client_id}
        try:
            answer = await self._network.request(
                "POST", "/api/sync/push", token=self.token, body=body
            )
        except Offline:
            return
        if answer.status >= 300:
            return
        if self._is_newer:
            self._match(batch, answer.body["results"])
        else:
            self._count(batch, answer.body)
        self.queue = [item for item in self.queue if item["status"] != "applied"]
        self._save_queue()

    def _match(self, batch: list[dict[str, Any]], results: list[dict[str, Any]]) -> None:
        by_op = {result["op_id"]: result for result in results}
        for item in batch:
            result = by_op[item["id"]]
            if result["status"] in ("applied", "replayed"):
                item["status"] = "applied"
            elif result["status"] == "error":
                change = item["change"]
                row = "" if change["kind"] == "insert" else f"/{change['row_id']}"
                item["status"] = "failed"
                item["error"] = (
                    f"{change['kind']} {change['entity']}{row}: " + (result["error"]["message"])
                )

    def _count(self, batch: list[dict[str, Any]], body: dict[str, Any]) -> None:
        applied, errors = body["applied"], body["errors"]
        for place, item in enumerate(batch):
            if place < applied:
                item["status"] = "applied"
            elif place - applied < len(errors):
                item["status"] = "failed"
                item["error"] = errors[place - applied]

    def _save_queue(self) -> None:
        if self.persist:
            self._browser.mutations = [dict(item) for item in self.queue]

    # --- for tests ---------------------------------------------------------------------------

    def table(self, entity: str) -> dict[str, Row]:
        """The rows of an entity by id."""
        return {row_id: row for (name, row_id), row in self.rows.items() if name == entity}


def _base36(random: Random) -> str:
    return "".join(random.choice("0123456789abcdefghijklmnopqrstuvwxyz") for _ in range(8))
