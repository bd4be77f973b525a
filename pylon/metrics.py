"""Counters of the process and their two renderings: JSON, and Prometheus text.

Counting is plain integer work on a slotted object, cheap enough for every request. Other parts
register gauges that are asked when somebody reads. Not here: who may read (`http/probes`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from pylon import codec

if TYPE_CHECKING:
    from prometheus_client import Metric

LATENCY_BUCKETS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0)
"""Upper edges of the latency histogram; few, since each costs a series."""

PROMETHEUS_CONTENT_TYPE = b"text/plain; version=0.0.4"

_JSON_METHODS = ("GET", "POST", "PATCH", "DELETE")
_PROMETHEUS_METHODS = ("GET", "POST", "PATCH", "DELETE", "OPTIONS")


class Histogram:
    """Durations by size; a look-up and an addition to count one."""

    __slots__ = ("_counts", "_edges", "seconds_sum")

    def __init__(self, edges_seconds: Sequence[float]) -> None:
        self._edges = tuple(edges_seconds)
        self._counts = [0] * (len(self._edges) + 1)
        self.seconds_sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.seconds_sum += seconds
        self._counts[bisect_left(self._edges, seconds)] += 1

    @property
    def count(self) -> int:
        """How many were counted."""
        return sum(self._counts)

    def quantile(self, share: float) -> float | None:
        """The edge below which this share of all lies, as the buckets tell it: None when nothing
        was counted; the last edge also for what lies beyond."""
        wanted, seen = share * self.count, 0
        if not wanted:
            return None
        for edge, count in zip(self._edges, self._counts, strict=False):
            seen += count
            if seen >= wanted:
                return edge
        return self._edges[-1]

    def cumulative(self) -> list[tuple[str, float]]:
        """The buckets as Prometheus has them."""
        edges = [*(repr(edge) for edge in self._edges), "+Inf"]
        return list(zip(edges, accumulate(self._counts), strict=True))


class Metrics:
    """What is counted. Also a Prometheus collector (`collect`), so it can join a registry."""

    __slots__ = (
        "_by_label",
        "_counters",
        "_gauges",
        "_histograms",
        "by_class",
        "by_method",
        "in_flight",
        "latency",
    )

    def __init__(self) -> None:
        self.in_flight = 0
        self.by_method: dict[str, int] = dict.fromkeys((*_PROMETHEUS_METHODS, "PUT", "HEAD"), 0)
        self.by_class = [0] * 6
        self.latency = Histogram(LATENCY_BUCKETS_SECONDS)
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._counters: dict[str, tuple[str, Callable[[], float]]] = {}
        self._by_label: dict[str, tuple[str, str, bool, Callable[[], Mapping[str, float]]]] = {}
        self._histograms: dict[str, tuple[str, Histogram]] = {}

    def observe(self, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        if method in self.by_method:
            self.by_method[method] += 1
        self.by_class[status // 100] += 1
        self.latency.observe(seconds)

    def register_gauge(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read by calling `read`; a name is registered once."""
        assert name not in self._gauges, f"gauge {name} is registered twice"
        self._gauges[name] = (help_text, read)

    def register_counter(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """The same for a number that only grows; its name ends in `_total`."""
        assert name not in self._counters, f"counter {name} is registered twice"
        self._counters[name] = (help_text, read)

    def register_by_label(
        self,
        name: str,
        help_text: str,
        label: str,
        read: Callable[[], Mapping[str, float]],
        *,
        is_counter: bool = False,
    ) -> None:
        """Add a family: `read` gives its numbers by the value of `label`."""
        assert name not in self._by_label, f"family {name} is registered twice"
        self._by_label[name] = (help_text, label, is_counter, read)

    def register_histogram(self, name: str, help_text: str, histogram: Histogram) -> None:
        """Add durations that somebody else counts."""
        assert name not in self._histograms, f"histogram {name} is registered twice"
        self._histograms[name] = (help_text, histogram)

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
        if self._counters or self._by_label:
            counters: dict[str, object] = {n: read() for n, (_, read) in self._counters.items()}
            counters.update((n, dict(read())) for n, (*_, read) in self._by_label.items())
            answer["counters"] = counters
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
            buckets=self.latency.cumulative(),
            sum_value=self.latency.seconds_sum,
        )
        for name, (help_text, read) in self._gauges.items():
            yield GaugeMetricFamily(name, help_text, read())
        for name, (help_text, read) in self._counters.items():
            yield CounterMetricFamily(name, help_text, value=read())
        for name, (help_text, label, is_counter, read_all) in self._by_label.items():
            family_of = CounterMetricFamily if is_counter else GaugeMetricFamily
            family = family_of(name, help_text, labels=[label])
            for label_value, number in sorted(read_all().items()):
                family.add_metric([label_value], number)
            yield family
        for name, (help_text, histogram) in self._histograms.items():
            yield HistogramMetricFamily(
                name,
                help_text,
                buckets=histogram.cumulative(),
                sum_value=histogram.seconds_sum,
            )

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
