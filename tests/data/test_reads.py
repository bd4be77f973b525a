"""A record of reads says enough to know when an answer may have changed, and costs nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from pylon import limits
from pylon.codec import encode
from pylon.data.aggregate import Aggregates
from pylon.data.door import ReadDoor
from pylon.data.graph import Graphs
from pylon.data.query import Queries
from pylon.data.reads import Read, ReadRecord
from pylon.errors import PylonError
from pylon.identity import ADMIN, Identity
from pylon.schema.model import Manifest
from pylon.schema.parse import parse_manifest
from tests.data.reading import reading

ANN = Identity(user_id="ann")

APP = {
    "manifest_version": 1,
    "name": "reads",
    "version": "1",
    "entities": [
        {
            "name": "Task",
            "fields": [{"name": "listId", "type": "id(List)", "optional": True, "unique": False}],
            "indexes": [],
            "relations": [{"name": "list", "target": "List", "field": "listId", "many": False}],
        },
        {
            "name": "List",
            "fields": [{"name": "name", "type": "string", "optional": True, "unique": False}],
            "indexes": [],
        },
        {
            "name": "Member",
            "fields": [
                {"name": "listId", "type": "string", "optional": True, "unique": False},
                {"name": "userId", "type": "string", "optional": True, "unique": False},
            ],
            "indexes": [],
        },
    ],
    "routes": [],
    "policies": [
        {
            "name": "lists",
            "entity": "List",
            "allowRead": "exists(Member, listId == data.id && userId == auth.userId)",
        }
    ],
}


def manifest() -> Manifest:
    parsed, problems = parse_manifest(encode(APP))
    assert parsed is not None, problems
    return parsed


STORED = {
    "Task": [{"id": "t1", "listId": "l1"}, {"id": "t2"}],
    "List": [{"id": "l1", "name": "first"}],
    "Member": [{"id": "m1", "listId": "l1", "userId": "ann"}],
}

TASKS, LISTS, MEMBERS = (Read(entity=name) for name in ("Task", "List", "Member"))


async def test_every_question_is_recorded() -> None:
    async with reading(manifest(), STORED) as rows:

        async def reads(caller: Identity, kind: str, entity: str, body: object) -> set[Read]:
            record = ReadRecord()
            door = ReadDoor(rows, record=record)
            if kind == "query":
                await Queries(door).find(caller, entity, body)
            elif kind == "json":
                await Queries(door).find_json(caller, entity, body)
            elif kind == "lookup":
                await Queries(door).lookup(caller, entity, "id", "t1")
            elif kind == "sums":
                await Aggregates(door).run(caller, entity, body)
            else:
                await Graphs(door).find(caller, body)
            return set(record.reads())

        assert await reads(ANN, "query", "Task", {}) == {TASKS}
        assert await reads(ANN, "json", "Task", {}) == {TASKS}
        assert await reads(ANN, "lookup", "Task", {}) == {TASKS}
        assert await reads(ANN, "sums", "Task", {"count": "*"}) == {TASKS}
        # Whose rows decide who sees a list is part of the answer; an administrator sees all.
        assert await reads(ANN, "query", "List", {}) == {LISTS, MEMBERS}
        assert await reads(ADMIN, "query", "List", {}) == {LISTS}
        with_lists: dict[str, Any] = {"Task": {"include": {"list": {}}}}
        assert await reads(ANN, "graph", "", with_lists) == {TASKS, LISTS, MEMBERS}


async def test_rows_asked_for_by_their_ids_are_recorded_as_such() -> None:
    async with reading(manifest(), STORED) as rows:
        record = ReadRecord()
        door = ReadDoor(rows, record=record)
        assert (await door.get(ANN, "Task", "t1"))["listId"] == "l1"
        with pytest.raises(PylonError):
            await door.get(ANN, "Task", "none")
        (read,) = record.reads()
        assert read == Read(entity="Task", ids=frozenset({"t1", "none"}))
        assert read.concerns("Task", "none")
        assert not read.concerns("Task", "t2")
        assert not read.concerns("List", "t1")
        await door.list(ANN, "Task", limit=1, offset=0)
        assert set(record.reads()) == {TASKS}
        assert TASKS.concerns("Task", "t2")
        await door.page(ANN, "List", after="", limit=1)
        assert set(record.reads()) == {TASKS, LISTS, MEMBERS}


def test_too_many_ids_are_all_rows() -> None:
    record = ReadRecord()
    for number in range(limits.READ_IDS_RECORDED_MAX + 1):
        record.note_row("Task", str(number))
    assert record.reads() == (TASKS,)
    record.note_row("Task", "one more")
    assert record.reads() == (TASKS,)
