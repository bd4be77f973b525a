"""Counting, and the two renderings that dashboards read."""

from __future__ import annotations

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pylon.metrics import Metrics


def filled() -> Metrics:
    metrics = Metrics()
    for method, status, seconds in (
        ("GET", 200, 0.0002),
        ("GET", 304, 0.001),
        ("POST", 201, 0.02),
        ("PUT", 404, 0.0002),
        ("BREW", 405, 0.0002),
        ("OPTIONS", 204, 9.0),
        ("DELETE", 500, 0.2),
        ("GET", 499, 0.2),
    ):
        metrics.observe(method, status, seconds)
    metrics.in_flight = 2
    metrics.register_gauge("pylon_live_connections", "Open live connections.", lambda: 5)
    return metrics


def test_json() -> None:
    assert json.loads(filled().render_json(12.9)) == {
        "uptime_secs": 12,
        "requests": {"total": 8, "ok": 4, "error": 4},
        "methods": {"GET": 3, "POST": 1, "PATCH": 0, "DELETE": 1},
        "in_flight": 2,
        "gauges": {"pylon_live_connections": 5},
    }


def test_prometheus() -> None:
    text = filled().render_prometheus(12.5).decode()
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples[("pylon_uptime_seconds",)] == 12.5
    assert samples[("pylon_http_requests_total",)] == 8
    assert samples[("pylon_http_requests_ok_total",)] == 4
    assert samples[("pylon_http_requests_errors_total",)] == 4
    assert samples[("pylon_http_responses_total", "2xx")] == 3
    assert samples[("pylon_http_responses_total", "4xx")] == 3
    assert samples[("pylon_http_requests_in_flight",)] == 2
    assert samples[("pylon_http_request_duration_seconds_bucket", "0.0005")] == 3
    assert samples[("pylon_http_request_duration_seconds_bucket", "0.001")] == 4
    assert samples[("pylon_http_request_duration_seconds_bucket", "+Inf")] == 8
    assert samples[("pylon_http_request_duration_seconds_count",)] == 8
    assert samples[("pylon_live_connections",)] == 5


def test_the_old_series_keep_their_names() -> None:
    text = filled().render_prometheus(1).decode()
    for line in (
        "# TYPE pylon_uptime_seconds gauge",
        "# TYPE pylon_http_requests_total counter",
        "# TYPE pylon_http_requests_ok_total counter",
        "# TYPE pylon_http_requests_errors_total counter",
        "# TYPE pylon_http_requests_by_method counter",
        'pylon_http_requests_by_method{method="GET"} 3',
        'pylon_http_requests_by_method{method="PATCH"} 0',
        'pylon_http_requests_by_method{method="OPTIONS"} 1',
    ):
        assert line in text.splitlines()
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))


def test_a_gauge_is_registered_once() -> None:
    with pytest.raises(AssertionError):
        filled().register_gauge("pylon_live_connections", "again", lambda: 0)
