"""`/api/sync/pull` and `/api/sync/push`: the change log over HTTP (spec 03 section 3)."""

from __future__ import annotations

from pylon.asking import address_key
from pylon.codec import Outline, encode
from pylon.errors import PylonError
from pylon.http.describe import COUNT, JSON, TEXT, Docs, Parameter, json, shape
from pylon.http.rate_limit import RateLimiter, rate_limited
from pylon.http.request import Request
from pylon.http.response import Response, raw_json
from pylon.http.router import Router
from pylon.store.base import Store
from pylon.sync.browsers import browser_key
from pylon.sync.pulls import Pulls
from pylon.sync.push import Push, read_changes
from pylon.wire.events import pull_page_json

PULL_PATH = "/api/sync/pull"
"""Has an allowance of its own, so that catching up and other requests do not starve each other."""


_PUSHED = Outline("changes", client_id=str | None)

PULL = Docs(
    operation_id="syncPull",
    tag="sync",
    answers=json(shape("PullPage")),
    description="From 0 it is the whole state that the caller may see, in pages.",
    query=(
        Parameter(
            name="since",
            schema={**COUNT, "default": 0},
            description="The `cursor.last_seq` of the page before.",
        ),
        Parameter(
            name="limit",
            schema=TEXT,
            description="Passed over, as clients send it: a page has as much as it may have.",
        ),
        Parameter(
            name="snapshot_after",
            schema=TEXT,
            description="Passed over: pages from 0 go on by `since` alone.",
        ),
    ),
    errors=("410 RESYNC_REQUIRED",),
    store="reads",
)
PUSH = Docs(
    operation_id="syncPush",
    tag="sync",
    answers=json(shape("PushAnswer")),
    description="In order, under the caller's policies; the first change that fails ends it.",
    caller="session",
    body={JSON: shape("Push")},
    errors=("403 FORBIDDEN",),
    large_body=True,
    store="writes",
)


class SyncRoutes:
    """The handlers of the sync routes."""

    def __init__(self, pulls: Pulls, push: Push, store: Store, limiter: RateLimiter) -> None:
        self._pulls = pulls
        self._push = push
        self._store = store
        self._limiter = limiter

    def register(self, router: Router) -> None:
        """Add the routes."""
        push = "/api/sync/push"
        router.add("GET", PULL_PATH, self.pull, summary="Changes after a cursor", docs=PULL)
        router.add("POST", push, self.push, summary="Changes made by a client", docs=PUSH)

    async def pull(self, request: Request) -> Response:
        since = request.query_int("since", default=0) or 0
        identity = request.identity
        seconds = 0 if identity.is_admin else self._limiter.hit(address_key(request.client))
        if seconds:
            await self._pulls.refused(identity, request.client, since)
            raise rate_limited(seconds)
        browser = browser_key(request.client, request.header(b"user-agent"))
        page = await self._pulls.pull(identity, request.client, since, browser=browser)
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
        done = await self._push.push(identity, read_changes(await request.json(_PUSHED)))
        answer = {
            "applied": done.applied,
            "deduped": done.deduped,
            "errors": done.errors,
            "cursor": {"last_seq": self._store.seq},
        }
        if done.ids:
            answer["ids"] = done.ids
        return raw_json(encode(answer))
