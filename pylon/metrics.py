"""Counters of the process and their two renderings: JSON, and Prometheus text.

Counting is plain integer work on a slotted object, cheap enough for every request. Other parts
register gauges that are asked when somebody reads. Not here: who may read (`http/probes`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from pylon import codec

if TYPE_CHECKING:
    from prometheus_client import Metric

LATENCY_BUCKETS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0)
"""Upper edges of the latency histogram; few, since each costs a series."""

PROMETHEUS_CONTENT_TYPE = b"text/plain; version=0.0.4"

_JSON_METHODS = ("GET", "POST", "PATCH", "DELETE")
_PROMETHEUS_METHODS = ("GET", "POST", "PATCH", "DELETE", "OPTIONS")


class Metrics:
    """What is counted. Also a Prometheus collector (`collect`), so it can join a registry."""

    __slots__ = ("_buckets", "_gauges", "by_class", "by_method", "in_flight", "seconds_sum")

    def __init__(self) -> None:
        self.in_flight = 0
        self.by_method: dict[str, int] = dict.fromkeys((*_PROMETHEUS_METHODS, "PUT", "HEAD"), 0)
        self.by_class = [0] * 6
        self.seconds_sum = 0.0
        self._buckets = [0] * (len(LATENCY_BUCKETS_SECONDS) + 1)
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def observe(self, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        if method in self.by_method:
            self.by_method[method] += 1
        self.by_class[status // 100] += 1
        self.seconds_sum += seconds
        self._buckets[bisect_left(LATENCY_BUCKETS_SECONDS, seconds)] += 1

    def register_gauge(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read by calling `read`; a name is registered once."""
        assert name not in self._gauges, f"gauge {name} is registered twice"
        self._gauges[name] = (help_text, read)

    @property
    def total(self) -> int:
        """Requests answered."""
        return sum(self.by_class)

    @property
    def ok(self) -> int:
        """Requests answered with a status of 200 to 399."""
        return self.by_class[2] + self.by_class[3]

    def render_json(self, uptime_seconds: float) -> bytes:
        """The JSON of `GET /metrics` (spec 01 section 7), with our gauges beside it."""
        answer: dict[str, object] = {
            "uptime_secs": int(uptime_seconds),
            "requests": {"total": self.total, "ok": self.ok, "error": self.total - self.ok},
            "methods": {method: self.by_method[method] for method in _JSON_METHODS},
            "in_flight": self.in_flight,
        }
        if self._gauges:
            answer["gauges"] = {name: read() for name, (_, read) in self._gauges.items()}
        return codec.encode(answer)

    def render_prometheus(self, uptime_seconds: float) -> bytes:
        """The Prometheus text of `GET /metrics`."""
        # Imported here, because most processes are never scraped and the import is slow.
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Snapshot(self, uptime_seconds))
        return generate_latest(registry) + self._old_method_series()

    def collect(self) -> Iterator[Metric]:
        """Every family but the uptime and the old series by method."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        for name, help_text, value in (
            ("pylon_http_requests_total", "Total HTTP requests handled.", self.total),
            ("pylon_http_requests_ok_total", "Requests answered with 200 to 399.", self.ok),
            (
                "pylon_http_requests_errors_total",
                "Requests answered with any other status.",
                self.total - self.ok,
            ),
        ):
            yield CounterMetricFamily(name, help_text, value=value)
        by_class = CounterMetricFamily(
            "pylon_http_responses_total", "HTTP responses by status class.", labels=["class"]
        )
        for status_class in range(1, 6):
            by_class.add_metric([f"{status_class}xx"], self.by_class[status_class])
        yield by_class
        yield GaugeMetricFamily(
            "pylon_http_requests_in_flight", "HTTP requests being answered now.", self.in_flight
        )
        yield HistogramMetricFamily(
            "pylon_http_request_duration_seconds",
            "Time from the request head to the whole response.",
            buckets=self._cumulative_buckets(),
            sum_value=self.seconds_sum,
        )
        for name, (help_text, read) in self._gauges.items():
            yield GaugeMetricFamily(name, help_text, read())

    def _cumulative_buckets(self) -> list[tuple[str, float]]:
        cumulative = 0
        buckets: list[tuple[str, float]] = []
        edges = [*(repr(edge) for edge in LATENCY_BUCKETS_SECONDS), "+Inf"]
        for edge, count in zip(edges, self._buckets, strict=True):
            cumulative += count
            buckets.append((edge, cumulative))
        return buckets

    def _old_method_series(self) -> bytes:
        """The reference's series by method. Its name lacks `_total`, which the library insists on
        for counters; dashboards know the old name, so it is written by hand."""
        name = "pylon_http_requests_by_method"
        lines = [f"# HELP {name} HTTP requests by method.", f"# TYPE {name} counter"]
        lines += [f'{name}{{method="{m}"}} {self.by_method[m]}' for m in _PROMETHEUS_METHODS]
        return ("\n".join(lines) + "\n").encode()


class _Snapshot:
    """A collector over the metrics at one uptime."""

    def __init__(self, metrics: Metrics, uptime_seconds: float) -> None:
        self._metrics = metrics
        self._uptime_seconds = uptime_seconds

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        yield GaugeMetricFamily(
            "pylon_uptime_seconds", "Seconds since the server started.", self._uptime_seconds
        )
        yield from self._metrics.collect()
