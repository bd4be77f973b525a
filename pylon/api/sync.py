"""`GET /api/sync/pull`: catching up with the change log over HTTP (spec 03 section 3.1)."""

from __future__ import annotations

from pylon.http.request import Request
from pylon.http.response import Response, raw_json
from pylon.http.router import Router
from pylon.sync.positions import Positions
from pylon.sync.pull import Puller
from pylon.wire.events import pull_page_json


class SyncRoutes:
    """The handlers of the sync routes."""

    def __init__(self, puller: Puller, positions: Positions) -> None:
        self._puller = puller
        self._positions = positions

    def register(self, router: Router) -> None:
        """Add the routes."""
        router.add("GET", "/api/sync/pull", self.pull, summary="Changes after a cursor")

    async def pull(self, request: Request) -> Response:
        since = request.query_int("since", default=0) or 0
        identity = request.identity
        page = await self._puller.page(identity, since)
        if identity.session_id is not None:
            self._positions.pulled(identity.session_id, since=since, until=page.last_seq)
        return raw_json(
            pull_page_json(
                [event for _, event in page.events],
                last_seq=page.last_seq,
                has_more=page.has_more,
            )
        )
