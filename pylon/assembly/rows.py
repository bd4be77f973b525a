"""Rows over every door but sync: entities, queries, search, bulk, transfer, people's data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from pylon import limits
from pylon.api.actions import ActionRoutes
from pylon.api.bulk import BulkRoutes
from pylon.api.entities import EntityRoutes
from pylon.api.queries import QueryRoutes
from pylon.api.search import SearchRoutes
from pylon.api.subjects import ResetRoutes, SubjectRoutes
from pylon.api.transfer import IMPORT_PATH, TransferRoutes
from pylon.assembly.storage import StorageGroup
from pylon.crdt.documents import CRDT_TABLES, Documents
from pylon.data.bulk import Bulk
from pylon.data.erase import Reset
from pylon.data.imports import ImportUnits
from pylon.data.rows import Rows
from pylon.data.subjects import Subjects
from pylon.data.transfer import Transfer
from pylon.part import Part, Routes


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
        )

    @cached_property
    def import_units(self) -> ImportUnits:
        return ImportUnits(self.rows)

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
    rows = house.rows
    return (
        EntityRoutes(rows),
        QueryRoutes(rows),
        SearchRoutes(rows, house.clock),
        ActionRoutes(house.manifest, house.policies),
        BulkRoutes(Bulk(rows)),
        TransferRoutes(Transfer(rows, house.manifest, house.import_units, house.calls)),
        SubjectRoutes(house.subjects, house.clock),
        ResetRoutes(
            [reset for part in house.parts for reset in part.resets(house)],
            is_allowed=house.config.dev_mode and house.config.in_memory,
        ),
    )


ROWS = Part[RowsGroup](
    name="rows",
    routes=_routes,
    calls=lambda house: (house.import_units.call,),
    body_bytes={IMPORT_PATH: limits.IMPORT_BYTES_MAX},
    resets=lambda house: (Reset(house.rows, tuple(house.read_rules)),),
)

DOCUMENTS = Part[RowsGroup](name="crdt", tables=CRDT_TABLES)
