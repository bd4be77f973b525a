"""Which field of a row holds a value of the caller wherever a read rule lets somebody see it.

`auth.userId == data.ownerId` says so, and every conjunction with it: who is under such a rule sees
rows with one value of one field. The search index of an entity keeps its words by that value
too (`store/search_keys`). Asked by the stores for the field, by `Rule` for a caller's value.
"""

from __future__ import annotations

from pylon.policy.audience import NARROWNESS, Selector
from pylon.policy.formula import All, Atom, Attribute, Column, Const, Either, Formula, all_of
from pylon.policy.texts import formulas_of
from pylon.schema.model import EntitySpec, Manifest


def pinned_field(manifest: Manifest, entity: EntitySpec) -> str | None:
    """The field of an entity by whose value its read rule lets rows be seen; None without one."""
    policies = [policy for policy in manifest.policies if policy.entity == entity.name]
    formulas = formulas_of(manifest, entity, "read", policies)
    return field_of(all_of([formula for _, formula in formulas])) if formulas else None


def field_of(formula: Formula) -> str | None:
    """The field that a rule pins for at least some callers; of several that with the fewest rows a
    value."""
    found = _possible(formula)
    narrowest = min(found, key=lambda each: NARROWNESS.index(each.attribute), default=None)
    return None if narrowest is None else narrowest.field


def pinned_by(settled: Formula, field: str) -> Selector | None:
    """Whose value the field has in every row that passes what is left of a rule for a caller."""
    operands = settled.operands if isinstance(settled, All) else (settled,)
    found = [each for operand in operands if (each := _selector(operand)) is not None]
    return next((each for each in found if each.field == field), None)


def _possible(formula: Formula) -> list[Selector]:
    """What every row has to hold for callers who make the other branches of a rule false."""
    match formula:
        case All():
            return [each for operand in formula.operands for each in _possible(operand)]
        case Either():
            left = [each for each in formula.operands if not _may_be_out(each)]
            if len(left) > 1:
                return []
            return [each for operand in left or formula.operands for each in _possible(operand)]
    selector = _selector(formula)
    return [] if selector is None else [selector]


def _may_be_out(formula: Formula) -> bool:
    """Whether there may be callers for whom this never holds, whatever the row."""
    match formula:
        case All():
            return any(map(_may_be_out, formula.operands))
        case Either():
            return all(map(_may_be_out, formula.operands))
        case Atom():
            return formula.is_of_caller
    return isinstance(formula, Const)


def _selector(formula: Formula) -> Selector | None:
    match formula:
        case Atom(
            test="equal",
            negated=False,
            is_folded=False,
            terms=(
                Column(kind="string", stored=False, is_time=False) as column,
                Attribute(kind="string") as caller,
            ),
        ) if column.name != "id":
            return Selector(attribute=caller.name, field=column.name)
    return None
