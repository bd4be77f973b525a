"""`POST /api/crdt/{entity}/{id}`, and subscriptions on the socket (spec 03 sections 3.3, 4.4)."""

from __future__ import annotations

from typing import Any

from pylon import limits
from pylon.api.changed import telling
from pylon.api.messages import Handler
from pylon.errors import PylonError
from pylon.http.describe import JSON, Docs, Hidden, constant, json, object_of
from pylon.http.request import Request
from pylon.http.response import Response, raw_json
from pylon.http.router import Router
from pylon.identity import Identity, require_session
from pylon.live.outlet import Outlet
from pylon.sync.dependencies import Merger
from pylon.sync.documents import DocumentHub

MERGED = b'{"ok":true}'

BODY_BYTES_MAX = 2 * limits.DOCUMENT_UPDATE_BYTES_MAX + 1_024
"""The update in hex and the JSON around it."""


PUSH = Docs(
    operation_id="pushCrdt{entity}",
    tag="{entity}",
    answers=json(object_of(ok=constant(True))),
    caller="session",
    body={JSON: object_of(update={"type": "string", "pattern": "^([0-9a-fA-F]{2})*$"})},
    errors=(
        *("400 MISSING_UPDATE", "400 INVALID_HEX", "400 CRDT_DECODE_FAILED", "400 NOT_SUPPORTED"),
        *("400 INVALID_DATA", "400 UPDATE_FAILED", "403 POLICY_DENIED", "404 NOT_FOUND"),
        "400 REFERENCE_NOT_FOUND",
        *("409 CRDT_DEPENDENCIES_MISSING", "409 CRDT_OUTDATED", "413 CRDT_DOCUMENT_TOO_LARGE"),
        *("413 CRDT_UPDATE_TOO_COSTLY", "429 RATE_LIMITED", "503 CRDT_BUSY", "503 CRDT_WORK_LOST"),
        *("500 INVALID_CRDT_FIELD", "500 CRDT_SNAPSHOT_FAILED", "501 CRDT_UNAVAILABLE"),
    ),
    large_body=True,
    store="writes",
    rule="update",
    only_with="documents",
)
NO_ROW = Hidden(reason="answers 400 BAD_PATH to whoever leaves the row out")


class CrdtRoutes:
    """The handlers of documents."""

    def __init__(self, merger: Merger, documents: DocumentHub) -> None:
        self._merger = merger
        self._documents = documents

    def register(self, router: Router) -> None:
        """Add the route."""
        path = "/api/crdt/{entity}/{id*}"
        router.add(
            "POST", path, telling(self.push_update), summary="Merge a Loro update", docs=PUSH
        )
        # Paths that name no row are answered by what is wrong with them, not by a plain 404.
        for short in ("/api/crdt", "/api/crdt/{entity}"):
            router.add("POST", short, self.refuse_path, summary="Not a row", docs=NO_ROW)

    def messages(self) -> dict[str, Handler]:
        """What sockets may say of documents."""
        return {"crdt-subscribe": self.subscribe, "crdt-unsubscribe": self.unsubscribe}

    async def push_update(self, request: Request, entity: str, row_id: str) -> Response:
        identity = require_session(request.identity)
        update = _update(await _json(request))
        try:
            await self._merger.merge(identity, entity, row_id, update)
        except PylonError as error:
            if error.code == "ENTITY_NOT_FOUND":  # 400 elsewhere (spec 03 section 3.3, check 7)
                raise PylonError(404, error.code, error.message, error.hint) from error
            raise
        return raw_json(MERGED)

    async def refuse_path(self, request: Request, entity: str = "") -> Response:
        require_session(request.identity)
        raise PylonError(
            400, "BAD_PATH", "The path names no row.", "POST /api/crdt/<entity>/<row id>"
        )

    # --- messages of the socket --------------------------------------------------------------

    async def subscribe(self, identity: Identity, outlet: Outlet, said: dict[str, Any]) -> None:
        named = _row_of(said)
        if named is not None:
            await self._documents.subscribe(identity, outlet, *named)

    async def unsubscribe(self, identity: Identity, outlet: Outlet, said: dict[str, Any]) -> None:
        named = _row_of(said)
        if named is not None:
            self._documents.unsubscribe(outlet, *named)


async def _json(request: Request) -> Any:
    await request.body(bytes_max=BODY_BYTES_MAX)
    return await request.json()


def _update(body: Any) -> bytes:
    text = body.get("update") if isinstance(body, dict) else None
    if not isinstance(text, str):
        raise PylonError(
            400, "MISSING_UPDATE", 'The body needs "update".', '{"update": "<the bytes in hex>"}'
        )
    if len(text) > 2 * limits.DOCUMENT_UPDATE_BYTES_MAX:
        raise PylonError(
            413,
            "PAYLOAD_TOO_LARGE",
            f"An update may have {limits.DOCUMENT_UPDATE_BYTES_MAX} bytes.",
        )
    try:
        # `fromhex` would pass over spaces.
        if text and not text.isalnum():
            raise ValueError(text)
        return bytes.fromhex(text)
    except ValueError:
        raise PylonError(
            400, "INVALID_HEX", '"update" must be hexadecimal, two digits a byte.'
        ) from None


def _row_of(said: dict[str, Any]) -> tuple[str, str] | None:
    """Entity and row id that a message names."""
    entity, row_id = said.get("entity"), said.get("rowId", said.get("row_id"))
    if isinstance(entity, str) and isinstance(row_id, str) and entity and row_id:
        return entity, row_id
    return None
