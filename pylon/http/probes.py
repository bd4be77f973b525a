"""The two paths that answer before every limit: `/health` and `/metrics`, and `/readyz` beside.

The stage compares exact paths; what readiness means is asked of callables from the composition
root (spec 01 sections 7 and 8.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pylon.clock import Clock
from pylon.errors import PylonError
from pylon.http.describe import COUNT, FLAG, JSON, TEXT, Content, Docs, constant, json, object_of
from pylon.http.dev_gate import has_dev_rights
from pylon.http.request import Request
from pylon.http.response import Response, json_response
from pylon.http.router import Route
from pylon.ids import same_secret
from pylon.metrics import PROMETHEUS_CONTENT_TYPE, Metrics

Readiness = Callable[[], Mapping[str, bool | str]]
"""Names what must work: True where it does, else why not in a word, or False."""


HEALTH = Docs(
    operation_id="healthCheck",
    tag="system",
    answers=json(object_of(status=constant("ok"), version=TEXT, uptime_secs=COUNT)),
    takes_any_query=True,
    is_limited=False,
)
_READINESS: Content = {
    JSON: object_of(
        {"reasons": {"type": "object", "additionalProperties": TEXT}},
        status={"type": "string", "enum": ["ok", "unavailable"]},
        checks={"type": "object", "additionalProperties": FLAG},
    )
}
READY = Docs(
    operation_id="readinessCheck",
    tag="system",
    answers={200: _READINESS, 503: _READINESS},
    description="`reasons` says of checks that are not passed why, as a code, where there is one.",
    takes_any_query=True,
    is_limited=False,
)
METRICS = Docs(
    operation_id="getMetrics",
    tag="system",
    answers={200: {JSON: {"type": "object"}, "text/plain": TEXT}},
    description="Open in dev mode on the same machine; else for the administrator's Bearer token.",
    errors=("401 UNAUTHORIZED",),
    takes_any_query=True,
    is_limited=False,
)


class Probes:
    """The stage. `admin_token` opens `/metrics` as Bearer only; dev mode does on this machine."""

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

    def routes(self) -> tuple[Route, ...]:
        """What the stage answers, as lines of a routing table, for the documentation."""
        described = (("Liveness", HEALTH), ("Readiness", READY), ("Metrics", METRICS))
        return tuple(
            Route(
                method="GET",
                pattern=path,
                handler=_unrouted,
                name=docs.operation_id,
                summary=summary,
                params=(),
                docs=docs,
            )
            for path, (summary, docs) in zip(self._answers, described, strict=True)
        )

    def _uptime(self) -> float:
        return self._clock.monotonic() - self._started

    def _health(self, _request: Request) -> Response:
        return json_response(
            {"status": "ok", "version": self._version, "uptime_secs": int(self._uptime())}
        )

    def _ready(self, _request: Request) -> Response:
        found = self._readiness()
        body: dict[str, object] = {
            "status": "ok",
            "checks": {name: fine is True for name, fine in found.items()},
        }
        if all(fine is True for fine in found.values()):
            return json_response(body)
        reasons = {name: fine for name, fine in found.items() if isinstance(fine, str)}
        return json_response({**body, "status": "unavailable", "reasons": reasons}, 503)

    def _read_metrics(self, request: Request) -> Response:
        if not has_dev_rights(request, dev_mode=self._dev_mode) and not self._is_admin(request):
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


async def _unrouted(_request: Request) -> Response:
    """Stands in the table's line of a path that a stage answers before the router is asked."""
    raise AssertionError("answered by the stage")
