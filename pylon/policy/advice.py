"""What is right in the policies of an app but slow or unwise: warnings, not mistakes.

Shown by `dev`, `start` and `pylon policy check`, through `app.check`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pylon.policy.callers import NO_TENANTS, ROLE_FIELDS
from pylon.policy.choices import strange_choices
from pylon.policy.engine import PolicyEngine
from pylon.policy.formula import All, Atom, Exists, Member
from pylon.policy.membership import watch
from pylon.policy.outcomes import outcomes
from pylon.policy.slots import ENTITY_SLOTS
from pylon.schema.diagnostics import Diagnostic, warning
from pylon.schema.model import AuthDefault, EntitySpec, Manifest

NO_INDEX: Final = "POLICY_NO_INDEX"
ROLES_WRITABLE: Final = "POLICY_ROLES_WRITABLE"
DEFAULT_EMPTY: Final = "DEFAULT_EMPTY"


def advise(manifest: Manifest) -> list[Diagnostic]:
    """Every warning, each once, in manifest order."""
    engine = PolicyEngine(manifest, open_by_default=False)
    found = [
        finding
        for entity in manifest.entities
        for finding in (
            *_slow_selectors(entity, engine),
            *_slow_memberships(entity, engine, manifest),
            *_writable_roles(entity, engine, manifest.user_entity),
        )
    ]
    rules = (*outcomes(manifest), *strange_choices(manifest))
    return list(dict.fromkeys([*rules, *found, *_empty_defaults(manifest)]))


def _empty_defaults(manifest: Manifest) -> Iterator[Diagnostic]:
    """A default that is always null."""
    for entity in manifest.entities:
        for field in entity.fields:
            if isinstance(field.default, AuthDefault) and field.default.attribute == "tenantId":
                yield warning(
                    DEFAULT_EMPTY,
                    f'the default of "{field.name}" is always null',
                    NO_TENANTS,
                    about=("entity", entity.name, "field", field.name),
                )


def _slow_selectors(entity: EntitySpec, engine: PolicyEngine) -> Iterator[Diagnostic]:
    """A read rule finds the caller's rows by fields: each needs an index."""
    for selector in engine.entity(entity.name).read.audience.selectors or ():
        if selector.field not in _served(entity):
            yield _no_index(
                entity.name,
                f'the read rule of "{entity.name}" finds rows by "{selector.field}"',
                (selector.field,),
            )


def _slow_memberships(
    entity: EntitySpec, engine: PolicyEngine, manifest: Manifest
) -> Iterator[Diagnostic]:
    """An `exists` finds rows by the fields that it compares: one of them needs an index."""
    policies = engine.entity(entity.name)
    for slot in ENTITY_SLOTS:
        for node in getattr(policies, slot).memberships:
            other = manifest.entities_by_name[node.entity]
            fields = _compared(node)
            if not _served(other).isdisjoint(fields):
                continue
            what = f'the {slot} rule of "{entity.name}" looks through "{other.name}"'
            if fields:
                names = ", ".join(f'"{name}"' for name in fields)
                yield _no_index(other.name, f"{what} by {names}", fields)
            else:
                yield Diagnostic(
                    severity="warning",
                    code=NO_INDEX,
                    message=f"{what} from end to end",
                    hint="Compare one of its fields by `==` with the row or the caller.",
                    about=("entity", entity.name),
                )


def _writable_roles(
    entity: EntitySpec, engine: PolicyEngine, user_entity: str
) -> Iterator[Diagnostic]:
    """Whoever may write the roles of a user may have them all."""
    if entity.name != user_entity:
        return
    policies = engine.entity(entity.name)
    if policies.insert.constant is False and policies.update.constant is False:
        return
    for field in entity.fields:
        if field.name in ROLE_FIELDS and not (field.readonly or field.is_private):
            yield Diagnostic(
                severity="warning",
                code=ROLES_WRITABLE,
                message=f'clients may write "{field.name}" of {entity.name}, '
                "which gives `auth.roles`",
                hint="Declare it `field(default=None, readonly=True)` (JSON: `serverSet`).",
                about=("entity", entity.name, "field", field.name),
            )


def _no_index(entity: str, what: str, fields: tuple[str, ...]) -> Diagnostic:
    listed = ", ".join(f'"{name}"' for name in fields)
    line = f"by_{'_'.join(fields).lower()} = index({listed})"
    return Diagnostic(
        severity="warning",
        code=NO_INDEX,
        message=f"{what}, and no index begins there",
        hint=f"Add to `class indexes` of {entity}: `{line}`.",
        about=("entity", entity),
    )


def _served(entity: EntitySpec) -> set[str]:
    """The fields that an index of all rows begins with."""
    unique = {field.name for field in entity.fields if field.unique}
    whole = [index for index in entity.indexes if index.fields and index.where is None]
    begun = {
        index.fields[0]
        for index in whole
        if not index.caseInsensitive or entity.fields_by_name[index.fields[0]].folds
    }
    return {"id", *unique, *begun}


def _compared(node: Exists) -> tuple[str, ...]:
    """The fields that every row found must have a certain value in, the caller's first."""
    parts = node.condition.operands if isinstance(node.condition, All) else (node.condition,)
    fields = [
        part.terms[0].name
        for part in parts
        if isinstance(part, Atom) and part.test == "equal" and not part.negated
        if isinstance(part.terms[0], Member) and not isinstance(part.terms[1], Member)
    ]
    callers = [selector.field for selector in watch(node).selectors or ()]
    return tuple(sorted(dict.fromkeys(fields), key=lambda name: name not in callers))
