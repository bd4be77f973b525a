"""The OpenAPI document: valid whatever the manifest, whole, and true to it (spec 01 section 10)."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

import pylon.api.openapi.document as generator
from pylon.app import App
from pylon.config import Config
from pylon.http.describe import Docs
from pylon.http.router import Route, Router
from pylon.service import Service

ROOT = Path(__file__).parents[2]

PLACES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for pattern in ("examples/*/app.py", "tests/*/app.py", "tests/*/*_app.py")
    for path in ROOT.glob(pattern)
)


def apps_of(place: str) -> list[App]:
    module = importlib.import_module(place)
    return [value for value in vars(module).values() if isinstance(value, App)]


@asynccontextmanager
async def started(app: App, **env: str) -> AsyncIterator[Service]:
    service = app.service(Config.from_env({"PYLON_IN_MEMORY": "1", "PYLON_DEV_MODE": "1", **env}))
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def read(service: Service, root_path: str = "") -> dict[str, Any]:
    transport = httpx.ASGITransport(service, root_path=root_path)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        answer = await client.get(f"{root_path}/api/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    told: dict[str, Any] = answer.json()
    return told


@pytest.fixture
async def told() -> dict[str, Any]:
    """The document of `contract_app` in dev mode."""
    app = importlib.import_module("tests.api.contract_app").app
    async with started(app) as service:
        return await read(service)


def operations(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Operation id to method and path."""
    return {
        operation["operationId"]: (method, path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


@pytest.mark.parametrize("place", PLACES)
async def test_every_manifest_has_a_valid_document(place: str) -> None:
    for app in apps_of(place):
        async with started(app) as service:
            document = await read(service)
        OpenAPIV31SpecValidator(document).validate()
        entities = {entity.name for entity in app.manifest().entities}
        assert {f"/api/entities/{name}/{{id}}" for name in entities} <= set(document["paths"])
        assert entities <= set(document["components"]["schemas"])
        total = sum(len(methods) for methods in document["paths"].values())
        assert len(operations(document)) == total, "an operation id is used twice"


async def test_no_route_is_forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A route without `docs=` would be in no document; add them where it is registered."""
    tables: list[tuple[Route, ...]] = []

    def look(subject: Any, routes: tuple[Route, ...], **more: Any) -> dict[str, Any]:
        tables.append(routes)
        return {}

    monkeypatch.setattr("pylon.api.openapi.routes.document", look)
    async with started(importlib.import_module("tests.api.contract_app").app) as service:
        await read(service)
    (routes,) = tables
    assert len(routes) > 30
    missing = generator.undocumented(routes)
    assert not missing, f"give these routes `docs=`: {missing}"


def test_a_route_without_a_description_is_named() -> None:
    async def handler() -> Any: ...

    router = Router()
    router.add("GET", "/a", handler)
    router.add("POST", "/b", handler, docs=Docs(operation_id="b", tag="system", answers={}))
    assert generator.undocumented(router.routes()) == ["GET /a"]


# --- what it says ----------------------------------------------------------------------------

NAMED = {
    "healthCheck": ("get", "/health"),
    "getManifest": ("get", "/api/manifest"),
    "getOpenApiSpec": ("get", "/api/openapi.json"),
    "graphQuery": ("post", "/api/query"),
    "batchOperations": ("post", "/api/batch"),
    "atomicTransaction": ("post", "/api/transact"),
    "exportAll": ("get", "/api/export"),
    "createSession": ("post", "/api/auth/session"),
    "revokeSession": ("delete", "/api/auth/session"),
    "createGuestSession": ("post", "/api/auth/guest"),
    "listError": ("get", "/api/entities/Error"),
    "createError": ("post", "/api/entities/Error"),
    "getErrorById": ("get", "/api/entities/Error/{id}"),
    "updateError": ("patch", "/api/entities/Error/{id}"),
    "deleteError": ("delete", "/api/entities/Error/{id}"),
    "listErrorByCursor": ("get", "/api/entities/Error/cursor"),
    # An entity whose operation would have a name of the server's.
    "createSessionEntity": ("post", "/api/entities/Session"),
}
"""The names that the spec gives; those of entities as their app writes them."""


async def test_operations_have_the_names_of_the_spec(told: dict[str, Any]) -> None:
    found = operations(told)
    assert {name: found.get(name) for name in NAMED} == NAMED


async def test_parts_exist_only_where_the_entity_has_them(told: dict[str, Any]) -> None:
    paths = set(told["paths"])
    assert "/api/search/Session" in paths
    assert "/api/search/Error" not in paths
    assert "/api/crdt/Session/{id}" in paths
    assert "/api/crdt/Error/{id}" not in paths, "it has no documents"


async def test_schemas_follow_the_manifest(told: dict[str, Any]) -> None:
    schemas = told["components"]["schemas"]
    row, insert, patch = (schemas[f"Session{part}"] for part in ("", ".Insert", ".Patch"))
    assert "secret" not in row["properties"], "it is private"
    assert set(row["required"]) == set(row["properties"]), "every key is always there"
    assert row["properties"]["price"]["type"] == ["number", "null"]
    assert row["properties"]["dueAt"]["format"] == "date-time"
    assert row["properties"]["rank"]["type"] == "integer"
    assert insert["required"] == ["title", "rank"], "what has a default may be left out"
    assert insert["properties"]["isDone"]["default"] is False
    assert "secret" not in insert["properties"], "it is told to administrators only"
    assert "required" not in patch
    assert "id" not in patch["properties"]
    assert "code" in schemas["Pylon.Error"]["properties"]["error"]["properties"]
    assert set(schemas["Error"]["properties"]) == {"id", "text", "sessionId"}


async def test_rows_may_be_partial_only_where_fields_can_be_asked_for(told: dict[str, Any]) -> None:
    schemas = told["components"]["schemas"]
    whole, selected = schemas["Session"], schemas["Session.Selected"]
    assert selected["properties"] == whole["properties"]
    assert selected["required"] == ["id"]
    part = {"$ref": "#/components/schemas/Session.Selected"}
    for name in (".List", ".Page", ".Counted"):
        assert schemas[f"Session{name}"]["properties"]["data"]["items"] == part
    assert schemas["GraphResult"]["properties"]["Session"]["items"] == part
    paths = told["paths"]
    for path in ("/api/entities/Session/{id}", "/api/lookup/Session/{field}/{value}"):
        answer = paths[path]["get"]["responses"]["200"]["content"]["application/json"]
        assert answer["schema"] == part
    found = paths["/api/search/Session"]["post"]["responses"]["200"]["content"]["application/json"]
    hits = found["schema"]["properties"]["hits"]
    assert hits["items"] == {"$ref": "#/components/schemas/Session"}, "it selects nothing"


async def test_errors_have_their_codes(told: dict[str, Any]) -> None:
    answers = told["paths"]["/api/entities/Error"]["post"]["responses"]
    named = told["components"]["responses"][answers["409"]["$ref"].rpartition("/")[2]]
    base, codes = named["content"]["application/json"]["schema"]["allOf"]
    assert base == {"$ref": "#/components/schemas/Pylon.Error"}
    assert codes["properties"]["error"]["properties"]["code"] == {
        "enum": ["IDEMPOTENCY_KEY_IN_USE", "ID_TAKEN"]
    }
    assert set(answers) >= {"201", "400", "403", "409", "413", "429", "500", "503", "507"}
    assert "4XX" not in answers, "the app has no hooks"


async def test_hooks_may_have_codes_of_their_own() -> None:
    async with started(importlib.import_module("tests.api.bulk_app").app) as service:
        document = await read(service)
    path = document["paths"]["/api/entities/Todo/{id}"]
    assert "4XX" in path["delete"]["responses"]
    assert "4XX" not in path["get"]["responses"]


async def test_policies_are_told_in_dev_mode_and_to_administrators(tmp_path: Path) -> None:
    app = importlib.import_module("tests.api.contract_app").app
    token = "t" * 40
    env = {
        "PYLON_DEV_MODE": "0",
        "PYLON_IN_MEMORY": "0",
        "PYLON_DB_PATH": str(tmp_path / "app.db"),
        "PYLON_ADMIN_TOKEN": token,
    }
    rule = "data.ownerId"
    async with started(app, **env) as service:
        transport = httpx.ASGITransport(service)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            path = "/api/openapi.json"
            assert rule not in (await client.get(path)).text
            admin = {"authorization": f"Bearer {token}"}
            full = await client.get(path, headers=admin)
            assert rule in full.text
            inserted = full.json()["components"]["schemas"]["Session.Insert"]
            assert inserted["properties"]["secret"]["writeOnly"] is True
            assert rule not in (await client.get(path)).text, "the kept one is not the other"
    async with started(app) as service:
        document = await read(service)
    assert rule in document["paths"]["/api/entities/Session"]["get"]["description"]


async def test_a_mounted_app_names_its_prefix(told: dict[str, Any]) -> None:
    assert told["servers"] == [{"url": "/"}]
    async with started(importlib.import_module("tests.api.contract_app").app) as service:
        assert (await read(service, "/live"))["servers"] == [{"url": "/live"}]
