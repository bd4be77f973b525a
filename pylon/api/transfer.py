"""`/api/export` and `/api/import`, for administrators (spec 02 sections 6.4 and 6.5).

Both are streams in constant memory, as the JSON object of the reference, as one row a line, or as
CSV, which has rows of one entity.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final, cast

from pylon import limits
from pylon.api.changed import telling
from pylon.api.long_lists import SPREADSHEET
from pylon.api.once import HEADER as KEY_HEADER
from pylon.codec import encode
from pylon.data.exports import Format
from pylon.data.imports import MODES, Import, Key, Mode, Report
from pylon.data.transfer import Transfer
from pylon.errors import PylonError
from pylon.http.describe import JSON as JSON_TYPE
from pylon.http.describe import TEXT, Content, Docs, Parameter, shape
from pylon.http.errors import ClientDisconnected
from pylon.http.request import Request
from pylon.http.response import JSON, AnyResponse, StreamResponse, raw_json
from pylon.http.router import Router
from pylon.identity import require_admin
from pylon.wire.csv_format import CSV, CSV_UTF8
from pylon.wire.export_format import NDJSON, Incoming, LineSplitter, ObjectSplitter, Splitter

IMPORT_PATH = "/api/import"
"""The path whose bodies may be as large as `limits.IMPORT_BYTES_MAX`."""

_FORMAT = Parameter(
    name="format",
    schema={"type": "string", "enum": ["json", "ndjson", "csv"]},
    description="Decides before the header does. CSV has rows of one entity.",
)
_DUMP: Content = {JSON_TYPE: shape("Export"), NDJSON.decode(): TEXT}

EXPORT = Docs(
    operation_id="exportAll",
    tag="admin",
    answers={200: _DUMP},
    caller="administrator",
    query=(_FORMAT,),
    errors=("400 INVALID_QUERY",),
    store="reads",
)
EXPORT_ONE = Docs(
    operation_id="export{entity}",
    tag="admin",
    answers={200: {**_DUMP, CSV.decode(): TEXT}},
    caller="administrator",
    query=(_FORMAT, SPREADSHEET),
    errors=("400 INVALID_QUERY",),
    store="reads",
)
IMPORT = Docs(
    operation_id="importRows",
    tag="admin",
    answers={200: {JSON_TYPE: shape("ImportReport"), NDJSON.decode(): TEXT}},
    description="With `Accept: application/x-ndjson` progress is told while the import runs.",
    caller="administrator",
    body={JSON_TYPE: shape("Import"), NDJSON.decode(): TEXT, CSV.decode(): TEXT},
    query=(
        _FORMAT,
        Parameter(
            name="mode",
            schema={"type": "string", "enum": list(MODES)},
            description="What becomes of rows that exist; by default `skip`, with a key `upsert`.",
        ),
        Parameter(
            name="entity", schema=TEXT, description="Whose rows a CSV file has, or a key finds."
        ),
        Parameter(
            name="key",
            schema=TEXT,
            description="Unique fields with commas between: rows of the entity that have the same"
            " values exist, whatever their ids.",
        ),
    ),
    errors=(
        *("400 INVALID_QUERY", "400 INVALID_COLUMN", "400 INVALID_CSV"),
        *("400 MISSING_FIELD", "400 ENTITY_NOT_FOUND"),
    ),
    store="writes",
    streams_body=True,
)

_CONTENT_TYPES: Final[dict[Format, bytes]] = {"json": JSON, "ndjson": NDJSON, "csv": CSV_UTF8}

_LINE_TYPES = (NDJSON, b"application/ndjson", b"application/jsonl", b"application/x-jsonlines")


class TransferRoutes:
    """The handlers."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer

    def register(self, router: Router) -> None:
        """Add the routes."""
        one = "/api/export/{entity}"
        add = router.add
        add("GET", "/api/export", self.export_all, summary="Every row of the app", docs=EXPORT)
        add("GET", one, self.export_one, summary="Rows of an entity", docs=EXPORT_ONE)
        add(
            "POST",
            IMPORT_PATH,
            telling(self.import_rows),
            summary="Rows with their ids",
            docs=IMPORT,
        )

    async def export_all(self, request: Request) -> StreamResponse:
        return await self._export(request, None)

    async def export_one(self, request: Request, entity: str) -> StreamResponse:
        return await self._export(request, entity)

    async def _export(self, request: Request, entity: str | None) -> StreamResponse:
        require_admin(request.identity)
        form = _form(request, b"accept")
        is_for_spreadsheet = entity is not None and request.query_flag("spreadsheet")
        if form == "csv" and entity is None:
            hint = "GET /api/export/<Entity>?format=csv"
            raise PylonError(400, "INVALID_QUERY", "A CSV file has rows of one entity.", hint)
        if is_for_spreadsheet and form != "csv":
            raise PylonError(400, "INVALID_QUERY", "spreadsheet belongs to format=csv.")
        text = await self._transfer.export(entity, form=form, is_for_spreadsheet=is_for_spreadsheet)
        return StreamResponse(200, text, content_type=_CONTENT_TYPES[form])

    async def import_rows(self, request: Request) -> AnyResponse:
        """A report at the end; with `Accept: application/x-ndjson` progress lines before it."""
        identity = require_admin(request.identity)
        if KEY_HEADER in request.headers:
            raise PylonError(
                400,
                "IDEMPOTENCY_KEY_UNSUPPORTED",
                "An import takes no Idempotency-Key.",
                "Rows that have ids may be imported again: those that are there are skipped.",
            )
        entity, key = request.query("entity"), self._key(request)
        mode = request.query("mode") or ("skip" if key is None else "upsert")
        if mode not in MODES:
            raise PylonError(400, "INVALID_QUERY", f"mode must be one of: {', '.join(MODES)}.")
        splitter = self._splitter(_form(request, b"content-type"), entity, key)
        work = self._transfer.start_import(identity, mode=cast("Mode", mode), key=key)
        rows = _read_rows(request, work, splitter)
        if b"application/x-ndjson" in request.headers.get(b"accept", b""):
            body = _progress(rows, work)
            return StreamResponse(200, body, content_type=NDJSON, reads_body=True)
        async for _ in rows:
            pass
        return raw_json(encode(_report(work.report)))

    def _key(self, request: Request) -> Key | None:
        key, entity = request.query("key"), request.query("entity")
        if not key:
            return None
        if not entity:
            message = "A key is of one entity: say which with entity=."
            raise PylonError(400, "INVALID_QUERY", message)
        return self._transfer.key(entity, [name.strip() for name in key.split(",")])

    def _splitter(self, form: Format, entity: str | None, key: Key | None) -> Splitter:
        if form == "csv":
            if not entity:
                hint = "POST /api/import?format=csv&entity=<Entity>"
                raise PylonError(400, "INVALID_QUERY", "A CSV file has rows of one entity.", hint)
            return self._transfer.csv_rows(entity)
        if entity and key is None:
            message = "entity says whose rows a CSV file has, or a key finds; here it is neither."
            raise PylonError(400, "INVALID_QUERY", message)
        return LineSplitter() if form == "ndjson" else ObjectSplitter()


