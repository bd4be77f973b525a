"""A proxy that nobody has told of is warned of, once, at the first request that it forwards."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.conftest import BLACKBOX_APP
from tests.server import Server, serving

TOLD = "PYLON_TRUST_PROXY_HOPS is 0"


def ask(server: Server, *forwarded_for: str) -> None:
    for address in forwarded_for:
        headers = {"x-forwarded-for": address} if address else {}
        answer = httpx.get(f"{server.url}/health", headers=headers, trust_env=False)
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("env", "times"),
    [({}, 1), ({"PYLON_TRUST_PROXY_HOPS": "1"}, 0), ({"PYLON_DEV_MODE": "1"}, 0)],
)
def test_the_first_forwarded_request_is_told_of(
    tmp_path: Path, env: dict[str, str], times: int
) -> None:
    if "PYLON_DEV_MODE" in env:
        env["PYLON_CORS_ORIGIN"] = ""
    with serving(BLACKBOX_APP, tmp_path / "app.db", env=env) as server:
        ask(server, "", "")
        assert TOLD not in server.stderr()
        ask(server, "127.0.0.1", "127.0.0.1", "", "127.0.0.1")
    assert server.stderr().count(TOLD) == times
