"""The two paths that answer before every limit: `/health` and `/metrics`, and `/readyz` beside.

The stage compares exact paths; what readiness means is asked of callables from the composition
root (spec 01 sections 7 and 8.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pylon.clock import Clock
from pylon.errors import PylonError
from pylon.http.request import Request
from pylon.http.response import Response, json_response
from pylon.ids import same_secret
from pylon.metrics import PROMETHEUS_CONTENT_TYPE, Metrics

Readiness = Callable[[], Mapping[str, bool]]
"""Names what must work, and whether it does."""


class Probes:
    """The stage. `admin_token` opens `/metrics` outside dev, as Bearer only."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        clock: Clock,
        version: str,
        dev_mode: bool,
        admin_token: str | None,
        readiness: Readiness,
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._started = clock.monotonic()
        self._version = version
        self._dev_mode = dev_mode
        self._admin_token = admin_token
        self._readiness = readiness
        self._answers: dict[str, Callable[[Request], Response]] = {
            "/health": self._health,
            "/readyz": self._ready,
            "/metrics": self._read_metrics,
        }

    def __call__(self, request: Request) -> Response | None:
        answer = self._answers.get(request.path)
        if answer is None or request.method not in ("GET", "HEAD"):
            return None
        return answer(request)

    def _uptime(self) -> float:
        return self._clock.monotonic() - self._started

    def _health(self, _request: Request) -> Response:
        return json_response(
            {"status": "ok", "version": self._version, "uptime_secs": int(self._uptime())}
        )

    def _ready(self, _request: Request) -> Response:
        checks = dict(self._readiness())
        is_ready = all(checks.values())
        status = "ok" if is_ready else "unavailable"
        return json_response({"status": status, "checks": checks}, 200 if is_ready else 503)

    def _read_metrics(self, request: Request) -> Response:
        if not self._dev_mode and not self._is_admin(request):
            raise PylonError(
                401, "UNAUTHORIZED", "/metrics requires admin bearer token in non-dev mode"
            )
        accept = request.header(b"accept") or ""
        if "text/plain" in accept or "application/openmetrics-text" in accept:
            text = self._metrics.render_prometheus(self._uptime())
            return Response(200, text, content_type=PROMETHEUS_CONTENT_TYPE)
        return Response(200, self._metrics.render_json(self._uptime()))

    def _is_admin(self, request: Request) -> bool:
        token = request.bearer()
        return bool(token and self._admin_token) and same_secret(str(token), str(self._admin_token))
