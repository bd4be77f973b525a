"""The words of schema evolution: steps, plans, hints, and what a database remembers of itself.

Frozen values only. What is compared is in `plan`, what is wanted in `wish`; what is asked of the
rows and done to them is in the room of each database. Others come through `session`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from pylon.schema.constraints import CONSTRAINTS
from pylon.schema.model import FIELD_KEYS, EntitySpec, FieldSpec, SearchSpec
from pylon.store.tables import IndexShape

Level: TypeAlias = Literal["additive", "careful", "destructive"]
"""How much a step may cost: nothing is touched; values are moved or converted without loss;
something is lost."""

LEVELS: Final[tuple[Level, ...]] = ("additive", "careful", "destructive")

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done, how many rows are done and how many there are."""


def no_progress(what: str, done: int, total: int) -> None:
    """For callers that do not show progress."""


# --- steps -----------------------------------------------------------------------------------


class Step(msgspec.Struct, frozen=True, kw_only=True, tag_field="op"):
    """One change of the database. Entities and fields have the names that hold after renames."""


class CreateEntity(Step, frozen=True, kw_only=True, tag="create_entity"):
    entity: EntitySpec


class RenameEntity(Step, frozen=True, kw_only=True, tag="rename_entity"):
    """`replaces`: a table of the new name exists and is dropped; it must be empty."""

    name: str
    new_name: str
    replaces: bool = False


class RestoreEntity(Step, frozen=True, kw_only=True, tag="restore_entity"):
    """A table that was kept when its entity left the manifest is in use again."""

    name: str


class RemoveEntity(Step, frozen=True, kw_only=True, tag="remove_entity"):
    name: str


class RetireEntity(Step, frozen=True, kw_only=True, tag="retire_entity"):
    """The entity left the manifest; its table is kept."""

    name: str


class AddField(Step, frozen=True, kw_only=True, tag="add_field"):
    entity: str
    field: FieldSpec


class RenameField(Step, frozen=True, kw_only=True, tag="rename_field"):
    """`merges`: a column of the new name exists; its values win where both have one."""

    entity: str
    name: str
    new_name: str
    merges: bool = False


class RestoreField(Step, frozen=True, kw_only=True, tag="restore_field"):
    """A column that was kept when its field left the manifest is in use again."""

    entity: str
    name: str


class RetypeField(Step, frozen=True, kw_only=True, tag="retype_field", omit_defaults=True):
    """`foreign`: the engine did not make the column."""

    entity: str
    field: FieldSpec
    from_type: str
    foreign: bool = False


class AddMoments(Step, frozen=True, kw_only=True, tag="add_moments"):
    """The keys that a time is compared by are brought in line with its values; the column for them
    is made where there is none, as in databases of before there were any."""

    entity: str
    name: str


class RequireField(Step, frozen=True, kw_only=True, tag="require_field"):
    entity: str
    field: FieldSpec


class ConstrainField(Step, frozen=True, kw_only=True, tag="constrain_field"):
    """What the field allows beside its type has changed; nothing of it is in the database.
    `from_type` is what the column holds before."""

    entity: str
    field: FieldSpec
    from_type: str


class RelaxField(Step, frozen=True, kw_only=True, tag="relax_field"):
    entity: str
    name: str


class RemoveField(Step, frozen=True, kw_only=True, tag="remove_field"):
    entity: str
    name: str


class RetireField(Step, frozen=True, kw_only=True, tag="retire_field"):
    """The field left the manifest; its column is kept."""

    entity: str
    name: str


class SetPrivate(Step, frozen=True, kw_only=True, tag="set_private"):
    entity: str
    name: str
    private: bool


class AddIndex(Step, frozen=True, kw_only=True, tag="add_index", omit_defaults=True):
    """`where` is the SQL of its condition; None for an index of all rows. `fields` are columns;
    that of a time's keys stands for the time. `tells_apart`: rows that were unique by the text of a
    time stay, though two may be of one moment. `folded`: those of its fields that are the same in
    either case."""

    entity: str
    name: str
    fields: tuple[str, ...]
    unique: bool
    where: str | None = None
    tells_apart: bool = False
    folded: tuple[str, ...] = ()

    @property
    def index(self) -> IndexShape:
        """The index that the step makes."""
        return IndexShape(
            name=self.name,
            fields=self.fields,
            unique=self.unique,
            where=self.where,
            folded=self.folded,
        )


class RemoveIndex(Step, frozen=True, kw_only=True, tag="remove_index"):
    entity: str
    name: str


class KeepReference(Step, frozen=True, kw_only=True, tag="keep_reference"):
    """From now on writes see to it that the key names a row. Rows stay as they are."""

    entity: str
    name: str
    target: str


class CreateSearchIndex(Step, frozen=True, kw_only=True, tag="create_search_index"):
    """Also when the configuration changed: the index is built anew from the rows."""

    entity: str
    config: SearchSpec


class RemoveSearchIndex(Step, frozen=True, kw_only=True, tag="remove_search_index"):
    entity: str


