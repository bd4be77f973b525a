"""The document of a large app is made beside the loop, once for all who ask at the same time."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from pylon.api.openapi import routes
from pylon.api.openapi.document import Subject, document
from pylon.api.openapi.routes import OpenApiRoutes
from pylon.http.request import Request
from pylon.identity import ADMIN
from pylon.schema.model import EntitySpec, FieldSpec, Manifest

FIELDS = tuple(FieldSpec(name=f"f{n}", type="string", optional=True) for n in range(3))
MANIFEST = Manifest(
    name="large",
    version="1",
    entities=tuple(EntitySpec(name=f"Entity{n}", fields=FIELDS) for n in range(5)),
)


def request(*, is_admin: bool = False, root_path: str = "") -> Request:
    async def receive() -> Any:
        raise AssertionError("no body is read")

    found = Request({"path": "/api/openapi.json", "headers": [], "root_path": root_path}, receive)
    if is_admin:
        found.identity = ADMIN
    return found


async def test_it_is_made_on_a_thread_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made_on: list[threading.Thread] = []

    def watched(*given: Any, **more: Any) -> Any:
        made_on.append(threading.current_thread())
        return document(*given, **more)

    monkeypatch.setattr("pylon.api.openapi.routes.document", watched)
    subject = Subject(manifest=MANIFEST, cookie_name="s", has_hooks=False)
    openapi = OpenApiRoutes(subject, lambda: (), dev_mode=False)
    bodies = {
        answer.body
        for answer in await asyncio.gather(*(openapi.read_document(request()) for _ in range(9)))
    }
    assert len(bodies) == len(made_on) == 1
    await openapi.read_document(request(is_admin=True))
    assert len(made_on) == 2
    assert threading.main_thread() not in made_on


async def test_made_up_addresses_are_answered_and_not_kept() -> None:
    subject = Subject(manifest=MANIFEST, cookie_name="s", has_hooks=False)
    openapi = OpenApiRoutes(subject, lambda: (), dev_mode=False)
    many = routes.PREFIXES_KEPT_MAX + 3
    answers = [await openapi.read_document(request(root_path=f"/p{n}")) for n in range(many)]
    assert len({answer.body for answer in answers}) == many
    assert len(openapi._made) == routes.PREFIXES_KEPT_MAX
