"""`/api/entities/...`: rows over HTTP (spec 02 section 4). Parses, calls `data.Rows`, renders."""

from __future__ import annotations

from pylon import limits
from pylon.api.long_lists import long_list_response
from pylon.api.once import Once
from pylon.codec import encode
from pylon.data.long_lists import LongList
from pylon.data.rows import Rows
from pylon.errors import PylonError
from pylon.http.describe import COUNT, JSON, TEXT, Docs, Parameter, constant, json, object_of, shape
from pylon.http.request import Request
from pylon.http.response import AnyResponse, Response, raw_json
from pylon.http.router import Router

UPDATED = b'{"updated":true}'
DELETED = b'{"deleted":true}'

LIST = Docs(
    operation_id="list{entity}",
    tag="{entity}",
    answers=json(shape("{entity}.List")),
    query=(
        Parameter(name="limit", schema=COUNT, description="At most so many rows."),
        Parameter(name="offset", schema={**COUNT, "default": 0}),
    ),
    errors=("403 POLICY_DENIED",),
    store="reads",
    rule="read",
)
PAGE = Docs(
    operation_id="list{entity}ByCursor",
    tag="{entity}",
    answers=json(shape("{entity}.Page")),
    query=(
        Parameter(name="after", schema=TEXT, description="The `next_cursor` of the page before."),
        Parameter(
            name="limit",
            schema={
                "type": "integer",
                "minimum": 1,
                "maximum": limits.CURSOR_ROWS_MAX,
                "default": limits.CURSOR_ROWS_DEFAULT,
            },
        ),
    ),
    errors=("403 POLICY_DENIED",),
    store="reads",
    rule="read",
)
GET = Docs(
    operation_id="get{entity}ById",
    tag="{entity}",
    answers=json(shape("{entity}")),
    errors=("403 POLICY_DENIED", "404 NOT_FOUND"),
    store="reads",
    rule="read",
)
INSERT = Docs(
    operation_id="create{entity}",
    tag="{entity}",
    answers=json(object_of(id=TEXT), 201),
    body={JSON: shape("{entity}.Insert")},
    errors=(
        *("400 INVALID_DATA", "400 INVALID_COLUMN", "400 INSERT_FAILED"),
        *("403 POLICY_DENIED", "409 ID_TAKEN"),
    ),
    large_body=True,
    store="writes",
    takes_key=True,
    rule="insert",
)
UPDATE = Docs(
    operation_id="update{entity}",
    tag="{entity}",
    answers=json(object_of(updated=constant(True))),
    body={JSON: shape("{entity}.Patch")},
    errors=(
        *("400 INVALID_DATA", "400 INVALID_COLUMN", "400 UPDATE_FAILED"),
        *("403 POLICY_DENIED", "404 NOT_FOUND", "500 INVALID_CRDT_FIELD"),
    ),
    large_body=True,
    store="writes",
    takes_key=True,
    rule="update",
)
DELETE = Docs(
    operation_id="delete{entity}",
    tag="{entity}",
    answers=json(object_of(deleted=constant(True))),
    errors=("403 POLICY_DENIED", "404 NOT_FOUND"),
    store="writes",
    takes_key=True,
    rule="delete",
)


class EntityRoutes:
    """The handlers of the entity routes."""

    def __init__(self, rows: Rows, once: Once) -> None:
        self._rows = rows
        self._once = once

    def register(self, router: Router) -> None:
        """Add the routes."""
        rows, row = "/api/entities/{entity}", "/api/entities/{entity}/{id*}"
        page = f"{rows}/cursor"
        add, once = router.add, self._once
        add("GET", rows, self.list_rows, summary="List rows by id", docs=LIST)
        add("POST", rows, once(self.insert_row), summary="Insert a row", docs=INSERT)
        add("GET", page, self.page_rows, summary="A page of rows after an id", docs=PAGE)
        add("GET", row, self.get_row, summary="One row", docs=GET)
        add("PATCH", row, once(self.update_row), summary="Change fields of a row", docs=UPDATE)
        add("DELETE", row, once(self.delete_row), summary="Delete a row", docs=DELETE)

    async def list_rows(self, request: Request, entity: str) -> AnyResponse:
        limit = request.query_int("limit", default=None)
        offset = request.query_int("offset", default=0) or 0
        found = await self._rows.list_or_long(request.identity, entity, limit=limit, offset=offset)
        asks_for_more = limit is None or limit > limits.LIST_ROWS_MAX
        cut = asks_for_more and len(found) == limits.LIST_ROWS_MAX
        facts = {"offset": offset, "limit": limits.LIST_ROWS_MAX if cut else limit}
        if isinstance(found, LongList):
            rows = found
            return long_list_response(
                rows, b'{"data":[', lambda: b"]," + encode({"count": rows.count, **facts})[1:]
            )
        return raw_json(encode({"data": found, "count": len(found), **facts}))

    async def page_rows(self, request: Request, entity: str) -> Response:
        asked, after = request.query_int("limit", default=None), request.query("after")
        if asked is None and after is None:
            # It may be the address of a row, too: who pages says from where or how far.
            try:
                return await self.get_row(request, entity, "cursor")
            except PylonError as error:
                if error.code != "NOT_FOUND":
                    raise
            asked = limits.CURSOR_ROWS_DEFAULT
        limit = max(1, min(asked or 1, limits.CURSOR_ROWS_MAX))
        page = await self._rows.page(request.identity, entity, after=after or "", limit=limit)
        return raw_json(
            encode({"data": page.rows, "next_cursor": page.next_cursor, "has_more": page.has_more})
        )

    async def get_row(self, request: Request, entity: str, row_id: str) -> Response:
        return raw_json(encode(await self._rows.get(request.identity, entity, row_id)))

    async def insert_row(self, request: Request, entity: str) -> Response:
        row = await self._rows.insert(request.identity, entity, await request.json())
        return raw_json(encode({"id": row["id"]}), 201)

    async def update_row(self, request: Request, entity: str, row_id: str) -> Response:
        await self._rows.update(request.identity, entity, row_id, await request.json())
        return raw_json(UPDATED)

    async def delete_row(self, request: Request, entity: str, row_id: str) -> Response:
        await self._rows.delete(request.identity, entity, row_id)
        return raw_json(DELETED)
