"""A shop: a searchable catalogue that everybody reads, and carts and orders of their owners.

Run `pylon dev` in this folder, then `python seed.py` for some products. What the reference did in
server functions is one `POST /api/transact` here: see `order.py`.
"""

from __future__ import annotations

from datetime import datetime

from pylon import App, Entity, Id, auth, data, existing, field, index, now, relation

app = App("store")


@app.entity
class User(Entity):
    """A customer. Everybody may see a name, nobody else an address."""

    email: str = field(unique=True)
    displayName: str
    avatarColor: str | None = None
    passwordHash: str | None = field(default=None, private=True)
    emailVerified: datetime | None = None
    createdAt: datetime = field(default=now)

    class policy:
        read = auth.userId == data.id
        write = False


@app.entity
class Product(Entity):
    """Something for sale. Written by administrators."""

    name: str
    description: str
    brand: str
    category: str
    color: str
    price: float
    rating: float = 0.0
    stock: int = 0
    createdAt: datetime = field(default=now)

    class search:
        text = ("name", "description")
        facets = ("brand", "category", "color")
        sortable = ("price", "rating", "createdAt")

    class policy:
        read = True
        write = False


@app.entity
class CartItem(Entity):
    """A product in somebody's cart. Guests have carts, too."""

    userId: Id[User] | None = field(default=auth.userId)
    productId: Id[Product]
    quantity: int = 1

    class indexes:
        by_user_product = index("userId", "productId", unique=True)

    class relations:
        product = relation(Product, field="productId", on_delete="cascade")

    class policy:
        read = update = delete = insert = auth.userId == data.userId


@app.entity
class Address(Entity):
    """Where somebody's orders go."""

    userId: Id[User] | None = field(default=auth.userId)
    name: str
    street: str
    city: str
    zip: str
    country: str

    class indexes:
        by_user = index("userId")

    class policy:
        read = update = delete = insert = auth.userId == data.userId


@app.entity
class Order(Entity):
    """An order. Its owner places it; only administrators move it on."""

    userId: Id[User] | None = field(default=auth.userId)
    status: str = "placed"
    total: float
    addressId: Id[Address]
    placedAt: datetime = field(default=now)

    class indexes:
        by_user = index("userId", "placedAt")

    class relations:
        items = relation("OrderItem", field="orderId", many=True)
        address = relation(Address, field="addressId", on_delete="restrict")

    class policy:
        read = auth.userId == data.userId
        insert = (auth.userId == data.userId) & (data.status == "placed")
        # Whoever placed it may call it off as long as it has not been packed.
        update = (
            (auth.userId == data.userId)
            & (existing.status == "placed")
            & ((data.status == "placed") | (data.status == "cancelled"))
        )
        delete = False


@app.entity
class OrderItem(Entity):
    """A line of an order, with the price it was bought at."""

    orderId: Id[Order]
    userId: Id[User] | None = field(default=auth.userId)
    productId: Id[Product]
    name: str
    quantity: int
    price: float

    class indexes:
        by_order = index("orderId")

    class relations:
        order = relation(Order, field="orderId", on_delete="cascade")
        product = relation(Product, field="productId", on_delete="restrict")

    class policy:
        read = insert = auth.userId == data.userId
        update = delete = False
