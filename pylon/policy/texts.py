"""The policy texts of a manifest, each read and lowered once.

The checks, the advice and the engine of a start all need them. What is found is kept with the
manifest, which never changes.
"""

from __future__ import annotations

from collections.abc import Iterable

from pylon.policy.formula import FALSE, Formula
from pylon.policy.lower import PolicyProblem, lower
from pylon.policy.slots import Slot, expression
from pylon.policy.syntax import PolicySyntaxError, parse
from pylon.schema.model import EntitySpec, Manifest, PolicySpec

Lowered = tuple[Formula, tuple[PolicyProblem, ...]]
"""What is meant, "never" where anything is wrong, and what is wrong."""

_KEPT_AS = "policy texts"


class PolicyTexts:
    """Every text that has been asked for, by the entity that it is about."""

    def __init__(self, manifest: Manifest) -> None:
        self._entities = manifest.entities_by_name
        self._lowered: dict[tuple[str, str | None, Slot], Lowered] = {}

    def lowered(self, text: str, entity: EntitySpec | None, slot: Slot) -> Lowered:
        """The formula of a text and its problems; `entity` is None in the slot `action`."""
        if slot != "action" and not (slot == "update" and "existing" in text):
            slot = "read"  # only `existing.` means something else in an update
        key = (text, None if entity is None else entity.name, slot)
        found = self._lowered.get(key)
        if found is None:
            found = self._lowered[key] = self._lower(text, entity, slot)
        return found

    def _lower(self, text: str, entity: EntitySpec | None, slot: Slot) -> Lowered:
        try:
            expr = parse(text)
        except PolicySyntaxError as error:
            message = f"at character {error.offset + 1}: {error.message}"
            problem = PolicyProblem(
                code="POLICY_SYNTAX", message=message, hint=error.hint, offset=error.offset
            )
            return FALSE, (problem,)
        formula, problems = lower(expr, entity=entity, slot=slot, entities=self._entities)
        return FALSE if problems else formula, tuple(problems)


def texts_of(manifest: Manifest) -> PolicyTexts:
    """The texts of this manifest; always the same object for the same manifest."""
    kept: PolicyTexts = vars(manifest).setdefault(_KEPT_AS, PolicyTexts(manifest))
    return kept


def formulas_of(
    manifest: Manifest, entity: EntitySpec, slot: Slot, policies: Iterable[PolicySpec]
) -> tuple[tuple[str, Formula], ...]:
    """The names and formulas of those of an entity's policies that say something of a slot; all of
    them must hold. One that anything is wrong with is "never"."""
    texts = texts_of(manifest)
    return tuple(
        (policy.name, texts.lowered(chosen[1], entity, slot)[0])
        for policy in policies
        if (chosen := expression(policy, slot)) is not None
    )
