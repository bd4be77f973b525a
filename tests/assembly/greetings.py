"""A feature that no file of `pylon/` knows: it brings one of everything and works by being listed.

People leave greetings, kept in a table of its own; a worker counts them for a figure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pylon.config import Setting
from pylon.errors import PylonError
from pylon.hooks import Row, RowTx
from pylon.http.pipeline import Stage
from pylon.http.request import Request
from pylon.http.response import Response, json_response
from pylon.http.router import Router
from pylon.identity import Identity, require_session
from pylon.live.outlet import Outlet
from pylon.metrics import Metrics
from pylon.part import (
    Erase,
    ExportRows,
    Listener,
    Part,
    Periodic,
    Place,
    Routes,
    SocketMessages,
    Stopping,
    Worker,
)
from pylon.store.base import Store, Tx
from pylon.wiring import House

MOST = Setting(
    variable="PYLON_GREETINGS_MAX",
    field="greetings_max",
    default="3",
    meaning="Greetings that one person may leave.",
    parse=int,
)

BYTES_MAX = 20_000_000

TABLES = (
    ("CREATE TABLE _pylon_greetings (id INTEGER PRIMARY KEY, user_id TEXT NOT NULL)",),
    ("ALTER TABLE _pylon_greetings ADD COLUMN text TEXT NOT NULL DEFAULT ''",),
)


class Greetings:
    """The feature. `seen` says what happened to it, for the test."""

    def __init__(self, store: Store, most: int) -> None:
        self._store = store
        self._most = most
        self.counted = asyncio.Queue[str](100)
        self.count = 0
        self.ticks = 0
        self.seen: list[str] = []

    async def leave(self, user_id: str, text: str) -> None:
        async def unit(tx: Tx) -> None:
            count = "SELECT count(*) FROM _pylon_greetings WHERE user_id = ?"
            if (await tx.fetch(count, (user_id,)))[0][0] >= self._most:
                raise PylonError(409, "TOO_MANY_GREETINGS", "You have left enough greetings.")
            insert = "INSERT INTO _pylon_greetings (user_id, text) VALUES (?, ?)"
            await tx.execute(insert, (user_id, text))

        await self._store.write(unit)
        await self.counted.put(text)

    async def texts(self, user_id: str) -> list[dict[str, Any]]:
        found = await self._store.read(
            "SELECT text FROM _pylon_greetings WHERE user_id = ? ORDER BY id", (user_id,)
        )
        return [{"text": text} for (text,) in found]

    async def forget(self, user_id: str) -> int:
        async def unit(tx: Tx) -> int:
            return await tx.execute("DELETE FROM _pylon_greetings WHERE user_id = ?", (user_id,))

        return await self._store.write(unit)

    async def clear(self) -> None:
        async def unit(tx: Tx) -> int:
            return await tx.execute("DELETE FROM _pylon_greetings")

        await self._store.write(unit)

    async def tick(self) -> None:
        self.ticks += 1

    async def work(self, stopping: Stopping) -> None:
        """Count what is left; at a stop also what is still in the queue."""
        while not (stopping.is_set() and self.counted.empty()):
            try:
                async with asyncio.timeout(0.02):
                    await self.counted.get()
            except TimeoutError:
                continue
            self.count += 1
        self.seen.append("worker drained")


class GreetingRoutes:
    """`POST` and `GET /api/greetings`."""

    def __init__(self, greetings: Greetings) -> None:
        self._greetings = greetings

    def register(self, router: Router) -> None:
        router.add("POST", "/api/greetings", self.leave, summary="Leave a greeting")
        router.add("GET", "/api/greetings", self.show, summary="One's greetings")

    async def leave(self, request: Request) -> Response:
        await request.body(bytes_max=BYTES_MAX)
        body = await request.json()
        await self._greetings.leave(str(require_session(request.identity).user_id), body["text"])
        return json_response({"left": True}, 201)

    async def show(self, request: Request) -> Response:
        user_id = require_session(request.identity).user_id
        return json_response(await self._greetings.texts(str(user_id)))

    async def say(self, identity: Identity, _outlet: Outlet, said: dict[str, Any]) -> None:
        await self._greetings.leave(str(identity.user_id), str(said.get("text")))


def greetings(house: House) -> Greetings:
    return Greetings(house.store, house.config.value(MOST))


def routes_of(house: House) -> GreetingRoutes:
    return GreetingRoutes(house.once(greetings))


def _routes(house: House) -> Sequence[Routes]:
    return (house.once(routes_of),)


def _messages(house: House) -> SocketMessages:
    seen = house.once(greetings).seen
    return SocketMessages(
        handlers={"greet": house.once(routes_of).say},
        join=lambda _identity, _outlet: seen.append("socket came"),
        leave=lambda _outlet: seen.append("socket went"),
    )


def _stages(house: House) -> Mapping[Place, Stage]:
    def refuse_the_rude(request: Request) -> None:
        if request.header(b"x-manners") == "none":
            raise PylonError(403, "RUDE", f"Greet first, {request.identity.user_id}.")

    return {"request": refuse_the_rude}


def _hooks(house: House) -> None:
    async def shout(
        _tx: RowTx, _identity: Identity, _entity: str, _before: Row | None, data: Row
    ) -> None:
        if isinstance(data.get("text"), str):
            data["text"] = data["text"].upper()

    house.hooks.before_insert.append(shout)


def _listeners(house: House) -> Sequence[Listener]:
    feature = house.once(greetings)

    def hear(_messages: Sequence[object], _seq: int) -> None:
        feature.seen.append("commit heard")

    return (Listener(name="greetings", hear=hear),)


def _metrics(house: House, metrics: Metrics) -> None:
    feature = house.once(greetings)
    metrics.register_gauge("pylon_greetings", "Greetings counted.", lambda: feature.count)


def _erases(house: House) -> Mapping[str, Erase]:
    return {"greetings": house.once(greetings).forget}


def _exports(house: House) -> Mapping[str, ExportRows]:
    return {"greetings": house.once(greetings).texts}


async def _start(house: House) -> None:
    house.once(greetings).seen.append("started")


async def _stop(house: House) -> None:
    # The database is still open.
    left = await house.once(greetings).texts("ann")
    house.once(greetings).seen.append(f"stopped with {len(left)}")


GREETINGS = Part[House](
    name="greetings",
    tables=TABLES,
    settings=(MOST,),
    routes=_routes,
    stages=_stages,
    messages=_messages,
    body_bytes={"/api/greetings": BYTES_MAX},
    hooks=_hooks,
    listeners=_listeners,
    periodic=lambda house: (Periodic(name="tick", seconds=0.01, work=house.once(greetings).tick),),
    workers=lambda house: (Worker(name="count", run=house.once(greetings).work),),
    metrics=_metrics,
    ready=lambda house: {"greetings": house.once(greetings).ticks > 0},
    context={"greetings": greetings},
    erases=_erases,
    exports=_exports,
    resets=lambda house: (house.once(greetings).clear,),
    start=_start,
    drain=lambda house: house.once(greetings).seen.append("drained"),
    stop=_stop,
)
