"""The named schemas that do not depend on the app: errors, changes, operations, reports.

Routes refer to them with `describe.shape`. What depends on the app's entities is in `entities.py`.
"""

from __future__ import annotations

from typing import Any, Final

from pylon import limits
from pylon.http.describe import (
    COUNT,
    FLAG,
    TEXT,
    Schema,
    constant,
    listed,
    nullable,
    object_of,
    shape,
)

_HEX = "[0-9a-fA-F]"
_UUID = f"{_HEX}{{8}}-{_HEX}{{4}}-[47]{_HEX}{{3}}-[89abAB]{_HEX}{{3}}-{_HEX}{{12}}"

ROW_ID: Final[Schema] = {
    "type": "string",
    "pattern": f"^([0-9a-f]{{40}}|{_UUID})$",
    "examples": ["00000000000000001856f0a1b2c3d4e50000002a"],
}
"""An id as the server makes it, or as a client may choose it."""

_ROW: Final[Schema] = {"type": "object"}
_ROWS: Final[Schema] = {"type": "object", "additionalProperties": listed(_ROW)}
_ERROR: Final[Schema] = object_of(
    {
        "hint": {"type": "string", "description": "What to do next."},
        "request_id": {"type": "string", "description": "Names the entry in the server's log."},
        "oldest_seq": {**COUNT, "description": "With RESYNC_REQUIRED."},
        "retry_after_secs": {**COUNT, "description": "When to come back."},
        "report": shape("ImportReport"),
        "fields": {
            **listed(shape("FieldFault")),
            "description": "Every wrong field of a row that was refused.",
        },
    },
    code={"type": "string", "description": "Stable; see docs/reference/errors.md."},
    message={"type": "string", "description": "For people; may change."},
)


def _operation(kind: str, **parts: Schema) -> Schema:
    return object_of(op=constant(kind), entity=TEXT, **parts)


_KIND: Final[Schema] = {"type": "string", "enum": ["insert", "update", "delete"]}

SHAPES: Final[dict[str, Schema]] = {
    "Error": object_of(error=_ERROR),
    "FieldFault": object_of(
        field=TEXT,
        code={"type": "string", "description": "Stable; see docs/rows.md."},
        message={"type": "string", "description": 'Stands behind the name: "must be a string".'},
    ),
    "TreeNode": {
        "type": "object",
        "description": "A node with an `id` of the tree is kept; one without is new.",
        "properties": {
            "id": nullable(TEXT),
            "meta": {"type": "object"},
            "children": listed(shape("TreeNode")),
        },
        "additionalProperties": False,
    },
    "Identity": object_of(
        {"is_guest": FLAG, "tenant_id": TEXT},
        user_id=nullable(TEXT),
        is_admin=FLAG,
        roles=listed(TEXT),
    ),
    "Manifest": object_of(
        {name: listed(_ROW) for name in ("routes", "queries", "actions")},
        manifest_version={"type": "integer"},
        name=TEXT,
        version=TEXT,
        entities=listed(_ROW),
        policies=listed(_ROW),
    ),
    # --- sync ---
    "Change": object_of(
        {"data": {**_ROW, "description": "The row, or the fields that changed; not of a delete."}},
        seq=COUNT,
        entity=TEXT,
        row_id=TEXT,
        kind=_KIND,
        timestamp=TEXT,
    ),
    "Cursor": object_of(last_seq=COUNT),
    "PullPage": object_of(changes=listed(shape("Change")), cursor=shape("Cursor"), has_more=FLAG),
    "Push": object_of(
        {"client_id": nullable(TEXT)},
        changes=listed(
            object_of(
                {
                    "data": nullable(_ROW),
                    "op_id": {
                        "type": ["string", "null"],
                        "maxLength": limits.OP_ID_CHARACTERS_MAX,
                        "description": "Makes the change safe to send again.",
                    },
                },
                entity=TEXT,
                row_id={"type": "string", "maxLength": limits.OP_ID_CHARACTERS_MAX},
                kind=_KIND,
            )
        ),
    ),
    "PushAnswer": object_of(
        {"ids": {"type": "object", "additionalProperties": TEXT}},
        applied=COUNT,
        deduped=COUNT,
        errors=listed(TEXT),
        cursor=shape("Cursor"),
    ),
    # --- many writes ---
    "Operation": {
        "oneOf": [
            _operation("insert", data=_ROW),
            _operation("update", id=TEXT, data=_ROW),
            _operation("delete", id=TEXT),
            _operation("link", id=TEXT, relation=TEXT, target_id=TEXT),
            _operation("unlink", id=TEXT, relation=TEXT),
        ]
    },
    "Operations": {**listed(shape("Operation")), "maxItems": limits.BATCH_OPERATIONS_MAX},
    "StrictOperations": object_of(
        {"strict": {**FLAG, "default": False, "description": "A row that is not there is a 404."}},
        operations=shape("Operations"),
    ),
    "OperationResult": object_of(
        {
            "id": TEXT,
            "ok": FLAG,
            "changed": {**FLAG, "description": "False where there was no such row."},
            "error": TEXT,
            "code": TEXT,
            "fields": listed(shape("FieldFault")),
        },
        op=TEXT,
    ),
    "Transacted": object_of(committed=constant(True), results=listed(shape("OperationResult"))),
    "TransactFailure": object_of(
        committed=constant(False), failed_at=COUNT, results=listed(shape("OperationResult"))
    ),
    "Batched": object_of(results=listed(shape("OperationResult")), succeeded=COUNT, failed=COUNT),
    "Link": object_of(entity=TEXT, id=TEXT, relation=TEXT, target_id=TEXT),
    "Unlink": object_of(
        {"target_id": {**TEXT, "description": "Where the key stands on the target."}},
        entity=TEXT,
        id=TEXT,
        relation=TEXT,
    ),
    # --- export, import, people ---
    "Export": object_of(
        exported_at=TEXT,
        entities=_ROWS,
        counts={"type": "object", "additionalProperties": COUNT},
    ),
    "Import": object_of(entities=_ROWS),
    "ImportReport": object_of(
        imported=COUNT,
        failed=COUNT,
        by_entity=listed(
            object_of(entity=TEXT, inserted=COUNT, failed=COUNT, updated=COUNT, skipped=COUNT)
        ),
        updated=COUNT,
        skipped=COUNT,
        errors=listed(
            object_of(row=COUNT, entity=TEXT, id=nullable(TEXT), code=TEXT, message=TEXT)
        ),
        errors_omitted=COUNT,
    ),
    "SubjectExport": object_of(
        {
            "sessions": listed(
                object_of(
                    device=nullable(TEXT),
                    created_at=COUNT,
                    expires_at=COUNT,
                    last_seen_at=COUNT,
                )
            )
        },
        user_id=TEXT,
        exported_at=TEXT,
        entities=_ROWS,
    ),
    "Purged": object_of(
        user_id=TEXT, rows_deleted=COUNT, sessions_revoked=COUNT, errors=listed({}), purged_at=TEXT
    ),
}


