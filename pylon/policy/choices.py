"""Comparisons of a field with a value that is none of its choices: `data.role == "edtor"`.

They hold for no row, or for every one, and seldom mean it; `advice` tells them as warnings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pylon.policy.formula import (
    All,
    Atom,
    Column,
    Constant,
    Either,
    Exists,
    Formula,
    Member,
    Same,
)
from pylon.policy.slots import ENTITY_SLOTS, expression
from pylon.policy.texts import texts_of
from pylon.schema.diagnostics import Diagnostic, did_you_mean, warning
from pylon.schema.model import EntitySpec, Manifest

NOT_A_CHOICE: Final = "POLICY_NOT_A_CHOICE"


def strange_choices(manifest: Manifest) -> Iterator[Diagnostic]:
    """The warnings about a manifest without mistakes, each perhaps several times."""
    entities = manifest.entities_by_name
    for policy in manifest.policies:
        entity = entities.get(policy.entity or "")
        for slot in ENTITY_SLOTS if entity is not None else ():
            chosen = expression(policy, slot)
            if chosen is None or entity is None:
                continue
            key, text = chosen
            formula, problems = texts_of(manifest).lowered(text, entity, slot)
            for owner, name, value in () if problems else _strange(formula, entity, entities):
                field = owner.fields_by_name[name]
                known = [str(choice) for choice in field.choices]
                yield warning(
                    NOT_A_CHOICE,
                    f'policy "{policy.name}": "{name}" of {owner.name} is compared with'
                    f' "{value}", which is none of its choices',
                    did_you_mean(str(value), known),
                    about=("policy", policy.name, key),
                )


def _strange(
    formula: Formula, entity: EntitySpec, entities: Mapping[str, EntitySpec]
) -> Iterator[tuple[EntitySpec, str, object]]:
    """The entity, the field and the value of each such comparison. Fields of the row are those of
    `entity`, members those of the entity that the nearest `exists` looks through."""
    for inner, atom in _atoms(formula, None):
        fields = [term for term in atom.terms if isinstance(term, Column | Member)]
        values = [term.value for term in atom.terms if isinstance(term, Constant)]
        if atom.test != "equal" or len(fields) != 1 or len(values) != 1 or values[0] is None:
            continue
        (term,), (value,) = fields, values
        owner = entity if isinstance(term, Column) else entities.get(inner or "")
        spec = None if owner is None else owner.fields_by_name.get(term.name)
        if owner is None or spec is None or not spec.choices:
            continue
        choices = {str(choice) for choice in spec.choices}
        if term.folds:
            choices = {choice.lower() for choice in choices}
        if (str(value).lower() if term.folds else str(value)) not in choices:
            yield owner, term.name, value


def _atoms(formula: Formula, inner: str | None) -> Iterator[tuple[str | None, Atom]]:
    """Every condition with the entity of the `exists` that it stands in."""
    match formula:
        case Atom():
            yield inner, formula
        case All() | Either():
            for operand in formula.operands:
                yield from _atoms(operand, inner)
        case Same():
            yield from _atoms(formula.left, inner)
            yield from _atoms(formula.right, inner)
        case Exists():
            yield from _atoms(formula.condition, formula.entity)
        case _:
            pass
