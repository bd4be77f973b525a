"""Rows over every door but sync: entities, queries, search, bulk, transfer, people's data; and the
hooks of the app around them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from pylon import limits
from pylon.api.actions import ActionRoutes
from pylon.api.bulk import BulkRoutes
from pylon.api.entities import EntityRoutes
from pylon.api.once import Once
from pylon.api.queries import QueryRoutes
from pylon.api.search import SearchRoutes
from pylon.api.subjects import ResetRoutes, SubjectRoutes
from pylon.api.transfer import IMPORT_PATH, TransferRoutes
from pylon.assembly.storage import PURGE_SECONDS, StorageGroup
from pylon.changes.model import Change, RowData
from pylon.crdt.documents import CRDT_TABLES, Documents
from pylon.crdt.workshop import Workshop, document_processes
from pylon.data.bulk import Bulk
from pylon.data.committed import CommitTeller
from pylon.data.erase import Reset
from pylon.data.imports import ImportUnits
from pylon.data.once import OnceKeys
from pylon.data.outbox import OUTBOX_TABLES
from pylon.data.rows import Rows
from pylon.data.subjects import Subjects
from pylon.data.transfer import Transfer
from pylon.errors import PylonError
from pylon.identity import Identity
from pylon.metrics import Metrics
from pylon.part import Listener, Part, Periodic, Routes, Worker
from pylon.policy.denial import Denials


class RowsGroup(StorageGroup):
    """The one door to rows."""

    @cached_property
    def rows(self) -> Rows:
        return Rows(
            store=self.store,
            log=self.changes,
            manifest=self.manifest,
            policies=self.policies,
            hooks=self.hooks,
            clock=self.clock,
            documents=Documents(self.clock),
            workshop=self.workshop,
            denials=self.denials,
            hook_seconds=(
                limits.COMPUTE_SECONDS_MAX_DEV
                if self.config.dev_mode
                else limits.COMPUTE_SECONDS_MAX
            ),
        )

    async def user_row(self, identity: Identity) -> RowData | None:
        entity, user_id = self.manifest.user_entity, identity.user_id
        if user_id is None or entity not in self.manifest.entities_by_name:
            return None
        try:
            return await self.rows.get(identity, entity, user_id)
        except PylonError as error:
            if error.status >= 500:
                raise
            return None  # there is none, or its owner may not read it

    @cached_property
    def denials(self) -> Denials | None:
        """Who tells why a policy said no, where that may be told."""
        return Denials(self.manifest, self.store.read) if self.config.tells_why else None

    @cached_property
    def workshop(self) -> Workshop:
        """Where documents are worked on beside the loop."""
        processes = document_processes()
        self.pools.add("documents", processes)
        return Workshop(processes)

    @cached_property
    def commit_teller(self) -> CommitTeller:
        return CommitTeller(self.rows)

    @cached_property
    def import_units(self) -> ImportUnits:
        return ImportUnits(self.rows)

    @cached_property
    def once_keys(self) -> OnceKeys:
        return OnceKeys(self.store, self.clock)

    @cached_property
    def subjects(self) -> Subjects:
        """Requests about all that is kept of a person, by every part."""
        return Subjects(
            self.rows,
            self.manifest,
            erases={name: do for part in self.parts for name, do in part.erases(self).items()},
            exports={name: do for part in self.parts for name, do in part.exports(self).items()},
        )


def _routes(house: RowsGroup) -> Sequence[Routes]:
    rows, once = house.rows, Once(house.once_keys)
    return (
        EntityRoutes(rows, once),
        QueryRoutes(rows),
        SearchRoutes(rows, house.clock),
        ActionRoutes(house.manifest, house.policies, house.denials),
        BulkRoutes(Bulk(rows), once),
        TransferRoutes(Transfer(rows, house.manifest, house.import_units, house.calls)),
        SubjectRoutes(house.subjects, house.clock),
        ResetRoutes(
            [reset for part in house.parts for reset in part.resets(house)],
            is_allowed=house.config.dev_mode and house.config.in_memory,
        ),
    )


# --- hooks -----------------------------------------------------------------------------------


async def _start_hooks(house: RowsGroup) -> None:
    house.hooks.refuse_unknown(
        {spec.name: spec.fields_by_name.keys() for spec in house.manifest.entities}
    )


def _hook_metrics(house: RowsGroup, metrics: Metrics) -> None:
    teller = house.commit_teller
    for name, text, by_hook, is_counter in (
        ("pylon_hook_commits_waiting", "To be told.", lambda: teller.waiting, False),
        ("pylon_hook_commits_told_total", "Commits told.", lambda: teller.told, True),
        ("pylon_hook_failures_total", "Calls that failed.", lambda: teller.failures, True),
        ("pylon_hook_commits_dead_total", "Given up on.", lambda: teller.dead, True),
    ):
        metrics.register_by_label(name, text, "hook", by_hook, is_counter=is_counter)


HOOKS = Part[RowsGroup](
    name="hooks",
    tables=OUTBOX_TABLES,
    stages=lambda house: {"request": house.hooks.request} if house.hooks.on_request else {},
    listeners=lambda house: (
        Listener(
            name="hooks of commits",
            hear=house.commit_teller.hear,
            hears=(Change,),
            runs_in="owner",
        ),
    ),
    periodic=lambda house: (
        Periodic(
            name="purge outbox", seconds=PURGE_SECONDS, work=house.commit_teller.purge, is_kept=True
        ),
    ),
    workers=lambda house: (Worker(name="tell hooks of commits", run=house.commit_teller.run),),
    metrics=_hook_metrics,
    # Before the rows: what their going tells is for the test that comes.
    resets=lambda house: (house.commit_teller.outbox.clear,),
    start=_start_hooks,
)


# --- rows and documents ----------------------------------------------------------------------


ROWS = Part[RowsGroup](
    name="rows",
    routes=_routes,
    calls=lambda house: (house.import_units.call,),
    periodic=lambda house: (
        Periodic(
            name="purge keys", seconds=PURGE_SECONDS, work=house.once_keys.purge, is_kept=True
        ),
    ),
    erases=lambda house: {"idempotency keys": house.once_keys.erase},
    body_bytes={IMPORT_PATH: limits.IMPORT_BYTES_MAX},
    resets=lambda house: (Reset(house.rows, tuple(house.read_rules)),),
)

DOCUMENTS = Part[RowsGroup](
    name="crdt", tables=CRDT_TABLES, stop=lambda house: house.workshop.close()
)
