"""What the pages of docs/ take for granted: the entities that their `curl` lines speak of."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from pylon import (
    App,
    Email,
    Entity,
    Id,
    Json,
    RichText,
    auth,
    created_at,
    data,
    field,
    index,
    now,
    relation,
    updated_at,
)

app = App("demo")


@app.entity
class User(Entity):
    email: str = field(unique=True)
    displayName: str
    roles: str | None = field(default=None, readonly=True)

    class policy:
        read = auth.userId == data.id
        write = False


@app.entity
class Todo(Entity):
    title: str
    done: bool = False
    dueAt: datetime | None
    ownerId: Id[User] | None = field(default=auth.userId)
    createdAt: datetime = field(default=now)

    class policy:
        read = update = delete = auth.userId == data.ownerId
        insert = auth.userId == data.ownerId

    class indexes:
        by_owner = index("ownerId")


@app.entity
class Note(Entity):
    title: str
    body: RichText | None
    ownerId: Id[User] | None = field(default=auth.userId)

    class policy:
        allow = auth.userId == data.ownerId


@app.entity
class Person(Entity):
    email: Email = field(unique=True)
    name: str


@app.entity
class Product(Entity):
    name: str
    description: str
    brand: str
    price: float

    class search:
        text = ("name", "description")
        facets = ("brand",)
        sortable = ("price",)


@app.entity
class Project(Entity):
    title: str

    class relations:
        tasks = relation("Task", field="projectId", many=True)


@app.entity
class Task(Entity):
    title: str
    projectId: Id[Project]
    blockerId: Id[Task] | None

    class relations:
        project = relation(Project, field="projectId", on_delete="cascade")
        blocker = relation("Task", field="blockerId", on_delete="set_null")


@app.entity
class Order(Entity):
    code: str = field(pattern="[A-Z]{3}-[0-9]+")
    state: Literal["new", "paid", "sent"] = "new"
    total: Decimal = field(min=0)
    due: date | None = None
    buyer: Email
    tags: list[str] = field(default=[], max_length=10)
    extra: Json | None = None
    createdAt: datetime = created_at()
    updatedAt: datetime = updated_at()
