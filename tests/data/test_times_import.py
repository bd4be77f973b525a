"""An import by a key that is a time finds rows by the moment."""

from __future__ import annotations

from pylon.data.imports import key_of
from pylon.schema.model import EntitySpec, FieldSpec, IndexSpec, Manifest
from tests.data.reading import reading


async def test_a_time_is_a_key() -> None:
    fields = (FieldSpec(name="at", type="datetime"), FieldSpec(name="place", type="string"))
    one = IndexSpec(name="one", fields=("place", "at"), unique=True)
    entity = EntitySpec(name="Log", fields=fields, indexes=(one,))
    async with reading(Manifest(name="a", version="1", entities=(entity,)), {}) as rows:
        assert key_of(rows, "Log", ["at", "place"]).fields == ("at", "place")
