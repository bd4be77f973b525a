"""Two services over one database and one bus, as if each were a process of its own.

The first owns the database; the second has the other duties only, and a store that it can but read.
It asks the first by calls, and hears of commits by messages, that are encoded and decoded. Both are
real servers with ports of their own, in the test's loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import httpx
from websockets.asyncio.client import ClientConnection, connect

from pylon import codec
from pylon.calls import LoopbackCalls
from pylon.config import Config
from pylon.errors import PylonError
from pylon.schema.parse import parse_manifest
from pylon.service import Service
from pylon.store.base import ServedStore, StoreFigures, Unit
from pylon.testing.bus import Network, NetworkBus
from pylon.wiring import House, Process
from tests.http.live import Live, live
from tests.passing import PassingStore
from tests.server import ADMIN_TOKEN, bearer
from tests.sync.world import NOTES

ENVIRONMENT = {
    "PYLON_DEV_MODE": "1",
    "PYLON_ADMIN_TOKEN": ADMIN_TOKEN,
    "PYLON_ACCESS_LOG": "0",
    "PYLON_PRESENCE": "all",
}

WAIT_SECONDS = 20.0

T = TypeVar("T")


class ReadingStore(PassingStore):
    """The database as a process has it that does not own it: whoever tries to write is refused, and
    noted in `tried`."""

    def __init__(self, owned: ServedStore) -> None:
        super().__init__(owned)
        self._owned = owned
        self.tried: list[str] = []

    async def write(
        self, unit: Unit[T], *, alone: bool = False, compute_seconds: float | None = None
    ) -> T:
        return self._refuse(unit)

    async def hold(self, unit: Unit[T], *, compute_seconds: float | None = None) -> T:
        return self._refuse(unit)

    def _refuse(self, unit: Unit[T]) -> T:
        self.tried.append(getattr(unit, "__qualname__", repr(unit)))
        raise PylonError(500, "QUERY_FAILED", f"{self.tried[-1]} does not run where it must")

    @property
    def figures(self) -> StoreFigures:
        return self._owned.figures

    @property
    def trouble(self) -> str | None:
        return self._owned.trouble

    async def probe(self) -> None:
        await self._owned.probe()

    @property
    def is_stuck(self) -> bool:
        return self._owned.is_stuck

    @property
    def schema_is_current(self) -> bool:
        return self._owned.schema_is_current

    async def look_at_schema(self) -> None:
        await self._owned.look_at_schema()


class One:
    """One of the two, and clients of it."""

    def __init__(self, service: Service, server: Live, bus: NetworkBus) -> None:
        self.service, self.server, self.bus = service, server, bus

    @property
    def house(self) -> House:
        assert self.service.house is not None
        return self.service.house

    def client(self, token: str | None = ADMIN_TOKEN) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.server.url,
            headers=bearer(token),
            trust_env=False,
            verify=False,  # certificates take long to read, and nobody speaks TLS here
            timeout=60,
        )

    def socket(self, token: str) -> connect:
        return connect(f"{self.server.ws_url}/ws", additional_headers=bearer(token), proxy=None)

    async def token_of(self, user_id: str) -> str:
        async with self.client() as admin:
            answer = await admin.post("/api/auth/session", json={"user_id": user_id})
        token = answer.json()["token"]
        assert isinstance(token, str)
        return token


@asynccontextmanager
async def two(
    app: Mapping[str, Any] = NOTES, /, **environment: str
) -> AsyncIterator[tuple[One, One, Network]]:
    """Both, started; the owner first. At the end the second must not have tried to write."""
    manifest, problems = parse_manifest(codec.encode(app))
    assert manifest is not None, problems
    config = Config.from_env({**ENVIRONMENT, **environment}, in_memory=True)
    apart = replace(config, loopback=True)
    network = Network()
    buses = network.join(), network.join()
    owner = Service(manifest, config, process=Process(bus=buses[0]))
    async with live(owner, has_lifespan=True) as first:
        assert owner.house is not None
        store = ReadingStore(owner.house.store)
        process = Process(
            bus=buses[1],
            duties=frozenset(("every process",)),
            owner=LoopbackCalls(owner.house.call_table),
            store=store,
            session_store=owner.house.session_store,
        )
        other = Service(manifest, apart, process=process)
        async with live(other, has_lifespan=True) as second:
            yield One(owner, first, buses[0]), One(other, second, buses[1]), network
        assert store.tried == []


async def until(is_so: Callable[[], object]) -> None:
    """Wait for something that is only seen from within."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def hear(socket: ClientConnection, **wanted: Any) -> dict[str, Any]:
    """The next message that has these members."""
    while True:
        text = await asyncio.wait_for(socket.recv(), WAIT_SECONDS)
        message: dict[str, Any] = codec.decode_trusted(text)
        if wanted.items() <= message.items():
            return message
