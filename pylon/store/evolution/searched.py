"""Which entities a plan's steps disturb: their search indexes and documents are made anew."""

from __future__ import annotations

from collections.abc import Iterable

from pylon.store.evolution.model import (
    AddField,
    CreateSearchIndex,
    Planned,
    RemoveEntity,
    RemoveField,
    RemoveSearchIndex,
    RenameEntity,
    RenameField,
    RequireField,
    RestoreField,
    RetireEntity,
    RetypeField,
)

_FIELD_STEPS = AddField | RenameField | RestoreField | RetypeField | RequireField | RemoveField


def rewritten_by(steps: Iterable[Planned]) -> set[str]:
    """Entities whose rows get other fields or values, by their new names."""
    rewritten: set[str] = set()
    for planned in steps:
        step = planned.step
        is_rewrite = isinstance(step, RenameField | RemoveField) or planned.is_visible
        if is_rewrite and isinstance(step, _FIELD_STEPS):
            rewritten.add(step.entity)
    return rewritten


def disturbed_by(steps: Iterable[Planned]) -> set[str]:
    """Entities whose search indexes must go before the steps are taken, by their new names."""
    disturbed = rewritten_by(steps)
    for planned in steps:
        step = planned.step
        if isinstance(step, RenameEntity):
            disturbed.add(step.new_name)
        elif isinstance(step, RemoveEntity | RetireEntity):
            disturbed.add(step.name)
        elif isinstance(step, CreateSearchIndex | RemoveSearchIndex):
            disturbed.add(step.entity)
    return disturbed
