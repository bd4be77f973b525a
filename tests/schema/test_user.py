"""The standard User is what sign-up writes, and closed to everybody else."""

from __future__ import annotations

from pylon.schema.user import User


def test_it_has_the_fields_of_sign_up_and_keeps_the_secret() -> None:
    fields = {spec.name: spec for spec in User.__pylon__.fields}
    assert list(fields) == [
        *("email", "displayName", "avatarColor", "passwordHash", "emailVerified", "createdAt")
    ]
    assert fields["email"].unique
    assert fields["passwordHash"].is_private
    assert [name for name, spec in fields.items() if not spec.optional and not spec.default] == [
        *("email", "displayName")
    ]


def test_only_its_owner_reads_it_and_only_the_server_writes_it() -> None:
    assert User.__pylon__.rules == {
        "allowRead": "auth.userId == data.id",
        "allowInsert": "false",
        "allowUpdate": "false",
        "allowDelete": "false",
    }
