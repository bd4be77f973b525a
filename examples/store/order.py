"""A guest's visit: search, fill a cart, and place an order in one transaction.

    python order.py red shoe

The order, its lines and the emptied cart are one `POST /api/transact`: all of it happens, under the
guest's own policies, or none.
"""

from __future__ import annotations

import sys
import uuid
from typing import Any

from api import call


def place_order(token: str, products: list[dict[str, Any]]) -> str:
    """Put one of each product in the cart, order all of them, and return the order's id."""
    for each in products:
        call("POST", "/api/entities/CartItem", {"productId": each["id"]}, token=token)
    cart = call("GET", "/api/entities/CartItem", token=token)["data"]
    address = call(
        "POST",
        "/api/entities/Address",
        {"name": "A. Guest", "street": "1 Way", "city": "Town", "zip": "1", "country": "NO"},
        token=token,
    )
    order_id = str(uuid.uuid4())  # chosen here, so that the lines can name it
    total = sum(each["price"] for each in products)
    operations: list[dict[str, Any]] = [
        {
            "op": "insert",
            "entity": "Order",
            "data": {"id": order_id, "total": total, "addressId": address["id"]},
        }
    ]
    operations += [
        {
            "op": "insert",
            "entity": "OrderItem",
            "data": {
                "orderId": order_id,
                "productId": each["id"],
                "name": each["name"],
                "quantity": 1,
                "price": each["price"],
            },
        }
        for each in products
    ]
    operations += [{"op": "delete", "entity": "CartItem", "id": item["id"]} for item in cart]
    call("POST", "/api/transact", operations, token=token)
    return order_id


def main() -> None:
    words = " ".join(sys.argv[1:]) or "shoe"
    token = call("POST", "/api/auth/guest")["token"]
    found = call("POST", "/api/search/Product", {"query": words, "page_size": 3}, token=token)
    print(f"{found['total']} products match {words!r}")
    if not found["hits"]:
        return
    order_id = place_order(token, found["hits"])
    question = {"Order": {"where": {"id": order_id}, "include": {"items": {}}}}
    (order,) = call("POST", "/api/query", question, token=token)["Order"]
    print(f"order {order['id']}: {order['status']}, {len(order['items'])} lines, {order['total']}")


if __name__ == "__main__":
    main()
