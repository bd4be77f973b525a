"""`/api/sync/pull` and `/api/sync/push`: the change log over HTTP (spec 03 section 3)."""

from __future__ import annotations

from pylon.codec import encode
from pylon.errors import PylonError
from pylon.http.request import Request
from pylon.http.response import Response, raw_json
from pylon.http.router import Router
from pylon.store.base import Store
from pylon.sync.positions import Positions
from pylon.sync.pull import Puller
from pylon.sync.push import Push, read_changes
from pylon.wire.events import pull_page_json


class SyncRoutes:
    """The handlers of the sync routes."""

    def __init__(self, puller: Puller, positions: Positions, push: Push, store: Store) -> None:
        self._puller = puller
        self._positions = positions
        self._push = push
        self._store = store

    def register(self, router: Router) -> None:
        """Add the routes."""
        router.add("GET", "/api/sync/pull", self.pull, summary="Changes after a cursor")
        router.add("POST", "/api/sync/push", self.push, summary="Changes made by a client")

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

    async def push(self, request: Request) -> Response:
        identity = request.identity
        if identity.user_id is None:
            raise PylonError(
                403,
                "FORBIDDEN",
                "Pushing changes needs a session.",
                "Send `Authorization: Bearer <token>`; POST /api/auth/guest gives one.",
            )
        done = await self._push.push(identity, read_changes(await request.json()))
        answer = {
            "applied": done.applied,
            "deduped": done.deduped,
            "errors": done.errors,
            "cursor": {"last_seq": self._store.seq},
        }
        if done.ids:
            answer["ids"] = done.ids
        return raw_json(encode(answer))
