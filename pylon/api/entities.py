"""`/api/entities/...`: rows over HTTP (spec 02 section 4). Parses, calls `data.Rows`, renders."""

from __future__ import annotations

from pylon import limits
from pylon.api.changed import tell
from pylon.api.long_lists import (
    FIELDS,
    SPREADSHEET,
    csv_response,
    found_response,
    long_list_response,
    told,
)
from pylon.api.once import Once
from pylon.codec import decode, encode
from pylon.data.changed import Changed
from pylon.data.cursors import id_cursor, is_plain
from pylon.data.filters import COUNTS
from pylon.data.lists import Asked, Lists
from pylon.data.long_lists import LongList
from pylon.data.rows import Rows
from pylon.errors import PylonError
from pylon.http.describe import COUNT, JSON, TEXT, Docs, Parameter, constant, json, object_of, shape
from pylon.http.request import Request
from pylon.http.response import AnyResponse, Response, raw_json
from pylon.http.router import Router
from pylon.wire.csv_format import CSV

UPDATED = b'{"updated":true}'
DELETED = b'{"deleted":true}'

_QUESTION = (
    Parameter(
        name="filter",
        schema=TEXT,
        description="JSON, as the body of a query without its order, limits, fields and count.",
    ),
    Parameter(
        name="sort",
        schema=TEXT,
        description="Fields with commas between, those with a minus descending: `-dueAt,title`.",
    ),
    Parameter(
        name="order",
        schema={"type": "string", "enum": ["asc", "desc"], "default": "asc"},
        description="The direction of fields of `sort` without a sign; without `sort`, of the id.",
    ),
    FIELDS,
    Parameter(
        name="count",
        schema={"type": "string", "enum": list(COUNTS)},
        description="Tells the `total` of the rows that are found, whatever the limit. `estimated`"
        f" counts up to {limits.COUNT_ROWS_MAX}; where there are more, `total_relation` is `gte`.",
    ),
)
_ASKING = frozenset(each.name for each in _QUESTION)
_PAGING = _ASKING | {"limit", "after"}
_LISTING = _ASKING | {"format", "spreadsheet"}

