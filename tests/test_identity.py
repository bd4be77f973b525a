"""Who is asking."""

from __future__ import annotations

import pytest

from pylon.errors import PylonError
from pylon.identity import ADMIN, ANONYMOUS, Identity, require_admin, require_session

ANN = Identity(user_id="ann", tenant_id="acme", roles=("editor",))
GUEST = Identity(user_id="guest_1", is_guest=True)


@pytest.mark.parametrize(
    ("identity", "wire"),
    [
        (ANONYMOUS, {"user_id": None, "is_admin": False, "roles": []}),
        (ADMIN, {"user_id": "__admin__", "is_admin": True, "roles": ["admin"]}),
        (GUEST, {"user_id": "guest_1", "is_admin": False, "is_guest": True, "roles": []}),
        (ANN, {"user_id": "ann", "is_admin": False, "roles": ["editor"], "tenant_id": "acme"}),
    ],
)
def test_wire(identity: Identity, wire: dict[str, object]) -> None:
    assert identity.to_wire() == wire


def test_gates() -> None:
    for identity in (ANN, GUEST, ADMIN):
        assert require_session(identity) is identity
    assert require_admin(ADMIN) is ADMIN
    for gate, identity, code in (
        (require_session, ANONYMOUS, (401, "AUTH_REQUIRED")),
        (require_admin, ANONYMOUS, (403, "FORBIDDEN")),
        (require_admin, ANN, (403, "FORBIDDEN")),
    ):
        with pytest.raises(PylonError) as refusal:
            gate(identity)
        assert (refusal.value.status, refusal.value.code) == code
