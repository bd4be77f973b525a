"""Fills the catalogue: `PYLON_ADMIN_TOKEN=... python seed.py [COUNT]`.

Start the server with the same PYLON_ADMIN_TOKEN. Rows keep their ids: a second run adds nothing.
"""

from __future__ import annotations

import os
import sys
import uuid

from api import call

BRANDS = ("Acme", "Borealis", "Corvid", "Dune")
CATEGORIES = ("shoes", "bags", "jackets", "hats", "gloves")
COLORS = ("red", "green", "blue", "black", "sand")


def product(number: int) -> dict[str, object]:
    """The same product for the same number, id included."""
    brand, category = BRANDS[number % 4], CATEGORIES[number % 5]
    color = COLORS[(number // 5) % 5]
    digits = uuid.uuid5(uuid.NAMESPACE_URL, f"store/{number}").hex
    return {
        "id": str(uuid.UUID(digits[:12] + "4" + digits[13:16] + "8" + digits[17:])),
        "name": f"{color.title()} {category[:-1]} no. {number}",
        "description": f"A {color} {category[:-1]} by {brand}, made to last.",
        "brand": brand,
        "category": category,
        "color": color,
        "price": 10.0 + number % 90,
        "rating": 1 + number % 5,
        "stock": number % 50,
        "createdAt": f"2026-01-{1 + number % 28:02}T00:00:00Z",
    }


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    rows = [product(number) for number in range(count)]
    answer = call(
        "POST",
        "/api/import",
        {"entities": {"Product": rows}},
        token=os.environ["PYLON_ADMIN_TOKEN"],
    )
    print(f"{answer['imported']} products added, {answer['failed']} refused")


if __name__ == "__main__":
    main()
