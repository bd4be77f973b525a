"""One operation of a bulk request: read from JSON, carried out in a `Transaction`.

Operations are inserts, updates, deletes, links and unlinks (spec 02 sections 6.1 to 6.3). Not
here: how many share a transaction, and what their answers look like (`bulk.py`).
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from pylon.data.errors import not_found
from pylon.data.rows import Rows
from pylon.data.table import Table
from pylon.data.write import Transaction
from pylon.errors import PylonError
from pylon.identity import Identity
from pylon.listing import listed
from pylon.schema.diagnostics import did_you_mean
from pylon.schema.model import RelationSpec

KINDS: Final = ("insert", "update", "delete", "link", "unlink")

_TEXTS: Final = ("entity", "id", "relation", "target_id")

_KEYS: Final = {"op", "data", *_TEXTS}


class Operation(Struct, frozen=True, kw_only=True):
    """What is to be done; parts that a kind does not use are empty."""

    kind: str
    entity: str
    id: str = ""
    data: Any = None
    relation: str = ""
    target_id: str = ""


def read_operation(value: Any) -> Operation:
    """An operation from its JSON; 400 `INVALID_OPERATION` when it is none.

    As in the reference a missing `id` is empty and missing `data` is `{}`.
    """
    if not isinstance(value, dict):
        raise _invalid("an operation must be a JSON object")
    kind = value.get("op")
    if kind not in KINDS:
        raise _invalid("unknown operation", f"Known: {', '.join(KINDS)}.")
    if not value.keys() <= _KEYS:
        key = next(key for key in value if key not in _KEYS)
        raise _invalid(f'an operation has no key "{key[:100]}"', did_you_mean(key, sorted(_KEYS)))
    texts = {name: value.get(name, "") for name in _TEXTS}
    wrong = [name for name, text in texts.items() if not isinstance(text, str)]
    if wrong:
        raise _invalid(f"{', '.join(wrong)} must be a string")
    data = value.get("data", {})
    if kind in ("insert", "update") and not isinstance(data, dict):
        raise PylonError(400, "INVALID_DATA", "The data must be a JSON object.")
    return Operation(kind=kind, data=data, **texts)


def name_of(value: Any) -> str:
    """What an operation that may be malformed calls itself, for its line in the answer."""
    kind = value.get("op") if isinstance(value, dict) else None
    return kind[:100] if isinstance(kind, str) else ""


def id_of(value: Any) -> str | None:
    """The id that it names, if it does; an insert has none before it is done."""
    if isinstance(value, dict) and value.get("op") != "insert":
        row_id = value.get("id")
        return row_id if isinstance(row_id, str) else None
    return None


async def perform(rows: Rows, identity: Identity, tx: Transaction, operation: Operation) -> str:
    """Do it, and return the id of the row; failures as the methods of `Transaction`."""
    kind, entity, row_id = operation.kind, operation.entity, operation.id
    if kind == "insert":
        stored = await tx.insert(entity, operation.data)
        return str(stored["id"])
    if kind == "update":
        await tx.update(entity, row_id, operation.data)
    elif kind == "delete":
        await tx.delete(entity, row_id)
    else:
        await _relate(rows, identity, tx, operation)
    return row_id


# --- links -----------------------------------------------------------------------------------


async def _relate(rows: Rows, identity: Identity, tx: Transaction, operation: Operation) -> None:
    """Set or clear the foreign key of a relation, under the update rule of the row that has it.

    The key of a to-many relation may stand on the target; then the target is what changes.
    """
    table = rows.table(operation.entity)
    relation = _relation(rows, table, operation.relation, identity)
    is_link = operation.kind == "link"
    if relation.field in table.fields:
        key = None
        if is_link:
            key = await _need_visible(rows, identity, tx, relation.target, operation.target_id)
        await tx.update(table.name, operation.id, {relation.field: key})
        return
    own = await _need_visible(rows, identity, tx, table.name, operation.id)
    if not is_link:
        held = await tx.get(relation.target, operation.target_id)
        if held is None or held.get(relation.field) != own:
            raise not_found(relation.target)
    key = own if is_link else None
    await tx.update(relation.target, operation.target_id, {relation.field: key})


def _relation(rows: Rows, table: Table, name: str, identity: Identity) -> RelationSpec:
    """The relation; those that go through private fields are not there for clients."""
    relations = {
        each.name: each
        for each in table.spec.relations
        if identity.is_admin or not _is_private(rows, table, each)
    }
    relation = relations.get(name)
    if relation is None:
        known = listed(relations) or "none"
        raise PylonError(
            400,
            "RELATION_NOT_FOUND",
            f'{table.name} has no relation "{name[:100]}". Its relations: {known}.',
        )
    return relation


def _is_private(rows: Rows, table: Table, relation: RelationSpec) -> bool:
    owner = table if relation.field in table.fields else rows.table(relation.target)
    return relation.field in owner.private


async def _need_visible(
    rows: Rows, identity: Identity, tx: Transaction, entity: str, row_id: str
) -> str:
    """The id as it is stored; 404 for a row that is not there or that the caller may not see:
    nobody can tell which."""
    row = await tx.get(entity, row_id)
    if row is None or not await tx.can_read(entity, row):
        raise not_found(entity)
    return str(row["id"])


def _invalid(message: str, hint: str | None = None) -> PylonError:
    return PylonError(400, "INVALID_OPERATION", message, hint)