LIST = Docs(
    operation_id="list{entity}",
    tag="{entity}",
    answers={200: {JSON: shape("{entity}.List"), CSV.decode(): TEXT}},
    query=(
        *_QUESTION,
        Parameter(
            name="format",
            schema={"type": "string", "enum": ["json", "csv"]},
            description="`csv`: a line a row, behind one with the names of the fields.",
        ),
        SPREADSHEET,
        Parameter(name="limit", schema=COUNT, description="At most so many rows."),
        Parameter(name="offset", schema={**COUNT, "default": 0}),
    ),
    errors=("400 INVALID_COLUMN", "403 POLICY_DENIED"),
    store="reads",
    begins_at_once=True,
    rule="read",
)
PAGE = Docs(
    operation_id="list{entity}ByCursor",
    tag="{entity}",
    answers=json(shape("{entity}.Page")),
    query=(
        *_QUESTION,
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
    errors=("400 INVALID_COLUMN", "403 POLICY_DENIED", "404 ENTITY_NOT_FOUND"),
    store="reads",
    begins_at_once=True,
    rule="read",
)
GET = Docs(
    operation_id="get{entity}ById",
    tag="{entity}",
    answers=json(shape("{entity}.Selected")),
    query=(FIELDS,),
    names_its_answer=True,
    errors=(
        *("400 INVALID_COLUMN", "403 POLICY_DENIED"),
        *("404 NOT_FOUND", "404 ENTITY_NOT_FOUND"),
    ),
    store="reads",
    begins_at_once=True,
    rule="read",
)
INSERT = Docs(
    operation_id="create{entity}",
    tag="{entity}",
    answers=json(object_of(id=TEXT), 201),
    body={JSON: shape("{entity}.Insert")},
    errors=(
        *("400 INVALID_DATA", "400 INVALID_COLUMN", "400 INSERT_FAILED"),
        "400 REFERENCE_NOT_FOUND",
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
        "400 REFERENCE_NOT_FOUND",
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
    errors=(
        *("403 POLICY_DENIED", "404 NOT_FOUND"),
        *("409 ROW_REFERENCED", "413 CASCADE_TOO_LARGE"),
    ),
    store="writes",
    takes_key=True,
    rule="delete",
)


class EntityRoutes:
    """The handlers of the entity routes."""

    def __init__(self, rows: Rows, once: Once) -> None:
        self._rows = rows
        self._lists = Lists(rows.door)
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
        add(
            "PATCH",
            row,
            once(self.update_row),
            summary="Change fields of a row",
            docs=UPDATE,
        )
        add("DELETE", row, once(self.delete_row), summary="Delete a row", docs=DELETE)

    async def list_rows(self, request: Request, entity: str) -> AnyResponse:
        if request.query_string and not _LISTING.isdisjoint(request.query_values()):
            return await self._listed(request, entity)
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

    async def _listed(self, request: Request, entity: str) -> AnyResponse:
        """A list that was asked for in more words."""
        asked = _asked(
            request,
            limit=request.query_int("limit", default=None),
            offset=request.query_int("offset", default=0) or 0,
        )
        if _is_csv(request):
            return csv_response(
                await self._lists.table(request.identity, entity, asked),
                is_for_spreadsheet=request.query_flag("spreadsheet"),
            )
        found = await self._lists.find(request.identity, entity, asked)
        most = limits.LIST_ROWS_MAX
        cut = (asked.limit is None or asked.limit > most) and found.count == most
        return found_response(found, offset=asked.offset, limit=most if cut else asked.limit)

    async def page_rows(self, request: Request, entity: str) -> Response:
        """A page; 404 for an entity that is not there, by which newer clients drop it."""
        try:
            return await self._page_rows(request, entity)
        except PylonError as error:
            raise _not_there(error) from None

    async def _page_rows(self, request: Request, entity: str) -> Response:
        values = request.query_values()
        if _PAGING.isdisjoint(values):
            # It may be the address of a row, too: who pages says from where or how far.
            try:
                return await self.get_row(request, entity, "cursor")
            except PylonError as error:
                if error.code != "NOT_FOUND":
                    raise
        given = request.query_int("limit", default=limits.CURSOR_ROWS_DEFAULT)
        limit = max(1, min(given or 1, limits.CURSOR_ROWS_MAX))
        after = request.query("after") or ""
        if is_plain(after) and _ASKING.isdisjoint(values):
            page = await self._rows.page(request.identity, entity, after=after, limit=limit)
            cursor, total = id_cursor(page.next_cursor), None
        else:
            asked = _asked(request, limit=limit, after=after)
            page, total = await self._lists.page(request.identity, entity, asked)
            cursor = page.next_cursor
        answer = {"data": page.rows, "next_cursor": cursor, "has_more": page.has_more}
        return raw_json(encode({**answer, **told(total)}))

    async def get_row(self, request: Request, entity: str, row_id: str) -> Response:
        """A row; 404 also where there is no such entity: the address is of nothing."""
        try:
            row = await self._rows.get(request.identity, entity, row_id)
        except PylonError as error:
            raise _not_there(error) from None
        if request.query_string and (fields := request.query("fields")):
            row = self._lists.pick(request.identity, entity, row, fields)
        return raw_json(encode(row))

    async def insert_row(self, request: Request, entity: str) -> Response:
        data, changed = await request.json(), Changed()
        row = await self._rows.insert(request.identity, entity, data, changed)
        return tell(raw_json(encode({"id": row["id"]}), 201), changed)

    async def update_row(self, request: Request, entity: str, row_id: str) -> Response:
        patch, changed = await request.json(), Changed()
        await self._rows.update(request.identity, entity, row_id, patch, changed)
        return tell(raw_json(UPDATED), changed)

    async def delete_row(self, request: Request, entity: str, row_id: str) -> Response:
        changed = Changed()
        await self._rows.delete(request.identity, entity, row_id, changed)
        return tell(raw_json(DELETED), changed)


def _is_csv(request: Request) -> bool:
    form = request.query("format") or "json"
    if form not in ("json", "csv"):
        raise PylonError(400, "INVALID_QUERY", "format must be one of: json, csv.")
    if form == "json" and request.query_flag("spreadsheet"):
        raise PylonError(400, "INVALID_QUERY", "spreadsheet belongs to format=csv.")
    return form == "csv"


def _not_there(error: PylonError) -> PylonError:
    """404 for an entity that is not there, which is 400 elsewhere (spec 02 section 3, spec 09
    section 2); other refusals as they are."""
    if error.code != "ENTITY_NOT_FOUND":
        return error
    return PylonError(404, error.code, error.message, error.hint)


def _asked(request: Request, *, limit: int | None, offset: int = 0, after: str = "") -> Asked:
    """The question that the query string is."""
    text = request.query("filter")
    try:
        condition = decode(text) if text else None
    except PylonError as error:
        raise PylonError(
            400,
            "INVALID_QUERY",
            "filter must be a JSON object, percent-encoded.",
            """curl -G .. --data-urlencode 'filter={"done": false}'""",
        ) from error
    return Asked(
        filter=condition,
        sort=request.query("sort") or "",
        order=request.query("order") or "",
        fields=request.query("fields") or "",
        count=request.query("count") or "",
        limit=limit,
        offset=offset,
        after=after,
    )
