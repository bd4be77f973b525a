"""Random apps of two entities that refer to each other and themselves: schemas, read rules, rows.

For the tests that hold the read doors and sync against a naive view of the same.
"""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
from hypothesis import strategies as st

from pylon.policy.nodes import Expr
from pylon.policy.syntax import format_expr
from pylon.schema.model import EntitySpec, FieldSpec, Manifest, PolicySpec, RelationSpec
from tests.data.questions import TEXTS, TIMES
from tests.policy.worlds import Draw, Pool, entities, exprs_of

Row = dict[str, Any]

OTHER = EntitySpec(
    name="Other",
    fields=(
        FieldSpec(name="thingId", type="id(Thing)", optional=True),
        FieldSpec(name="key", type="string", optional=True, caseInsensitive=True),
        FieldSpec(name="n", type="int", optional=True),
        FieldSpec(name="orgId", type="string", optional=True),
        FieldSpec(name="at", type="datetime", optional=True),
    ),
    relations=(
        RelationSpec(name="thing", target="Thing", field="thingId"),
        RelationSpec(name="likes", target="Thing", field="key", many=True),
        RelationSpec(name="things", target="Thing", field="otherId", many=True),
    ),
)
THING_FIELDS = (
    FieldSpec(name="upId", type="id(Thing)", optional=True),
    FieldSpec(name="otherId", type="id(Other)", optional=True),
    FieldSpec(name="key", type="string", optional=True),
)
THING_RELATIONS = (
    RelationSpec(name="up", target="Thing", field="upId"),
    RelationSpec(name="downs", target="Thing", field="upId", many=True),
    RelationSpec(name="other", target="Other", field="otherId"),
    RelationSpec(name="others", target="Other", field="thingId", many=True),
)


@st.composite
def apps(draw: Draw) -> tuple[Manifest, Random]:
    """An app, and the chance for all that is to happen with it."""
    random = Random(draw(st.integers(min_value=0, max_value=2**32)))
    drawn: EntitySpec = draw(entities)
    fields = tuple(
        msgspec.structs.replace(field, optional=True, private=random.random() < 0.2)
        for field in drawn.fields
    )
    thing = EntitySpec(name="Thing", fields=(*fields, *THING_FIELDS), relations=THING_RELATIONS)
    policies = tuple(
        PolicySpec(name=f"{entity.name}{number}", entity=entity.name, allow=format_expr(expr))
        for entity, other in ((thing, OTHER), (OTHER, thing))
        for number, expr in enumerate(_policies(draw, entity, other, random))
    )
    manifest = Manifest(name="app", version="1", entities=(thing, OTHER), policies=policies)
    return manifest, random


def _policies(draw: Draw, entity: EntitySpec, other: EntitySpec, random: Random) -> list[Expr]:
    """None, one or two, some of which ask for rows of the other entity; without any the entity is
    open."""
    rules = exprs_of(entity) | exprs_of(entity, other=other)
    return [draw(rules) for _ in range(random.choice((0, 1, 1, 2)))]


def rows_of(manifest: Manifest, random: Random) -> dict[str, list[Row]]:
    """Some rows of each entity, many of which refer to others."""
    pool = Pool(random=random)
    ids = {entity.name: [*TEXTS, *map(str, range(100, 106))] for entity in manifest.entities}
    made: dict[str, list[Row]] = {}
    for entity in manifest.entities:
        chosen = random.sample(ids[entity.name], random.randrange(14))
        made[entity.name] = [{**pool.row(entity), "id": row_id} for row_id in chosen]
    for entity in manifest.entities:
        known = {name: [row["id"] for row in rows] for name, rows in made.items()}
        for row in made[entity.name]:
            row |= values_of(entity, known, random)
    return made


def values_of(entity: EntitySpec, ids: dict[str, list[str]], random: Random) -> Row:
    """Times, and ids of rows that are there, for some fields of a row."""
    found: Row = {}
    for field in entity.fields:
        if field.kind == "datetime" and random.random() < 0.6:
            found[field.name] = random.choice(TIMES)
        targets = ids.get(field.target or "")
        if targets and random.random() < 0.7:
            found[field.name] = random.choice(targets)
    return found
