"""What a caller of this app can be at all: which attributes nobody has, and which roles.

The fields of `User` that speak of a caller are named here; `auth/claims.py` reads their rows.
`reach` asks `Callers` which conditions are settled whoever calls.
"""

from __future__ import annotations

from typing import Final

from pylon.policy.formula import Atom, Attribute, Constant
from pylon.schema.model import EntitySpec, Manifest

ROLE_FIELDS: Final = ("roles", "role")

_EMAIL: Final = "email"
_TENANT: Final = "tenantId"

NO_TENANTS: Final = (
    "No session has a tenant yet: organisations come with sign-in. Until then keep members in an "
    "entity of your own: `exists(Member, orgId == data.orgId && userId == auth.userId)`."
)


def claim_fields(manifest: Manifest) -> tuple[str, ...]:
    """The fields of the users that say something of a caller: texts, and lists of roles."""
    entity: EntitySpec | None = manifest.entities_by_name.get(manifest.user_entity)
    if entity is None:
        return ()
    return tuple(
        field.name
        for field in entity.fields
        if (field.name in (*ROLE_FIELDS, _EMAIL) and field.kind == "string")
        or (field.name in ROLE_FIELDS and field.type == "list(string)")
    )


class Callers:
    """Everybody who may call, administrators aside."""

    def __init__(self, manifest: Manifest) -> None:
        fields = claim_fields(manifest)
        self._user = manifest.user_entity
        self._has_roles = any(name in ROLE_FIELDS for name in fields)
        self._has_email = _EMAIL in fields

    def decide(self, atom: Atom) -> bool | None:
        """What a condition is for everybody, its negation aside; None where it depends."""
        if self.lack(atom) is None:
            return None
        return atom.test == "null"

    def lack(self, atom: Atom) -> str | None:
        """What a condition asks for that nobody has, as a hint; None where somebody may."""
        names = {term.name for term in atom.terms if isinstance(term, Attribute)}
        if _TENANT in names:
            return NO_TENANTS
        if _EMAIL in names and not self._has_email:
            return (
                f"`auth.email` is what the text field `email` of {self._user} says, and there is "
                "none."
            )
        if atom.test in ("has_role", "in_roles") and not self._has_roles:
            roles = [str(term.value) for term in atom.terms if isinstance(term, Constant)]
            who = f"has the role {' or '.join(map(repr, roles))}" if roles else "has a role"
            return (
                f"Nobody {who}: roles are what a field `roles` of {self._user} says, and there is "
                "none. Declare `roles: str | None = field(default=None, readonly=True)`. "
                "Administrators pass every rule without a role."
            )
        return None
