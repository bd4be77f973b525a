"""Names and counts that the database or a client could not carry."""

from __future__ import annotations

from typing import Any

import pytest

from pylon.limits import ENTITIES_MAX, FIELDS_PER_ENTITY_MAX, NAME_CHARACTERS_MAX
from pylon.schema.validate import validate
from tests.schema.samples import a_field, an_app, an_entity, codes, parsed

INDEX = {"fields": ["title"], "unique": False}
LONG = "x" * (NAME_CHARACTERS_MAX + 1)


@pytest.mark.parametrize(
    ("code", "wire"),
    [
        ("IDENTIFIER_INVALID", an_app(an_entity("my notes"))),
        ("IDENTIFIER_INVALID", an_app(an_entity("1st"))),
        ("IDENTIFIER_INVALID", an_app(an_entity("N", a_field("naïve")))),
        ("IDENTIFIER_INVALID", an_app(an_entity("N", a_field('a"; DROP TABLE x')))),
        ("IDENTIFIER_INVALID", an_app(an_entity(indexes=[{"name": "by-title", **INDEX}]))),
        ("NAME_RESERVED", an_app(an_entity("N", a_field("id")))),
        ("NAME_RESERVED", an_app(an_entity("N", a_field("ID")))),
        ("NAME_RESERVED", an_app(an_entity("N", a_field("rowid")))),
        ("NAME_RESERVED", an_app(an_entity("_pylon_log"))),
        ("NAME_RESERVED", an_app(an_entity("SQLite_master"))),
        ("NAME_RESERVED", an_app(an_entity("N", a_field("_pylonSecret")))),
        ("NAME_RESERVED", an_app(an_entity("N", a_field("True")))),
        ("NAME_RESERVED", an_app(an_entity("JSON_each"))),
        ("NAME_RESERVED", an_app(an_entity("pragma_table_info"))),
        ("ENTITY_CASE_CLASH", an_app(an_entity("Note"), an_entity("note"))),
        ("FIELD_CASE_CLASH", an_app(an_entity("N", a_field("ownerId"), a_field("ownerID")))),
        (
            "INDEX_CASE_CLASH",
            an_app(an_entity(indexes=[{"name": "a", **INDEX}, {"name": "A", **INDEX}])),
        ),
        ("NAME_TOO_LONG", an_app(an_entity(LONG))),
        ("NAME_TOO_LONG", an_app(an_entity("N", a_field(LONG)))),
        ("NAME_TOO_LONG", an_app(actions=[{"name": LONG}])),
        ("ENTITIES_TOO_MANY", an_app(*(an_entity(f"E{n}") for n in range(ENTITIES_MAX + 1)))),
        (
            "FIELDS_TOO_MANY",
            an_app(an_entity("N", *(a_field(f"f{n}") for n in range(FIELDS_PER_ENTITY_MAX + 1)))),
        ),
    ],
)
def test_each_bad_name_is_told_with_a_hint(code: str, wire: dict[str, Any]) -> None:
    found = validate(parsed(wire))
    assert codes(found) == [code]
    assert found[0].hint


def test_a_legal_spelling_is_suggested() -> None:
    (finding,) = validate(parsed(an_app(an_entity("my notes!"))))
    assert '"my_notes"' in (finding.hint or "")


def test_the_bounds_themselves_are_fine() -> None:
    wire = an_app(an_entity("N" * NAME_CHARACTERS_MAX, a_field("_under"), a_field("mixedCase1")))
    assert validate(parsed(wire)) == []
