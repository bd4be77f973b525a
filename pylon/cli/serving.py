"""Serves a loaded app in this process until it is told to stop. For `start` and the dev child."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pylon import limits, log, server
from pylon.cli.collector import look_as_ever
from pylon.cli.loading import LoadedApp
from pylon.config import Config, stray_variables
from pylon.http.crowd import Crowd
from pylon.http.doors import Doors, Ports
from pylon.http.listener import Bounds, new_crowd
from pylon.metrics import Metrics
from pylon.service import Service


def serve_app(
    loaded: LoadedApp,
    config: Config,
    doors: Doors,
    *,
    on_started: Callable[[Ports], None],
) -> int:
    """Serve on sockets that are bound already; `on_started` is called once they listen. Returns
    the exit code."""
    log.set_up(
        level=config.log_level,
        json_lines=config.log_format == "json",
        secrets=(config.admin_token,) if config.admin_token else (),
    )
    for stray, meant in stray_variables().items():
        logging.getLogger("pylon").warning("%s is no setting: did you mean %s?", stray, meant)
    for finding in loaded.warnings:
        logging.getLogger("pylon").warning("%s", finding.to_line())
    connections_max = server.raise_file_limit(limits.CONNECTIONS_MAX)
    service = _service(loaded, _within(config, connections_max))
    bounds = _bounds(config, connections_max)
    crowd = new_crowd(bounds)

    def started(ports: Ports) -> None:
        if service.house is not None:
            _measure(crowd, service.house.metrics)
        look_as_ever()
        on_started(ports)

    return server.run(
        service,
        doors=doors,
        bounds=bounds,
        crowd=crowd,
        drain_seconds=config.drain_seconds,
        on_started=started,
        on_draining=service.drain,
    )


def _measure(crowd: Crowd, metrics: Metrics) -> None:
    """Tell of the connections, which the app does not know."""
    metrics.register_gauge(
        "pylon_http_connections", "Open HTTP connections, without WebSockets.", lambda: len(crowd)
    )
    metrics.register_counter(
        "pylon_http_connections_cut_total",
        "Connections that waited for their client and were cut to make room.",
        lambda: crowd.cut_count,
    )
    metrics.register_counter(
        "pylon_http_connections_refused_total",
        "Connections that were closed at accept, since there was no room.",
        lambda: crowd.refused_count,
    )


def _bounds(config: Config, connections_max: int) -> Bounds:
    return Bounds(
        connections_max=connections_max,
        # What comes by a proxy has the proxy's address.
        connections_per_address_max=(
            0 if config.trusted_proxy_hops else config.connections_per_address_max
        ),
        message_bytes_max=config.socket_message_bytes_max,
        ping_seconds=float(config.socket_ping_seconds),
        deflate_level=config.socket_deflate_level,
    )


def _within(config: Config, connections_max: int) -> Config:
    """The settings where the system allows so many connections: streams leave room for requests."""
    most = int(connections_max * limits.STREAMS_SHARE_MAX)
    if config.sockets_max <= most:
        return config
    # Nobody develops with so many, so dev does not begin with a warning.
    level = logging.DEBUG if config.dev_mode else logging.WARNING
    logging.getLogger("pylon").log(
        level,
        "the limit of open files allows %d connections; live streams may have %d of them",
        *(connections_max, most),
    )
    return replace(config, sockets_max=most)


def _service(loaded: LoadedApp, config: Config) -> Service:
    root = loaded.entry.folder
    if loaded.declared is not None:
        return loaded.declared.service(config, root=root)
    return Service(loaded.manifest, config, root=root)


def addresses(config: Config, ports: Ports) -> dict[str, str]:
    """Where people and programs find the server, by what they find there."""
    host = config.host
    if host in ("", "0.0.0.0", "::"):
        host = "localhost"
    elif ":" in host:
        host = f"[{host.strip('[]')}]"
    found = {
        "page": f"http://{host}:{ports.main}/",
        "api": f"http://{host}:{ports.main}/api",
        "websocket": f"ws://{host}:{ports.main}/ws",
        "sse": f"http://{host}:{ports.main}/events",
    }
    if ports.ws is not None:
        found["websocket_door"] = f"ws://{host}:{ports.ws}/"
    if ports.sse is not None:
        found["sse_door"] = f"http://{host}:{ports.sse}/events"
    return found


def database_name(config: Config) -> str:
    """The database as people want to read it."""
    return "in memory" if config.in_memory else os.path.relpath(config.db_path)


def summary(loaded: LoadedApp) -> dict[str, Any]:
    """What a program wants to know of a loaded app (spec 05 section 9.3)."""
    manifest = loaded.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "entry": str(loaded.entry.file),
        "entities": [entity.name for entity in manifest.entities],
        "queries": [query.name for query in manifest.queries],
        "actions": [action.name for action in manifest.actions],
        "policies": [policy.name for policy in manifest.policies],
        "routes": [route.path for route in manifest.routes],
        "warnings": [{"code": each.code, "message": each.message} for each in loaded.warnings],
    }


def headline(told: Mapping[str, Any]) -> str:
    """A summary in one line for people."""
    counts = [
        _count(len(told[plural]), plural, singular)
        for plural, singular in (
            ("entities", "entity"),
            ("queries", "query"),
            ("actions", "action"),
            ("policies", "policy"),
            ("routes", "route"),
        )
        if told[plural]
    ]
    return f"{told['name']} v{told['version']} ({', '.join(counts)})"


def _count(number: int, plural: str, singular: str) -> str:
    return f"{number} {singular if number == 1 else plural}"


def make_database_folder(config: Config) -> None:
    """Make the folder of the database file; OSError when that is not possible."""
    if not config.in_memory:
        Path(config.db_path).parent.mkdir(parents=True, exist_ok=True)