# --- filters ---------------------------------------------------------------------------------

_TEXT_OPERATORS: Final = ("$like", "$ilike", "$startsWith", "$contains")
_ORDERED: Final = ("$gt", "$gte", "$lt", "$lte")

VALUES: Final[dict[str, dict[str, Any]]] = {
    "string": {"type": "string"},
    "richtext": {"type": "string"},
    "id": {"type": "string"},
    "datetime": {"type": "string", "format": "date-time"},
    "int": {"type": "integer", "format": "int64"},
    "float": {"type": "number", "format": "double"},
    "bool": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "decimal": {"type": "string", "pattern": r"^-?\d+(\.\d+)?$"},
    "json": {"description": "Any JSON value."},
    "list": {"type": "array"},
}
"""How a value of each kind of field looks (spec 01 section 10)."""


_COMPARED: Final[dict[str, Schema]] = {
    "int": {"type": "number"},
    "decimal": {"type": ["string", "number"]},
}
"""What values of some kinds are compared with."""


def _match_json(kind: str) -> Schema:
    """Whole values are alike or not; of lists it may be asked what they have."""
    value = {**VALUES[kind]}
    properties: dict[str, Any] = {"$eq": value, "$ne": value, "$exists": FLAG, "$null": FLAG}
    if kind == "list":
        properties["$contains"] = {"type": ["string", "number"]}
    operators = {"type": "object", "properties": properties, "additionalProperties": False}
    return {"anyOf": [{"type": "null"}, operators]}


def match_schema(kind: str) -> Schema:
    """What a filter may say of a field of this kind: a value, or operators that must all hold."""
    if kind in ("json", "list"):
        return _match_json(kind)
    compared = _COMPARED.get(kind, VALUES[kind])
    either = nullable(compared)
    properties: dict[str, Any] = {
        "$eq": either,
        "$ne": either,
        "$not": {
            "anyOf": [either, {"type": "object"}],
            "description": "Another value, or operators that do not all hold.",
        },
        "$in": listed(either),
        "$nin": listed(either),
        "$exists": FLAG,
        "$null": FLAG,
    }
    if kind != "bool":
        properties.update(dict.fromkeys(_ORDERED, compared))
    if compared.get("type") == "string":
        properties.update(dict.fromkeys(_TEXT_OPERATORS, TEXT))
    operators = {"type": "object", "properties": properties, "additionalProperties": False}
    return {"anyOf": [either, operators]}


MATCHES: Final[dict[str, Schema]] = {f"Match.{kind}": match_schema(kind) for kind in VALUES}
"""By kind of field; a filter of an entity names these."""
