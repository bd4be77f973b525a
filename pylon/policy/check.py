"""What is wrong with a policy, for people: `schema check`, `dev`, `start` and editors.

The engine does not depend on these being called: a policy with a problem denies everybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from pylon.policy.lower import NO_ENTITIES, PolicyProblem, lower
from pylon.policy.nodes import Expr
from pylon.policy.slots import ENTITY_SLOTS, Slot, expression
from pylon.policy.texts import texts_of
from pylon.schema.model import EntitySpec, Manifest, PolicySpec

__all__ = ["PolicyProblem", "check", "check_manifest"]


def check(
    expr: Expr,
    *,
    entity: EntitySpec | None,
    slot: Slot,
    entities: Mapping[str, EntitySpec] = NO_ENTITIES,
) -> list[PolicyProblem]:
    """The problems of one expression; `entity` is None in the slot `action`, `entities` are those
    that an `exists` may name."""
    return lower(expr, entity=entity, slot=slot, entities=entities)[1]


def check_manifest(manifest: Manifest) -> list[PolicyProblem]:
    """Every problem of every policy, in manifest order, each mistake once.

    Targets that do not exist are the manifest validation's business and passed over here.
    """
    return [problem for policy in manifest.policies for problem in _problems_of(policy, manifest)]


def _problems_of(policy: PolicySpec, manifest: Manifest) -> list[PolicyProblem]:
    entities, texts = manifest.entities_by_name, texts_of(manifest)
    found: dict[tuple[str, str, int], PolicyProblem] = {}
    for slot, key, text in _uses(policy):
        entity = None if slot == "action" else entities.get(policy.entity or "")
        for problem in texts.lowered(text, entity, slot)[1]:
            if slot != "action" and entity is None and problem.code != "POLICY_SYNTAX":
                continue
            located = replace(problem, policy=policy.name, slot=slot, key=key)
            found.setdefault((key, problem.code, problem.offset), located)
    return list(found.values())


def _uses(policy: PolicySpec) -> Iterator[tuple[Slot, str, str]]:
    used: set[str] = set()
    slots: list[Slot] = list(ENTITY_SLOTS) if policy.entity is not None else []
    if policy.action is not None:
        slots.append("action")
    for slot in slots:
        chosen = expression(policy, slot)
        if chosen is not None:
            used.add(chosen[0])
            yield slot, *chosen
    for key, text in policy.expressions().items():
        if key not in used:
            # Overridden in every slot, but a mistake in it is still a mistake. An update rule
            # may name the most, so nothing right is reported.
            yield "update", key, text