async def _read_rows(
    request: Request, work: Import, splitter: Splitter
) -> AsyncGenerator[None, None]:
    """Import the body as it arrives; stops here and there for whoever reports progress.

    An error in the text ends it; what was read before stays imported and is told with the error.
    """
    told = 0
    try:
        async for chunk in request.stream(bytes_max=limits.IMPORT_BYTES_MAX):
            for row in splitter.feed(chunk):
                await _take(work, row)
            if work.report.rows - told >= limits.IMPORT_PROGRESS_ROWS:
                told = work.report.rows
                yield
        for row in splitter.finish():
            await _take(work, row)
        await work.finish()
    except PylonError as error:
        if work.report.rows:
            if error.status < 500:
                await work.finish()
            error.extra["report"] = _report(work.report)
        raise


async def _take(work: Import, row: Incoming | None) -> None:
    if row is None:
        await asyncio.sleep(0)
    elif row.error is not None:
        work.refuse(row.number, row.error)
    else:
        await work.add(row.number, row.entity, row.row, size=row.size)


async def _progress(rows: AsyncGenerator[None, None], work: Import) -> AsyncGenerator[bytes, None]:
    """The lines of an import: `{"progress": ..}` now and then, at the end `{"done": true, ..}`."""
    try:
        async for _ in rows:
            report = work.report
            yield _line({"progress": {"rows": report.rows, "failed": report.failed}})
    except PylonError as error:
        yield _line(error.to_wire())
    except ClientDisconnected:
        return
    else:
        yield _line({"done": True, **_report(work.report)})


def _line(value: dict[str, Any]) -> bytes:
    return encode(value) + b"\n"


def _form(request: Request, header: bytes) -> Format:
    """`?format=` decides, else the header."""
    asked = request.query("format")
    if asked is not None:
        form = next((each for each in _CONTENT_TYPES if each == asked), None)
        if form is None:
            known = ", ".join(_CONTENT_TYPES)
            raise PylonError(400, "INVALID_QUERY", f"format must be one of: {known}.")
        return form
    value = request.headers.get(header, b"").lower()
    if any(each in value for each in _LINE_TYPES):
        return "ndjson"
    return "csv" if CSV in value else "json"


def _report(report: Report) -> dict[str, Any]:
    """The reference's keys first, ours beside them."""
    return {
        "imported": report.total("inserted"),
        "failed": report.failed,
        "by_entity": [
            {
                "entity": entity,
                "inserted": counts.inserted,
                "failed": counts.failed,
                "updated": counts.updated,
                "skipped": counts.skipped,
            }
            for entity, counts in report.by_entity.items()
        ],
        "updated": report.total("updated"),
        "skipped": report.total("skipped"),
        "errors": [
            {
                "row": failure.number,
                "entity": failure.entity,
                "id": failure.id,
                "code": failure.error.code,
                "message": failure.error.message,
            }
            for failure in sorted(report.failures, key=lambda each: each.number)
        ],
        "errors_omitted": report.failed - len(report.failures),
    }
