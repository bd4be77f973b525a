"""An app with every type and constraint of a field, as plain rows and as documents."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from pylon import App, Email, Entity, Json, Url, created_at, field, updated_at

app = App("shop")


class Size(StrEnum):
    S = "s"
    L = "l"


@app.entity
class Item(Entity):
    name: str = field(min_length=2, max_length=10)
    state: Literal["new", "old"] = "new"
    size: Size | None = None
    price: Decimal = field(default=Decimal("1.5"), min=0, max=Decimal("99999.99"))
    weight: Decimal | None = field(default=None, scale=3)
    day: date | None = None
    meta: Json | None = None
    tags: list[str] = field(default=[], max_length=3)
    nums: list[int] | None = None
    mail: Email | None = None
    link: Url | None = None
    code: str | None = field(default=None, pattern="[A-Z]{3}-[0-9]+")
    count: int = field(default=0, min=0, max=10)
    createdAt: datetime = created_at()
    updatedAt: datetime = updated_at()

    class policy:
        allow = True

    class search:
        text = ("name",)
        facets = ("state", "price", "day")
        sortable = ("price", "day")


@app.entity(crdt=False)
class Plain(Item):
    pass
