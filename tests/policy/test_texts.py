"""Each policy text of a manifest is lowered once, and means the same as lowered by itself."""

from __future__ import annotations

from hypothesis import given

from pylon.policy.check import check_manifest
from pylon.policy.engine import PolicyEngine
from pylon.policy.lower import lower
from pylon.policy.slots import ENTITY_SLOTS
from pylon.policy.syntax import format_expr, parse
from pylon.policy.texts import texts_of
from pylon.schema.model import EntitySpec, FieldSpec, Manifest, PolicySpec
from tests.policy.worlds import World, effort, worlds

DOC = EntitySpec(name="Doc", fields=(FieldSpec(name="ownerId", type="string", optional=True),))


def app(**texts: str) -> Manifest:
    policy = PolicySpec(name="p", entity="Doc", **texts)
    return Manifest(name="app", version="1", entities=(DOC,), policies=(policy,))


def test_the_slots_of_an_entity_share_what_does_not_depend_on_them() -> None:
    manifest = app(allow="auth.userId == data.ownerId")
    check_manifest(manifest)
    PolicyEngine(manifest, open_by_default=False)
    texts = texts_of(manifest)
    assert texts is texts_of(manifest)
    assert len(texts._lowered) == 1
    made = [texts.lowered("auth.userId == data.ownerId", DOC, slot) for slot in ENTITY_SLOTS]
    assert all(each is made[0] for each in made)


def test_the_stored_row_is_there_in_updates_only() -> None:
    manifest = app(allow="existing.ownerId == auth.userId")
    found = check_manifest(manifest)
    assert {problem.slot for problem in found} == {"read"}
    rules = PolicyEngine(manifest, open_by_default=False).entity("Doc")
    assert (rules.read.constant, rules.update.constant) == (False, None)


def test_a_text_that_does_not_parse_is_told_and_never_holds() -> None:
    formula, problems = texts_of(app()).lowered("data.ownerId ==", DOC, "read")
    assert [problem.code for problem in problems] == ["POLICY_SYNTAX"]
    assert formula == texts_of(app()).lowered("false", DOC, "read")[0]


@effort(120)
@given(worlds())
def test_the_same_as_lowered_alone(world: World) -> None:
    text = format_expr(world.expr)
    entities = (world.entity, world.other)
    manifest = Manifest(name="app", version="1", entities=entities)
    by_name = manifest.entities_by_name
    for slot in ENTITY_SLOTS:
        alone = lower(parse(text), entity=world.entity, slot=slot, entities=by_name)
        assert texts_of(manifest).lowered(text, world.entity, slot) == (alone[0], tuple(alone[1]))
