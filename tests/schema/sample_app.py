"""An app with everything the Python form can say; checked by pyright and compared with JSON."""

from datetime import datetime

from pylon.schema.declare import Declarations as App
from pylon.schema.entity import Entity, index, relation
from pylon.schema.expressions import auth, data, existing, exists, now, row
from pylon.schema.fields import Id, RichText, field
from pylon.schema.user import User

app = App("todos")


@app.entity
class Todo(Entity):
    title: str
    done: bool = False
    ownerId: Id["User"] | None = field(default=auth.userId)
    parentId: Id["Todo"] | None = None
    notes: RichText | None = field(default=None, crdt="text")
    weight: float = 1.5
    secret: str | None = field(default=None, private=True)
    code: str | None = field(default=None, write_once=True)
    number: int = field(default=1, readonly=True)
    createdAt: datetime = field(default=now)

    class policy:
        read = update = delete = auth.userId == data.ownerId
        insert = auth.userId != None

    class indexes:
        by_owner = index("ownerId", "done")

    class relations:
        owner = relation("User", field="ownerId")

    class search:
        text = ("title", "notes")
        facets = ("done",)
        sortable = ("createdAt",)


@app.entity(crdt=False)
class Audit(Entity):
    what: str
    todoId: Id[Todo] = field()
    state: str = "open"
    level: int = 0
    hidden: bool = False

    class policy:
        read = auth.has_role("auditor") | auth.roles.contains("owner") & ~data.hidden
        update = (data.state == "open") & (data.level <= 3) & (existing.state != "closed")
        write = "false"
        allow = False


app.query("recent", input={"since": datetime, "limit": int | None})
app.action("clear", input={"owner": Id["User"], "kind": "string"})
app.policy("clear", action="clear", allow=auth.userId != None)
app.policy(
    "shared", entity=Audit, read=~exists(Todo, row.id == data.todoId, row.ownerId != auth.userId)
)
app.route("/", query="recent", auth="public", mode="live")


def the_types_reach_an_editor(todo: Todo) -> tuple[str, bool, Id[User] | None, Id[Todo]]:
    """Never run: pyright follows the constructor and the attributes."""
    child = Todo(title="y", parentId=todo.id)
    return child.title, child.done, child.ownerId, child.id