def step_wire(step: Step) -> dict[str, Any]:
    """The JSON object of a step (spec 05 section 8.1, and ours)."""
    wire: dict[str, Any] = msgspec.to_builtins(step)
    if isinstance(step, CreateEntity):
        del wire["entity"]
        wire["name"] = step.entity.name
        wire["fields"] = [_field_wire(each) for each in step.entity.fields]
    elif isinstance(step, AddField | RequireField | ConstrainField):
        wire["field"] = _field_wire(step.field)
    elif isinstance(step, RetypeField):
        wire["field"] = _field_wire(step.field)
        wire["to_type"] = step.field.type
    if isinstance(
        step,
        RemoveField
        | RetireField
        | RestoreField
        | RelaxField
        | SetPrivate
        | KeepReference
        | AddMoments,
    ):
        wire["field_name"] = wire.pop("name")
    return wire


def _field_wire(spec: FieldSpec) -> dict[str, Any]:
    wire = {
        "name": spec.name,
        "field_type": spec.type,
        "optional": spec.optional,
        "unique": spec.unique,
    }
    allowed = constraints_of(spec)
    return {**wire, "constraints": allowed} if allowed else wire


def constraints_of(spec: FieldSpec) -> dict[str, Any]:
    """What a field allows beside its type, by the keys of the manifest and as JSON gives it back,
    for it is compared with what is recorded."""
    said = {word: getattr(spec, word) for word in CONSTRAINTS}
    return {
        FIELD_KEYS[word]: list(value) if isinstance(value, tuple) else value
        for word, value in said.items()
        if value not in (None, ())
    }


# --- plans -----------------------------------------------------------------------------------


class Planned(Struct, frozen=True, kw_only=True):
    """A step with what it means for the rows that there are.

    `rows` is how many rows it touches, `note` says in words what happens to them, `refused` why it
    cannot be done (None: it can). `is_visible`: readers see other rows afterwards.
    """

    step: Step
    level: Level = "additive"
    rows: int = 0
    note: str | None = None
    refused: str | None = None
    is_visible: bool = False
    notice: str | None = None
    """Says of an index that it is less strict than the app wants, and why."""

    def to_wire(self) -> dict[str, Any]:
        wire = {**step_wire(self.step), "level": self.level, "rows": self.rows}
        if self.note is not None:
            wire["note"] = self.note
        if self.refused is not None:
            wire["refused"] = self.refused
        return wire


class Suggestion(Struct, frozen=True, kw_only=True):
    """What looks like a rename that nobody has confirmed; `option` is for the command line, and
    `removed` the step that loses the values otherwise."""

    option: str
    message: str
    removed: Step


class Plan(Struct, frozen=True, kw_only=True):
    """Every step from a database to a manifest, in the order in which they are taken.

    `notices` say what the app wants, the rows do not allow and something less does for now.
    """

    steps: tuple[Planned, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    migrations: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.steps and not self.migrations

    @property
    def refused(self) -> tuple[Planned, ...]:
        return tuple(each for each in self.steps if each.refused is not None)

    def at(self, *levels: Level) -> tuple[Planned, ...]:
        """The possible steps of these levels."""
        return tuple(each for each in self.steps if each.refused is None and each.level in levels)


class Hints(Struct, frozen=True, kw_only=True):
    """Renames that a person has confirmed: `(entity, old, new)` and `(old, new)`."""

    fields: tuple[tuple[str, str, str], ...] = ()
    entities: tuple[tuple[str, str], ...] = ()


NO_HINTS: Final = Hints()


# --- what a database remembers ---------------------------------------------------------------


class RecordedField(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A column of ours; `kept` when its field has left the manifest and the column has not;
    `moments` when whoever last wrote to the database kept the keys of these times."""

    type: str
    optional: bool = False
    private: bool = False
    kept: bool = False
    moments: bool = False
    constraints: dict[str, Any] = {}


class RecordedEntity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A table of ours; `kept` as in `RecordedField`."""

    fields: dict[str, RecordedField]
    indexes: tuple[str, ...] = ()
    search: SearchSpec | None = None
    kept: bool = False
    references: tuple[str, ...] = ()
    """Keys that must name rows, each with its target: `field:Entity`."""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine made of this database: only that may it ever remove."""

    entities: dict[str, RecordedEntity]


class SqlMigration(Struct, frozen=True, kw_only=True):
    """A hand-written migration: `migrations/NNNN_name.sql`. `checksum` is of its UP part."""

    number: int
    name: str
    up: str
    checksum: str

    @property
    def label(self) -> str:
        return f"{self.number:04}_{self.name}"


# --- failures --------------------------------------------------------------------------------


class EvolutionError(Exception):
    """A plan that cannot be made or carried out. Nothing was changed. `code` is stable."""

    def __init__(
        self, code: str, message: str, hint: str | None = None, *, plan: Plan | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.plan = plan


class Outcome(Struct, frozen=True, kw_only=True):
    """What was done. `history_id` is None when there was nothing to do."""

    plan: Plan
    history_id: str | None = None
    backup: str | None = None
