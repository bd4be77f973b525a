"""Data-subject requests, and the reset between tests (spec 02 sections 6.6 and 6.7)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from pylon.clock import Clock, iso_seconds
from pylon.codec import encode
from pylon.data.subjects import Subjects
from pylon.errors import PylonError
from pylon.http.describe import Docs, constant, json, object_of, shape
from pylon.http.dev_gate import has_dev_rights
from pylon.http.request import Request
from pylon.http.response import JSON, Response, StreamResponse, raw_json
from pylon.http.router import Router
from pylon.identity import require_admin

EXPORT = Docs(
    operation_id="exportUserData",
    tag="admin",
    answers=json(shape("SubjectExport")),
    caller="administrator",
    store="reads",
)
PURGE = Docs(
    operation_id="purgeUserData",
    tag="admin",
    answers=json(shape("Purged")),
    caller="administrator",
    store="writes",
)
RESET = Docs(
    operation_id="resetForTests",
    tag="system",
    answers=json(object_of(reset=constant(True))),
    description="Dev mode, a database in memory, and a caller on the same machine.",
    errors=("403 RESET_REFUSED",),
    store="writes",
)


class SubjectRoutes:
    """The handlers of `/api/admin/users/...`; for administrators."""

    def __init__(self, subjects: Subjects, clock: Clock) -> None:
        self._subjects = subjects
        self._clock = clock

    def register(self, router: Router) -> None:
        """Add the routes."""
        user = "/api/admin/users/{id}"
        export, purge = f"{user}/export", f"{user}/purge"
        router.add("POST", export, self.export_user, summary="All rows of a person", docs=EXPORT)
        router.add("DELETE", purge, self.purge_user, summary="Erase a person", docs=PURGE)

    async def export_user(self, request: Request, user_id: str) -> StreamResponse:
        require_admin(request.identity)
        return StreamResponse(200, await self._subjects.export(user_id), content_type=JSON)

    async def purge_user(self, request: Request, user_id: str) -> Response:
        require_admin(request.identity)
        done = await self._subjects.purge(user_id)
        return raw_json(
            encode(
                {
                    "user_id": user_id,
                    "rows_deleted": done.rows_deleted,
                    "sessions_revoked": done.beside_rows.get("sessions", 0),
                    "errors": done.errors,
                    "purged_at": iso_seconds(self._clock.now()),
                }
            )
        )


class ResetRoutes:
    """`POST /api/__test__/reset`: dev mode, a database in memory and a caller on this machine.

    `resets` are run in order; every part that keeps state beside the rows adds one.
    """

    def __init__(
        self, resets: Sequence[Callable[[], Awaitable[object]]], *, is_allowed: bool
    ) -> None:
        self._resets = tuple(resets)
        self._is_allowed = is_allowed

    def register(self, router: Router) -> None:
        """Add the route."""
        path = "/api/__test__/reset"
        router.add("POST", path, self.reset, summary="Empty a test's database", docs=RESET)

    async def reset(self, request: Request) -> Response:
        if not has_dev_rights(request, dev_mode=self._is_allowed):
            raise PylonError(
                403,
                "RESET_REFUSED",
                "Reset is for tests: dev mode, an in-memory database, and a local caller.",
                "Run `pylon dev --in-memory` and call it from the same machine.",
            )
        for reset in self._resets:
            await reset()
        return raw_json(b'{"reset":true}')
