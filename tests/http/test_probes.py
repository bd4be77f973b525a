"""Health, readiness and metrics, open and gated."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from pylon.config import Config
from tests.http.kernel import ADMIN_TOKEN


def test_health_and_readiness(client: httpx.Client) -> None:
    health = client.get("/health?x=1")
    assert health.status_code == 200
    assert health.json()["status"] == "ok"
    assert health.json()["version"] == "9.9"
    assert isinstance(health.json()["uptime_secs"], int)
    ready = client.get("/readyz")
    assert ready.json() == {"status": "ok", "checks": {"database": True}}
    assert client.head("/health").content == b""
    assert client.post("/health").status_code == 404


def test_metrics_speak_both_forms(client: httpx.Client) -> None:
    assert client.get("/metrics").headers["content-type"] == "application/json"
    for accept in ("text/plain", "application/openmetrics-text; version=1.0.0, */*"):
        text = client.get("/metrics", headers={"accept": accept})
        assert text.headers["content-type"] == "text/plain; version=0.0.4"
        assert "# TYPE pylon_http_requests_total counter" in text.text


def test_metrics_need_the_admin_in_production(serve: Callable[[Config], httpx.Client]) -> None:
    client = serve(Config(cors_origins=("https://a.example",), admin_token=ADMIN_TOKEN))
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"cookie": f"app_session={ADMIN_TOKEN}"},
    ):
        refused = client.get("/metrics", headers=headers)
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "UNAUTHORIZED"
    allowed = client.get("/metrics", headers={"authorization": f"Bearer {ADMIN_TOKEN}"})
    assert allowed.json()["requests"]["error"] == 3
    bare = serve(Config(cors_origins=("https://a.example",)))
    assert bare.get("/metrics", headers={"authorization": "Bearer x"}).status_code == 401
