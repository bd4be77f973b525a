"""A small app with people, projects and tasks for the tests of the read doors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pylon.data.rows import Rows
from pylon.identity import Identity
from pylon.schema.model import EntitySpec, FieldSpec, Manifest, PolicySpec, RelationSpec
from tests.data.reading import reading

ANN = Identity(user_id="ann", tenant_id="acme")
BOB = Identity(user_id="bob")


def spec(name: str, kind: str, *, private: bool = False) -> FieldSpec:
    return FieldSpec(name=name, type=kind, optional=True, private=private)


APP = Manifest(
    name="app",
    version="1",
    entities=(
        EntitySpec(
            name="Person",
            fields=(spec("name", "string"), spec("secret", "string", private=True)),
            relations=(
                RelationSpec(name="tasks", target="Task", field="ownerId", many=True),
                RelationSpec(name="hidden", target="Task", field="secretId", many=True),
            ),
        ),
        EntitySpec(
            name="Task",
            fields=(
                spec("title", "string"),
                spec("ownerId", "id(Person)"),
                spec("secretId", "id(Person)", private=True),
                spec("orgId", "string"),
                spec("rank", "int"),
                spec("score", "float"),
                spec("done", "bool"),
                spec("at", "datetime"),
            ),
            relations=(
                RelationSpec(name="owner", target="Person", field="ownerId"),
                RelationSpec(name="safe", target="Vault", field="ownerId"),
            ),
        ),
        EntitySpec(name="Vault", fields=(spec("gold", "int"),)),
    ),
    policies=(
        PolicySpec(name="t", entity="Task", allow="auth.userId == data.ownerId || data.rank == 0"),
        PolicySpec(name="v", entity="Vault", allow="false"),
    ),
)

PEOPLE = [{"id": "ann", "name": "Ann", "secret": "s"}, {"id": "bob", "name": "Bob"}]


def task(number: int, owner: str, **more: Any) -> dict[str, Any]:
    return {
        "id": f"t{number}",
        "title": f"task {number}",
        "ownerId": owner,
        "secretId": owner,
        "rank": number,
        "score": number / 2,
        "done": number % 2 == 0,
        "at": f"2026-01-{number + 1:02}T12:00:00Z",
        "orgId": "acme" if number < 3 else "other",
        **more,
    }


TASKS = [task(0, "bob"), *(task(n, "ann") for n in range(1, 6)), task(6, "bob")]


@asynccontextmanager
async def app(tasks: list[dict[str, Any]] | None = None) -> AsyncIterator[Rows]:
    stored = {"Person": PEOPLE, "Task": TASKS if tasks is None else tasks, "Vault": [{"id": "v"}]}
    async with reading(APP, stored) as rows:
        yield rows
