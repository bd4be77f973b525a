"""What `pylon policy` judges on: values from the command line, or a row of a real database.

Printing is `policy_command.py`; judging is `pylon.policy`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from pylon.auth.claims import claims_of
from pylon.cli.schema_database import database
from pylon.codec import decode
from pylon.data.table import Table
from pylon.errors import PylonError
from pylon.identity import GUEST_PREFIX, Identity
from pylon.policy.engine import PolicyEngine, Rule
from pylon.policy.explain import Case, Part, explain
from pylon.policy.lookup import Fetch, Lookup
from pylon.policy.slots import ENTITY_SLOTS, Slot, expression
from pylon.policy.syntax import PolicySyntaxError, parse
from pylon.schema.model import EntitySpec, FieldSpec, Manifest
from pylon.store.database import DatabaseFailed, Reader
from pylon.store.opening import scratch

if TYPE_CHECKING:
    from pylon.cli.output import Output
    from pylon.policy.nodes import Expr

Row = dict[str, Any]


class Verdict(Struct, frozen=True, kw_only=True):
    """What became of one operation: each policy that spoke, with its parts."""

    slot: Slot
    allows: bool
    why: str
    policies: tuple[tuple[str, Part], ...] = ()


# --- from the command line -------------------------------------------------------------------


def read_object(text: str, option: str) -> Row:
    """A JSON object of an option; a usage error where it is none."""
    try:
        value = decode(text)
    except PylonError as error:
        raise click.UsageError(f"{option} is not JSON.") from error
    if not isinstance(value, dict):
        raise click.UsageError(f"{option} is a JSON object.")
    return value


def read_tables(text: str) -> dict[str, list[Row]]:
    """`--rows`: lists of rows by entity."""
    tables = read_object(text, "--rows")
    for rows in tables.values():
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise click.UsageError('--rows is written {"Entity": [{"field": value}]}.')
    return tables


def read_identity(pairs: Sequence[str]) -> Identity:
    """The caller that `--auth` describes."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        match name if equals else "":
            case "userId":
                values["user_id"] = value
            case "tenantId":
                values["tenant_id"] = value
            case "email":
                values["email"] = value
            case "isGuest" | "isAdmin":
                key = "is_guest" if name == "isGuest" else "is_admin"
                values[key] = value.lower() in ("true", "1")
            case "roles":
                values["roles"] = tuple(part.strip() for part in value.split(",") if part.strip())
            case _:
                known = "userId=, tenantId=, email=, isGuest=, isAdmin= or roles="
                raise click.UsageError(f"--auth {pair}: write {known}.")
    return Identity(**values)


def typed(row: Row, spec: EntitySpec, option: str) -> Row:
    """The row as it would be stored; a usage error where the entity could not hold it."""
    table = Table(spec)
    for key in row.keys() - {"id", *table.fields}:
        raise click.UsageError(f"{option}: {spec.name} has no field {key}.")
    try:
        return {**row, **table.check_values(row)}
    except PylonError as error:
        raise click.UsageError(f"{option}: {error.message}") from error


def guess(name: str, rows: Sequence[Row]) -> EntitySpec:
    """An entity whose fields have the types of the values in these rows."""
    types: dict[str, str] = {}
    for row in rows:
        for key, value in row.items():
            if key != "id" and (value is not None or key not in types):
                types[key] = _type_of(value)
    fields = tuple(FieldSpec(name=key, type=kind, optional=True) for key, kind in types.items())
    return EntitySpec(name=name, fields=fields)


