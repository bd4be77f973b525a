"""Every write path fires every hook: a matrix over the routes that say that they write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import httpx
import pytest
from loro import ExportMode, LoroDoc

from pylon.config import Config
from pylon.http.describe import Docs
from pylon.http.router import Route
from pylon.service import Service
from tests.api import hooks_app
from tests.server import ADMIN_TOKEN, bearer

NOTES = "/api/entities/Note"
ANN = "a" * 40
OTHER = "b" * 40

WITHOUT_ROWS = {
    "POST /api/auth/session",
    "DELETE /api/auth/session",
    "POST /api/auth/guest",
    "POST /api/auth/upgrade",
    "POST /api/auth/refresh",
    "POST /api/auth/pair",
    "POST /api/auth/pair/redeem",
    "DELETE /api/auth/sessions",
    "DELETE /api/auth/sessions/{id}",
}
"""Routes that write sessions and no rows of entities."""


class World(NamedTuple):
    """A caller who may do everything, and a row that is there."""

    client: httpx.AsyncClient
    row: str

    def operation(self, op: str, **more: Any) -> dict[str, Any]:
        return {"op": op, "entity": "Note", "id": self.row, **more}


Act = Callable[[World], Awaitable[httpx.Response]]


def update_of_a_document() -> str:
    """What sets the title, whatever it was: enough edits to be the last."""
    document = LoroDoc()  # type: ignore[no-untyped-call]
    nothing = document.oplog_vv
    for number in range(50):
        document.get_map("row").insert("title", f"edit {number}")
        document.commit()
    return document.export(ExportMode.Updates(nothing)).hex()


def bulk(world: World) -> list[dict[str, Any]]:
    return [
        world.operation("insert", data={"title": "b"}),
        world.operation("update", data={"title": "b"}),
        world.operation("delete"),
    ]


def pushed(world: World) -> dict[str, Any]:
    row = {"entity": "Note", "row_id": world.row}
    return {
        "changes": [
            {"entity": "Note", "row_id": "_pending_1", "kind": "insert", "data": {"title": "c"}},
            {**row, "kind": "update", "data": {"title": "c"}, "op_id": "1"},
            {**row, "kind": "delete", "op_id": "2"},
        ]
    }


def linking(world: World) -> dict[str, Any]:
    return {"entity": "Note", "id": world.row, "relation": "parent", "target_id": world.row}


def imported(world: World) -> dict[str, Any]:
    return {"entities": {"Note": [{"id": OTHER, "title": "d"}, {"id": world.row, "title": "d"}]}}


EVERYTHING = ("insert", "update", "delete")

MATRIX: dict[str, tuple[tuple[str, ...], Act]] = {
    "POST /api/entities/{entity}": (
        ("insert",),
        lambda w: w.client.post(NOTES, json={"title": "a"}),
    ),
    "PATCH /api/entities/{entity}/{id*}": (
        ("update",),
        lambda w: w.client.patch(f"{NOTES}/{w.row}", json={"title": "a"}),
    ),
    "DELETE /api/entities/{entity}/{id*}": (
        ("delete",),
        lambda w: w.client.delete(f"{NOTES}/{w.row}"),
    ),
    "POST /api/transact": (
        EVERYTHING,
        lambda w: w.client.post("/api/transact", json={"operations": bulk(w)}),
    ),
    "POST /api/batch": (
        EVERYTHING,
        lambda w: w.client.post("/api/batch", json={"operations": bulk(w)}),
    ),
    "POST /api/link": (("update",), lambda w: w.client.post("/api/link", json=linking(w))),
    "POST /api/unlink": (("update",), lambda w: w.client.post("/api/unlink", json=linking(w))),
    "POST /api/import": (
        ("insert", "update"),
        lambda w: w.client.post("/api/import?mode=upsert", json=imported(w)),
    ),
    "DELETE /api/admin/users/{id}/purge": (
        ("delete",),
        lambda w: w.client.delete(f"/api/admin/users/{ANN}/purge"),
    ),
    "POST /api/__test__/reset": (
        ("delete",),
        lambda w: w.client.post("/api/__test__/reset"),
    ),
    "POST /api/sync/push": (
        EVERYTHING,
        lambda w: w.client.post("/api/sync/push", json=pushed(w)),
    ),
    "POST /api/crdt/{entity}/{id*}": (
        ("update",),
        lambda w: w.client.post(f"/api/crdt/Note/{w.row}", json={"update": update_of_a_document()}),
    ),
}
"""By route: what it does to rows, and how it is asked to."""


def routes_of(service: Service) -> list[Route]:
    assert service.house is not None
    return list(service.house.router.routes())


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    started = hooks_app.app.service(
        Config(in_memory=True, dev_mode=True, admin_token=ADMIN_TOKEN, access_log=False)
    )
    await started.start()
    hooks_app.fired.clear()
    yield started
    await started.stop()


@pytest.fixture
async def world(service: Service) -> AsyncIterator[World]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(service),
        base_url="http://localhost",
        headers=bearer(ADMIN_TOKEN),
    ) as client:
        made = await client.post(NOTES, json={"title": "first", "ownerId": ANN})
        await heard({"committed"})
        hooks_app.fired.clear()
        yield World(client, made.json()["id"])


async def heard(of: set[str]) -> None:
    """Wait until hooks of these times have been called; the test's own bound is the runner's."""
    while not of <= {when for when, _, _ in hooks_app.fired}:  # noqa: ASYNC110
        await asyncio.sleep(0.002)


async def test_every_route_that_writes_is_in_the_matrix(service: Service) -> None:
    writing = {
        f"{route.method} {route.pattern}"
        for route in routes_of(service)
        if isinstance(route.docs, Docs) and route.docs.store == "writes"
    }
    assert writing == MATRIX.keys() | WITHOUT_ROWS, "say what the new route fires"


@pytest.mark.parametrize("route", MATRIX)
async def test_every_write_path_fires_every_hook(world: World, route: str) -> None:
    kinds, act = MATRIX[route]
    answer = await act(world)
    assert answer.status_code < 300, answer.text
    expected = [(when, kind, "Note") for kind in kinds for when in ("before", "after")]
    in_unit = [call for call in hooks_app.fired if call[0] != "committed"]
    assert in_unit == expected
    for kind in kinds:
        while ("committed", kind, "Note") not in hooks_app.fired:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
    committed = [call for call in hooks_app.fired if call[0] == "committed"]
    assert committed == [("committed", kind, "Note") for kind in kinds]


async def test_routes_without_rows_fire_none(world: World) -> None:
    answer = await world.client.post("/api/auth/session", json={"user_id": "u"})
    assert answer.status_code == 201
    assert hooks_app.fired == []
