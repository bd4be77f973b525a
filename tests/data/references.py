"""An app whose rows name one another in every way, and what must hold of it at any time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pylon import limits
from pylon.data.references import Reference, references_of
from pylon.schema.model import Manifest
from pylon.store.base import Store
from pylon.store.naming import quote
from tests.sync.world import World, field, world


def relation(name: str, target: str, key: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "target": target, "field": key, **more}


def entity(name: str, *keys: dict[str, Any], relations: tuple[dict[str, Any], ...]) -> Any:
    return {
        "name": name,
        "fields": [field("title", "string"), field("ownerId", "string"), *keys],
        "indexes": [],
        "relations": list(relations),
    }


APP = {
    "manifest_version": 1,
    "name": "names",
    "version": "1",
    "routes": [],
    "entities": [
        entity("Team", relations=()),
        entity(
            "Project",
            field("teamId", "id(Team)"),
            relations=(relation("team", "Team", "teamId", check=True, onDelete="cascade"),),
        ),
        entity(
            "Task",
            field("projectId", "id(Project)"),
            field("teamId", "id(Team)"),
            field("parentId", "id(Task)"),
            field("blockerId", "id(Task)"),
            field("leadId", "id(Person)", private=True),
            relations=(
                relation("project", "Project", "projectId", check=True, onDelete="cascade"),
                relation("team", "Team", "teamId", check=True, onDelete="restrict"),
                relation("parent", "Task", "parentId", check=True, onDelete="cascade"),
                relation("blocker", "Task", "blockerId", check=True, onDelete="set_null"),
                relation("lead", "Person", "leadId", check=True, onDelete="set_null"),
            ),
        ),
        entity(
            "Person",
            field("chiefId", "string"),
            relations=(relation("chief", "Person", "chiefId", check=True, onDelete="restrict"),),
        ),
        entity(
            "Loose",
            field("taskId", "id(Task)"),
            relations=(relation("task", "Task", "taskId"),),
        ),
    ],
    "policies": [
        {"name": "all", "entity": name, "allow": "true"}
        for name in ("Team", "Project", "Task", "Person", "Loose")
    ],
}


@asynccontextmanager
async def unhurried(app: dict[str, Any] = APP) -> AsyncIterator[World]:
    """The world of an app whose hooks may take their time, however busy the machine is."""
    async with world(app) as opened:
        opened.rows.hook_seconds = limits.UNIT_SECONDS_MAX
        yield opened


def all_references(manifest: Manifest) -> list[Reference]:
    return [each for entity in manifest.entities for each in references_of(entity)]


async def dangling(store: Store, manifest: Manifest) -> list[str]:
    """Rows that name rows which are not there."""
    found = []
    for each in all_references(manifest):
        key = f"c.{quote(each.field)}"
        rows = await store.read(
            f"SELECT c.id, {key} FROM {quote(each.entity)} c WHERE {key} IS NOT NULL"
            f" AND NOT EXISTS (SELECT 1 FROM {quote(each.target)} t WHERE t.id = {key})"
        )
        found += [f"{each.entity} {row[0]}.{each.field} = {row[1]}" for row in rows]
    return found
