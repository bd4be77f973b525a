"""Calls a running server, with nothing but the standard library."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.request import Request, urlopen

BASE = os.environ.get("PYLON_URL", "http://127.0.0.1:4321")


def call(method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
    """The JSON answer; an error status raises `urllib.error.HTTPError`."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(f"{BASE}{path}", data, headers, method=method), timeout=30) as answer:
        return json.load(answer)
