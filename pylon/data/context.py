"""What reads and writes of rows are made with: the tables of an app and what stands around them.

`Transaction` and `ReadDoor` take a `Context` and know no door above them; `Rows` is one, with the
doors added. Nothing here reads or writes.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field

from pylon import limits
from pylon.changes.log import ChangeLog
from pylon.clock import Clock
from pylon.crdt.documents import Documents
from pylon.crdt.workshop import Workshop
from pylon.data.references import Reference
from pylon.data.table import Table
from pylon.errors import PylonError
from pylon.hooks import Hooks
from pylon.identity import Identity
from pylon.ids import RowIds
from pylon.policy.denial import Denials
from pylon.policy.engine import PolicyEngine
from pylon.policy.slots import Slot
from pylon.schema.diagnostics import did_you_mean
from pylon.schema.model import Manifest
from pylon.store.base import Store


@dataclass(kw_only=True, eq=False, repr=False)
class Context:
    """The parts that the rows of one app share."""

    store: Store
    log: ChangeLog
    manifest: InitVar[Manifest]
    policies: PolicyEngine
    hooks: Hooks
    clock: Clock
    documents: Documents | None = None
    """None: no row has a document, whatever the manifest says."""
    workshop: Workshop = field(default_factory=Workshop)
    """Where the work on documents is done that would hold the loop."""
    denials: Denials | None = None
    """Who tells callers why a policy said no; None: nobody does."""
    hook_seconds: float = limits.COMPUTE_SECONDS_MAX
    """How long hooks in a transaction may compute between two statements."""

    def __post_init__(self, manifest: Manifest) -> None:
        self.ids = RowIds()
        self._tables = {spec.name: Table(spec) for spec in manifest.entities}
        self.referrers: dict[str, tuple[Reference, ...]] = {}
        """By entity, the keys whose rows follow when one of its rows is deleted."""
        for table in self._tables.values():
            for each in table.follows:
                self.referrers[each.target] = (*self.referrers.get(each.target, ()), each)
        self._unit_seconds: float | None = None
        self._hooks_version = -1

    def table(self, entity: str) -> Table:
        """The table of an entity, or 400 `ENTITY_NOT_FOUND`."""
        if self._hooks_version != self.hooks.version:
            self._take_hooks()
        table = self._tables.get(entity)
        if table is None:
            raise PylonError(
                400,
                "ENTITY_NOT_FOUND",
                f'There is no entity "{entity[:100]}".',
                did_you_mean(entity, self._tables),
            )
        return table

    def why_none(self, entity: str, slot: Slot, identity: Identity) -> str | None:
        """Why the caller could do this with no row whatever, where callers are told."""
        if self.denials is None:
            return None
        return self.denials.why_none(entity, slot, identity)

    def checked(self, entity: str) -> tuple[Reference, ...]:
        """The keys of an entity that must name rows; none for one that there is not."""
        table = self._tables.get(entity)
        return () if table is None else table.checked

    @property
    def unit_seconds(self) -> float | None:
        """How long a unit may compute between two statements: bounded where code of hooks may run
        in it, at a write or as the work of a hook of commits."""
        if self._hooks_version != self.hooks.version:
            self._take_hooks()
        return self._unit_seconds

    def _take_hooks(self) -> None:
        self._hooks_version = self.hooks.version
        is_others_code = self.hooks.are_any or self.hooks.committed_hooks
        self._unit_seconds = self.hook_seconds if is_others_code else None
        for name, table in self._tables.items():
            table.hooks = self.hooks.of(name)
