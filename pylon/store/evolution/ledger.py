"""What a database remembers of the changes of its schema, as values.

Each change is an entry of `_pylon_schema_history` (spec 05 section 8.1, with the manifest and the
hand-written migrations beside it); the room of each database reads and writes it.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from pylon.codec import decode_trusted


class HistoryEntry(Struct, frozen=True, kw_only=True):
    """One change of the schema."""

    id: str
    manifest_version: int
    app_version: str
    applied_at: str
    operation_count: int
    baseline: str
    plan_json: str
    manifest_json: str
    migrations: tuple[dict[str, Any], ...]

    def to_wire(self, *, with_plan: bool = True) -> dict[str, Any]:
        """The JSON object of `schema history` (spec 05 section 9.5)."""
        wire: dict[str, Any] = {
            "id": self.id,
            "manifest_version": self.manifest_version,
            "app_version": self.app_version,
            "applied_at": self.applied_at,
            "operation_count": self.operation_count,
            "baseline": self.baseline,
        }
        if self.migrations:
            wire["migrations"] = list(self.migrations)
        if with_plan:
            wire["plan"] = decode_trusted(self.plan_json)
            wire["plan_json"] = self.plan_json
        return wire


class RanMigration(Struct, frozen=True, kw_only=True):
    """A hand-written migration that has run; `applied_at` is an ISO time, `checksum` that of the
    UP part as it was then."""

    number: int
    name: str
    checksum: str
    applied_at: str
