"""Steps and plans in words, for logs, terminals and error messages."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from typing import Any, Final

from pylon.moments import shown_column
from pylon.store.evolution.model import (
    NO_HINTS,
    AddField,
    AddIndex,
    AddMoments,
    ConstrainField,
    CreateEntity,
    CreateSearchIndex,
    Hints,
    KeepReference,
    Plan,
    Planned,
    RelaxField,
    RemoveEntity,
    RemoveField,
    RemoveIndex,
    RemoveSearchIndex,
    RenameEntity,
    RenameField,
    RequireField,
    RestoreEntity,
    RestoreField,
    RetireEntity,
    RetireField,
    RetypeField,
    SetPrivate,
    Step,
)

_WORDS: Final[dict[type[Step], Callable[[Any], str]]] = {
    CreateEntity: lambda s: f"create {s.entity.name}",
    RenameEntity: lambda s: f"rename {s.name} to {s.new_name}",
    RestoreEntity: lambda s: f"use {s.name} again",
    RemoveEntity: lambda s: f"remove {s.name}",
    RetireEntity: lambda s: f"keep the rows of {s.name}, which the app has no more",
    AddField: lambda s: f"add {s.entity}.{s.field.name} ({s.field.type})",
    RenameField: lambda s: f"rename {s.entity}.{s.name} to {s.new_name}",
    RestoreField: lambda s: f"use {s.entity}.{s.name} again",
    RetypeField: lambda s: f"change {s.entity}.{s.field.name} from {s.from_type} to {s.field.type}",
    AddMoments: lambda s: f"read the times of {s.entity}.{s.name}",
    RequireField: lambda s: f"make {s.entity}.{s.field.name} required",
    ConstrainField: lambda s: f"change what {s.entity}.{s.field.name} allows",
    RelaxField: lambda s: f"make {s.entity}.{s.name} optional",
    RemoveField: lambda s: f"remove {s.entity}.{s.name}",
    RetireField: lambda s: f"keep the values of {s.entity}.{s.name}, which the app has no more",
    SetPrivate: lambda s: f"make {s.entity}.{s.name} {'private' if s.private else 'public'}",
    AddIndex: lambda s: (
        f"add {'unique ' if s.unique else ''}index {s.name} on {s.entity}"
        f"({', '.join(map(shown_column, s.fields))})"
        f"{f' where {s.where}' if s.where else ''}"
        f"{', in either case' if s.folded else ''}"
    ),
    RemoveIndex: lambda s: f"remove index {s.name} of {s.entity}",
    KeepReference: lambda s: f"let {s.entity}.{s.name} name rows of {s.target} only that are there",
    CreateSearchIndex: lambda s: f"build the search index of {s.entity}",
    RemoveSearchIndex: lambda s: f"remove the search index of {s.entity}",
}


def step_text(step: Step) -> str:
    """One step, as an order."""
    return _WORDS[type(step)](step)


def planned_text(planned: Planned) -> str:
    """One step with what it means for the rows."""
    text = step_text(planned.step)
    notes = [planned.note] if planned.note else []
    if planned.rows and planned.refused is None and not planned.note:
        notes.append(f"{planned.rows} {'row' if planned.rows == 1 else 'rows'}")
    if planned.refused is not None:
        notes = [f"not possible: {planned.refused}"]
    elif planned.level != "additive":
        notes.append(planned.level)
    return f"{text} ({'; '.join(notes)})" if notes else text


def push_command(
    plan: Plan,
    blocked: Iterable[Planned],
    *,
    database: str | None,
    app: str | None = None,
    given: Hints = NO_HINTS,
    command: str = "schema push",
    renames: bool = True,
) -> str:
    """What to type to take the steps that are not taken by themselves.

    `given` are renames that a person has said already: without them the command would remove what
    they rename. With `renames` False the command takes what looks like a rename for a removal.
    """
    words = [f"pylon {command}", *([shlex.quote(app)] if app else [])]
    if database is not None:
        words.append(f"--db {shlex.quote(database)}")
    words += [f"--rename-entity {old}:{new}" for old, new in given.entities]
    words += [f"--rename {entity}.{old}:{new}" for entity, old, new in given.fields]
    suggestions = plan.suggestions if renames else ()
    words += [each.option for each in suggestions]
    renamed = {each.removed for each in suggestions}
    destructive = [
        each for each in blocked if each.level == "destructive" and each.step not in renamed
    ]
    if destructive:
        words.append("--allow-destructive")
    return " ".join(words)
