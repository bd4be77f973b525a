"""The names that a policy may use, and what each stands for.

`resolve` turns a path into a term or says what is wrong with it. Used by `lower` only; the table
of caller attributes is also read by `predicate` and `audience`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from msgspec import Struct

from pylon.listing import listed
from pylon.policy.formula import Attribute, Column, Constant, Input, Kind, Member, Term
from pylon.policy.nodes import Path
from pylon.policy.slots import Slot
from pylon.schema.model import EntitySpec, FieldKind, FieldSpec

IDENTITY_FIELDS: Final = {
    "userId": "user_id",
    "tenantId": "tenant_id",
    "email": "email",
    "isGuest": "is_guest",
    "roles": "roles",
}
"""Canonical attribute name to the field of `Identity`. `isAdmin` is missing: an administrator
never reaches the expression, so for everybody who does it is the constant false."""

CALLS: Final = {
    "auth.hasRole": "auth.hasRole",
    "auth.has_role": "auth.hasRole",
    "auth.hasAnyRole": "auth.hasAnyRole",
    "auth.has_any_role": "auth.hasAnyRole",
}

_ATTRIBUTE_KINDS: Final[dict[str, Kind]] = {
    "userId": "string",
    "tenantId": "string",
    "email": "string",
    "isGuest": "bool",
    "isAdmin": "bool",
    "roles": "roles",
}
_SPELLINGS: Final = {name: name for name in _ATTRIBUTE_KINDS} | {
    "user_id": "userId",
    "tenant_id": "tenantId",
    "is_guest": "isGuest",
    "is_admin": "isAdmin",
}
_FIELD_KINDS: Final[dict[FieldKind, Kind]] = {
    "string": "string",
    "datetime": "string",
    "richtext": "string",
    "id": "string",
    "int": "number",
    "float": "number",
    "bool": "bool",
    "date": "string",
    # Rules ask of these whether they are null, and nothing else.
    "decimal": "opaque",
    "json": "opaque",
    "list": "opaque",
}
_ID: Final = FieldSpec(name="id", type="string")
_UNKNOWN: Final = "POLICY_UNKNOWN_NAME"
_NOT_HERE: Final = "POLICY_NAME_NOT_HERE"


class BadName(Struct, frozen=True, kw_only=True):
    """Why a path stands for nothing."""

    code: str
    message: str
    hint: str


def resolve(
    path: Path, entity: EntitySpec | None, slot: Slot, member: EntitySpec | None = None
) -> Term | BadName:
    """The term that `path` stands for in a rule of this entity and slot.

    `member` is the entity of the `exists` around it, whose fields are the bare names.
    """
    if member is not None and "." not in path.name:
        return _member(path, member)
    match path.root:
        case "auth":
            return _attribute(path)
        case "data" | "existing":
            return _column(path, entity, slot)
        case "input":
            return _input(path, slot)
    literal = {"True": "true", "False": "false", "None": "null"}.get(path.name)
    return BadName(
        code=_UNKNOWN,
        message=f"unknown name `{path.name}`",
        hint=f"Write `{literal}`."
        if literal
        else "Names begin with `auth.`, `data.`, `existing.` or `input.`.",
    )


def _attribute(path: Path) -> Term | BadName:
    name = _SPELLINGS.get(path.name.partition(".")[2])
    if name is None:
        return BadName(
            code=_UNKNOWN,
            message=f"unknown attribute `{path.name}`",
            hint=_one_of("auth", path, _ATTRIBUTE_KINDS),
        )
    if name == "isAdmin":
        return Constant(False, "bool")
    return Attribute(name, _ATTRIBUTE_KINDS[name])


def _column(path: Path, entity: EntitySpec | None, slot: Slot) -> Term | BadName:
    if path.root == "existing" and slot != "update":
        return BadName(
            code=_NOT_HERE,
            message=f"`{path.name}` outside an update rule",
            hint="Only an update has a stored row besides the new one; use `data.`.",
        )
    if entity is None:
        return BadName(
            code=_NOT_HERE,
            message=f"`{path.name}` in an action rule",
            hint="An action has no row; its arguments are `input.<name>`.",
        )
    name = path.name.partition(".")[2]
    field = _ID if name == "id" else entity.fields_by_name.get(name)
    if field is None:
        return BadName(
            code=_UNKNOWN,
            message=f"`{entity.name}` has no field `{name}`" if name else f"bare `{path.root}`",
            hint=_one_of(path.root, path, ("id", *entity.fields_by_name)),
        )
    return Column(
        field.name,
        _FIELD_KINDS[field.kind],
        stored=path.root == "existing",
        is_float=field.kind == "float",
        is_time=field.kind == "datetime",
        folds=field.folds,
    )


def _member(path: Path, entity: EntitySpec) -> Term | BadName:
    field = _ID if path.name == "id" else entity.fields_by_name.get(path.name)
    if field is None:
        known = ("id", *entity.fields_by_name)
        close = get_close_matches(path.name, known, n=1)
        hint = f"Did you mean `{close[0]}`?" if close else f"Known: {listed(known)}."
        return BadName(
            code=_UNKNOWN, message=f"`{entity.name}` has no field `{path.name}`", hint=hint
        )
    return Member(
        field.name,
        _FIELD_KINDS[field.kind],
        is_float=field.kind == "float",
        is_time=field.kind == "datetime",
        folds=field.folds,
    )


def _input(path: Path, slot: Slot) -> Term | BadName:
    if slot != "action":
        return BadName(
            code=_NOT_HERE,
            message=f"`{path.name}` in an entity rule",
            hint="The row is `data.<field>`; `input.` is for actions.",
        )
    if not path.steps or "" in path.steps:
        return BadName(
            code=_UNKNOWN,
            message=f"`{path.name}` names no input",
            hint="Write `input.<name>`.",
        )
    return Input(path.steps)


def _one_of(root: str, path: Path, names: Iterable[str]) -> str:
    known = list(names)
    close = get_close_matches(path.name.partition(".")[2], known, n=1)
    if close:
        return f"Did you mean `{root}.{close[0]}`?"
    return f"Known: {listed(f'`{root}.{name}`' for name in known)}."