def _type_of(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    return "float" if isinstance(value, float) else "string"


def database_of(entities: Mapping[str, EntitySpec], tables: Mapping[str, Sequence[Row]]) -> Fetch:
    """A database in memory that holds these rows."""
    rows = {
        name: [{"id": f"row {number}", **row} for number, row in enumerate(tables.get(name, ()))]
        for name in entities
    }
    for name, each in rows.items():
        for row in each:
            unknown = row.keys() - {"id", *entities[name].fields_by_name}
            if unknown:
                raise click.UsageError(f"--rows: {name} has no field {min(unknown)}.")
    return _fetch_of(scratch(entities.values(), rows))


def _fetch_of(reader: Reader) -> Fetch:
    """What policies ask through. Nobody waits for it, so `seconds` does not matter."""

    async def fetch(
        sql: str, params: Sequence[Any] = (), *, seconds: float | None = None
    ) -> list[tuple[Any, ...]]:
        return reader.fetch(sql, params)

    return fetch


def explained(expr: Expr, case: Case) -> Part:
    """The parts of an expression with their values."""
    return asyncio.run(explain(expr, case))


# --- from a database -------------------------------------------------------------------------


def verdicts(
    output: Output,
    manifest: Manifest,
    path: Path,
    entity: str,
    row_id: str,
    *,
    user: str | None,
    tenant: str | None,
) -> list[Verdict]:
    """What this user may do with a row of the database, which is opened for reading only."""
    if not path.is_file():
        output.fail("DB_NOT_FOUND", f"There is no database {path}.", "Name it with --db PATH.")
    try:
        with database(path).reading() as reader:
            row = _row(reader, manifest.entities_by_name[entity], row_id)
            if row is None:
                output.fail("NOT_FOUND", f"There is no row {row_id} in {entity}.")
            fetch = _fetch_of(reader)
            identity = _identity(reader, manifest, user, tenant)
            engine = PolicyEngine(manifest, open_by_default=False, read=fetch)

            async def judge() -> list[Verdict]:
                lookup = Lookup(fetch)
                return [await _verdict(engine, manifest, entity, slot, identity, row, lookup)
                        for slot in ENTITY_SLOTS]  # fmt: skip

            return asyncio.run(judge())
    except DatabaseFailed as error:
        output.fail("DB_READ_FAILED", f"The database does not answer: {error}.")


def _row(reader: Reader, spec: EntitySpec, row_id: str) -> Row | None:
    table = Table(spec)
    found = reader.fetch(table.select_one, (row_id,))
    return table.decode(found[0]) if found else None


def _identity(reader: Reader, manifest: Manifest, user: str | None, tenant: str | None) -> Identity:
    if user is None:
        return Identity(tenant_id=tenant)
    spec = manifest.entities_by_name.get(manifest.user_entity)
    row = None if spec is None else _row(reader, spec, user)
    claims = claims_of(row or {})
    return Identity(
        user_id=user,
        tenant_id=tenant,
        roles=claims.roles,
        email=claims.email,
        is_guest=user.startswith(GUEST_PREFIX),
    )


async def _verdict(
    engine: PolicyEngine,
    manifest: Manifest,
    entity: str,
    slot: Slot,
    identity: Identity,
    row: Row,
    lookup: Lookup,
) -> Verdict:
    rule: Rule = getattr(engine.entity(entity), slot)
    existing = row if slot == "update" else None
    await lookup.gather(rule, identity, [(row, existing)])
    denied_by = rule.denied_by(identity, row, existing, lookup)
    case = Case(
        entity=manifest.entities_by_name[entity],
        slot=slot,
        identity=identity,
        data=row,
        existing=existing or {},
        lookup=lookup,
        entities=manifest.entities_by_name,
    )
    spoke: list[tuple[str, Part]] = []
    for policy in manifest.policies:
        chosen = expression(policy, slot) if policy.entity == entity else None
        if chosen is None:
            continue
        try:
            part = await explain(parse(chosen[1]), case)
        except PolicySyntaxError:  # such an app does not load
            continue
        spoke.append((f"{policy.name} ({chosen[0]})", part))
    if not spoke:
        why = "no policy speaks about it: open in dev, closed in production"
    elif denied_by is None:
        why = "every policy that speaks about it holds"
    else:
        why = f"policy {denied_by} says no"
    return Verdict(slot=slot, allows=denied_by is None, why=why, policies=tuple(spoke))
