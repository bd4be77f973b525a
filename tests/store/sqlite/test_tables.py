"""The tables and indexes of an entity, in a real database."""

from __future__ import annotations

import apsw
import pytest

from pylon.schema.model import EntitySpec, FieldSpec, IndexSpec, Manifest
from pylon.store.tables import wanted_indexes
from tests.store.sqlite.fresh import fresh_schema

TASK = EntitySpec(
    name="Task",
    fields=(
        FieldSpec(name="ownerId", type="id(User)"),
        FieldSpec(name="rank", type="int"),
        FieldSpec(name="slug", type="string", unique=True),
    ),
    indexes=(
        IndexSpec(name="by_owner", fields=("ownerId",)),
        IndexSpec(name="by_owner_rank", fields=("ownerId", "rank")),
        IndexSpec(name="one_slug", fields=("ownerId", "slug"), unique=True),
    ),
)


def test_indexes_end_with_the_id_but_unique_ones() -> None:
    assert {index.name: index.fields for index in wanted_indexes(TASK)} == {
        "Task_slug_unique": ("slug",),
        "Task_by_owner": ("ownerId", "id"),
        "Task_by_owner_rank": ("ownerId", "rank", "id"),
        "Task_one_slug": ("ownerId", "slug"),
    }


@pytest.mark.parametrize(
    "query",
    [
        "t.ownerId = ?1 AND t.id > ?2 ORDER BY t.id LIMIT 21",
        "t.ownerId = ?1 ORDER BY t.rank DESC, t.id DESC LIMIT 20",
        "t.ownerId = ?1 AND t.rank = ?2 AND t.id < ?3 ORDER BY t.id DESC LIMIT 20",
    ],
)
def test_a_page_is_read_where_it_begins(query: str) -> None:
    database = apsw.Connection(":memory:")
    for statement in fresh_schema(Manifest(name="a", version="1", entities=(TASK,))):
        database.execute(statement)
    plan = [
        row[3]
        for row in database.execute(
            f"EXPLAIN QUERY PLAN SELECT t.* FROM Task t WHERE {query}", (None,) * query.count("?")
        )
    ]
    assert len(plan) == 1, plan
    assert plan[0].startswith("SEARCH t USING INDEX Task_by_owner")
