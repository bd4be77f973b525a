"""The app that the tests of membership and roles serve."""

from typing import Any

from pylon import App, Entity, auth, data, exists, field, index, row

app = App("membership")


@app.entity
class User(Entity):
    email: str
    roles: str | None = field(default=None, readonly=True)

    class policy:
        read = update = data.id == auth.userId
        insert = delete = False


@app.entity
class OrgMember(Entity):
    orgId: str
    userId: str

    class policy:
        read = data.userId == auth.userId
        write = False

    class indexes:
        by_user = index("userId", "orgId")


@app.entity
class Doc(Entity):
    title: str
    orgId: str

    class policy:
        allow: Any = exists(
            "OrgMember", row.orgId == data.orgId, row.userId == auth.userId
        ) | auth.has_role("auditor")


@app.entity
class Invitation(Entity):
    address: str

    class policy:
        read = data.address == auth.email
        write = True
