"""The app of the tests of relations over sockets: keys that are checked, and what may follow."""

from pylon import App, Entity, Id, User, auth, data, field, relation

app = App("work")


@app.entity
class Project(Entity):
    title: str | None
    ownerId: Id[User] | None = field(default=auth.userId)

    class policy:
        allow = True

    class relations:
        owner = relation(User, field="ownerId", on_delete="set_null")
        tasks = relation("Task", field="projectId", many=True)


@app.entity
class Task(Entity):
    title: str | None
    projectId: Id[Project] | None
    ownerId: Id[User] | None = field(default=auth.userId)
    reviewerId: Id[User] | None

    class policy:
        read = auth.userId == data.ownerId
        write = True

    class relations:
        project = relation(Project, field="projectId", on_delete="cascade")
        owner = relation(User, field="ownerId", on_delete="cascade")
        reviewer = relation(User, field="reviewerId", on_delete="restrict", check=True)
