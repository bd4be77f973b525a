"""Pushes: the queued changes of an offline-capable client (spec 03 section 3.2).

In order (but for `push_order.py`), under the caller's policies, through the same door as every
write (`Rows.write`); the first one that fails ends the push, because the official client matches
results to changes by their place. Changes that share a unit share a commit, each in a savepoint of
its own, with what is remembered of it. Not here: HTTP (`api/sync.py`), what is remembered of a push
(`temporary.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field

from pylon import limits
from pylon.data.cascade import TOO_LARGE
from pylon.data.errors import told_denial
from pylon.data.rows import Rows
from pylon.data.write import Transaction
from pylon.errors import PylonError
from pylon.identity import Identity, caller_key
from pylon.ids import is_well_formed_row_id
from pylon.sync.push_order import Order, Progress
from pylon.sync.push_order import PushedChange as PushedChange
from pylon.sync.temporary import Temporary, is_temporary

KINDS = ("insert", "update", "delete")


class Pushed(Struct, kw_only=True):
    """What became of a push: so many changes from the start are done, `errors` says why not more.

    `deduped` of the applied ones had been done before; `ids` maps temporary ids to real ones.
    `seqs` says of each applied one where its change is in the log, 0 where it changed nothing or
    was done out of turn, None where it had been done before; `failure`, a code and a text, why the
    next one failed.
    """

    applied: int = 0
    seqs: list[int | None] = field(default_factory=list)
    failure: tuple[str, str] | None = None
    deduped: int = 0
    errors: list[str] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)

    def add(self, other: Pushed) -> None:
        """Count a later part of the same push in."""
        self.applied += other.applied
        self.seqs += other.seqs
        self.failure = self.failure or other.failure
        self.deduped += other.deduped
        self.errors += other.errors
        self.ids.update(other.ids)


def read_changes(body: Any) -> list[PushedChange]:
    """The changes in a push's body, the first `limits.PUSH_CHANGES_MAX` of them; 400
    `INVALID_JSON` when it has another shape."""
    changes = body.get("changes") if isinstance(body, dict) else None
    if not isinstance(changes, list):
        raise _invalid('The body needs an array "changes".')
    client_id = body.get("client_id")
    if not (client_id is None or isinstance(client_id, str)):
        raise _invalid('"client_id" must be a string.')
    first = changes[: limits.PUSH_CHANGES_MAX]
    return [_read_change(change, place) for place, change in enumerate(first)]


def _read_change(value: Any, place: int) -> PushedChange:
    if not isinstance(value, dict):
        raise _invalid(f"Change {place} must be an object.")
    for name in ("entity", "row_id", "kind"):
        if not isinstance(value.get(name), str):
            raise _invalid(f'Change {place} needs a string "{name}".')
    if value["kind"] not in KINDS:
        raise _invalid(f"Change {place} has an unknown kind. Known: {', '.join(KINDS)}.")
    op_id = value.get("op_id")
    if not (op_id is None or isinstance(op_id, str)):
        raise _invalid(f'"op_id" of change {place} must be a string.')
    if max(len(op_id or ""), len(value["row_id"])) > limits.OP_ID_CHARACTERS_MAX:
        raise _invalid(
            f"Ids of change {place} are longer than {limits.OP_ID_CHARACTERS_MAX} characters."
        )
    return PushedChange(
        entity=value["entity"],
        row_id=value["row_id"],
        kind=value["kind"],
        data=value.get("data"),
        op_id=op_id or None,
    )


def _invalid(message: str) -> PylonError:
    return PylonError(400, "INVALID_JSON", message)


class Push:
    """Applies pushes."""

    def __init__(self, rows: Rows, temporary: Temporary) -> None:
        self._rows = rows
        self._temporary = temporary

    async def push(self, identity: Identity, changes: Sequence[PushedChange]) -> Pushed:
        """Apply changes in order up to the first that fails, `limits.PUSH_CHANGES_MAX` at most.

        A failure of the server (5xx) is raised when nothing has been applied yet; otherwise what
        is left simply has no result, and the client sends it again.
        """
        done = Pushed()
        order = Order(self._rows, changes[: limits.PUSH_CHANGES_MAX])
        while done.applied < len(order.changes) and not done.errors:
            try:
                part = await self._push_part(identity, order, done.applied)
            except PylonError:
                if not done.applied:
                    raise
                break
            done.add(part)
        return done

    async def _push_part(self, identity: Identity, order: Order, start: int) -> Pushed:
        """Apply changes from this one on in one unit."""

        async def unit(tx: Transaction) -> tuple[Pushed, Progress]:
            done, progress = Pushed(), order.progress.copy()
            end = min(start + limits.PUSH_UNIT_CHANGES, len(order.changes))
            for place in range(start, end):
                one = _Unit(self._rows, self._temporary, identity, tx, {})
                seq = 0
                try:
                    async with tx.savepoint():
                        early = {
                            each: await one.apply(order.changes[each], progress)
                            for each in order.first(place, end, progress)
                        }
                        is_new = progress.early.get(place)
                        if is_new is None:
                            first = tx.tx.next_seq
                            is_new = await one.apply(order.changes[place], progress)
                            seq = tx.tx.next_seq - 1 if tx.tx.next_seq > first else 0
                except PylonError as error:
                    if error.status >= 500:
                        raise
                    if error.code == TOO_LARGE and done.applied:
                        break  # perhaps not by itself: in the next unit
                    why = told_denial(error)
                    told = error.message if why is None else f"{error.message}. {why}"
                    done.errors.append(f"{order.changes[place].name}: {told}")
                    done.failure = error.code, told
                    break
                progress.early |= early
                done.ids |= one.ids
                done.deduped += not is_new
                done.applied += 1
                done.seqs.append(seq if is_new else None)
            progress.gone |= tx.gone & order.deleted
            return done, progress

        done, order.progress = await self._rows.write(identity, unit)
        return done


class _Unit:
    """The changes of one caller inside one unit."""

    def __init__(
        self,
        rows: Rows,
        temporary: Temporary,
        identity: Identity,
        transaction: Transaction,
        ids: dict[str, str],
    ) -> None:
        self._rows = rows
        self._temporary = temporary
        self._transaction = transaction
        self._tx = transaction.tx
        self._user_id = identity.user_id or ""
        self._reader = caller_key(identity) or b""
        self.ids = ids

    async def apply(self, change: PushedChange, progress: Progress) -> bool:
        """Do one change; False when its operation had been done before. To delete what went with
        another row in this push is nothing new."""
        op_id, user_id = change.op_id, self._user_id
        if op_id is not None:
            if await self._temporary.is_done(self._tx, user_id, op_id):
                if change.kind == "insert":
                    await self._real_id(change.entity, change.row_id)
                return False
            await self._temporary.remember_done(self._tx, user_id, op_id)
        if change.kind == "insert":
            await self._insert(change)
        elif change.kind == "update":
            row_id = await self._real_id(change.entity, change.row_id)
            await self._transaction.update(change.entity, row_id, await self._data(change))
        else:
            row_id = await self._real_id(change.entity, change.row_id)
            name = (change.entity, row_id)
            if name not in self._transaction.gone and name not in progress.gone:
                await self._transaction.delete(change.entity, row_id)
        return True

    async def _insert(self, change: PushedChange) -> None:
        data = await self._data(change)
        if is_well_formed_row_id(change.row_id) and isinstance(data, dict):
            data["id"] = change.row_id
        if not is_temporary(change.row_id):
            await self._transaction.insert(change.entity, data)
            return
        self._rows.table(change.entity)  # so that no event is ever made for an unknown entity
        forgotten = self._temporary.forget(self._tx, self._reader, change.entity, change.row_id)
        row = await self._transaction.insert(change.entity, data)
        self.ids[change.row_id] = row["id"]
        await self._temporary.remember(self._tx, forgotten, self._user_id, row["id"])

    async def _data(self, change: PushedChange) -> Any:
        """A copy of the data in which references to temporary rows name the real ones."""
        data = change.data
        if data is None:
            raise PylonError(400, "INVALID_DATA", "The change has no data.")
        if not isinstance(data, dict):
            return data
        references = self._rows.table(change.entity).references
        resolved = dict(data)
        for name, value in data.items():
            if is_temporary(value) and (target := references.get(name)):
                resolved[name] = await self._real_id(target, value)
        return resolved

    async def _real_id(self, entity: str, row_id: str) -> str:
        """The real id behind a temporary one; any other id as it is."""
        if not is_temporary(row_id):
            return row_id
        found = await self._temporary.real_id(self._tx, self._user_id, entity, row_id)
        if found is None:
            return row_id
        self.ids[row_id] = found
        return found
