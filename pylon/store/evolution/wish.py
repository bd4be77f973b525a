"""What is wanted of an evolution, and what of a plan it allows. Pure."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from pylon.store.evolution.model import (
    LEVELS,
    NO_HINTS,
    Hints,
    Level,
    Plan,
    Planned,
    RemoveEntity,
    RemoveField,
    RetireEntity,
    RetireField,
    SqlMigration,
)


class Wish(Struct, frozen=True, kw_only=True):
    """What is wanted of an evolution.

    `allow` is the highest level of step that may be taken. With `keep_removed`, what left the
    manifest stays in the database and can be removed later; `confirm_renames` refuses to go on
    while something looks like a rename that nobody has confirmed. `baseline` says in the ledger
    who wanted it.
    """

    allow: Level = "additive"
    keep_removed: bool = False
    confirm_renames: bool = False
    hints: Hints = NO_HINTS
    migrations: tuple[SqlMigration, ...] = ()
    baseline: str = "push"


def blockers(plan: Plan, wish: Wish) -> tuple[Planned, ...]:
    """The steps that `wish` does not allow or that cannot be done."""
    return tuple(each for each in plan.steps if _is_blocked(each, wish))


def as_wished(plan: Plan, wish: Wish) -> Plan:
    """The plan as it would be carried out: removals become retirements where removed things are
    kept; what is retired already is left out."""
    if not wish.keep_removed:
        return plan
    wished: list[Planned] = []
    for planned in plan.steps:
        step = planned.step
        if not isinstance(step, RemoveEntity | RemoveField):
            wished.append(planned)
        elif planned.is_visible and isinstance(step, RemoveEntity):
            wished.append(Planned(step=RetireEntity(name=step.name), is_visible=True))
        elif planned.is_visible and isinstance(step, RemoveField):
            retired = RetireField(entity=step.entity, name=step.name)
            wished.append(Planned(step=retired, is_visible=True))
    return replace(plan, steps=tuple(wished))


def _is_blocked(planned: Planned, wish: Wish) -> bool:
    if planned.refused is not None:
        return True
    if wish.keep_removed and isinstance(planned.step, RemoveField | RemoveEntity):
        return False
    return LEVELS.index(planned.level) > LEVELS.index(wish.allow)
