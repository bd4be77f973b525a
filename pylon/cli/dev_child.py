"""The server process of `pylon dev`: loads the app, waits for its turn, serves.

Started by `dev_server` with the listening sockets; tells how it goes in lines of JSON. It loads
while the server before it still serves, so that a broken edit stops nothing, and it stops when the
parent goes, whatever the parent died of.

    start -> ready | failed          (the app is loaded, or is wrong)
    ready -> (a line from the parent) -> listening | failed
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

from msgspec import Struct

from pylon import codec
from pylon.cli.dev_schema import Decision, look, take
from pylon.cli.loading import Entry, LoadedApp, LoadError, load_app
from pylon.config import Config
from pylon.errors import ConfigError
from pylon.http.doors import Ports, inherit_doors
from pylon.store.evolution.model import EvolutionError, Plan
from pylon.store.evolution.words import planned_text


class Order(Struct, frozen=True, kw_only=True):
    """What the parent wants served and how the two talk (file descriptors)."""

    file: str
    folder: str
    overrides: dict[str, Any]
    doors: str
    report_fd: int
    control_fd: int


def main(order_text: str) -> NoReturn:
    """Serve as ordered; ends the process."""
    order = Order(**codec.decode_trusted(order_text))
    loaded = _load(order)
    from pylon.cli.serving import serve_app, summary

    config = _config(order)
    report = {"state": "ready", **summary(loaded)}
    schema = look(loaded, config)
    _report(order, report if schema is None else {**report, "schema": schema})
    _take_schema(order, loaded, config, _read_decision(order.control_fd))
    threading.Thread(target=_stop_with_parent, args=(order.control_fd,), daemon=True).start()

    def listening(ports: Ports) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _report(order, {"state": "listening"})

    doors = inherit_doors(order.doors)
    sys.exit(serve_app(loaded, config, doors, on_started=listening))


def _config(order: Order) -> Config:
    try:
        return Config.from_env(**order.overrides).validate()
    except ConfigError as error:
        _fail(order, [{"severity": "error", "code": error.code, "message": error.message}])


def _read_decision(control_fd: int) -> Decision | None:
    """Wait for the parent's go: a line, empty or with what to do with the schema."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(control_fd, 1)
        if not byte:
            sys.exit(0)
        line += byte
    decision: Decision | None = codec.decode_trusted(line)
    return decision


def _take_schema(
    order: Order, loaded: LoadedApp, config: Config, decision: Decision | None
) -> None:
    """Take the steps that were agreed to; additive ones are taken when the server starts."""
    if decision is None:
        return
    try:
        take(loaded, config, decision)
    except EvolutionError as error:
        plan = error.plan or Plan()
        reasons = "; ".join(planned_text(each) for each in plan.refused)
        finding = {"severity": "error", "code": error.code, "message": error.message}
        _fail(order, [{**finding, "hint": reasons} if reasons else finding])
    except ConfigError as error:
        _fail(order, [{"severity": "error", "code": "SCHEMA_FAILED", "message": error.message}])


def _load(order: Order) -> LoadedApp:
    entry = Entry(file=Path(order.file), folder=Path(order.folder))
    try:
        return load_app(entry)
    except LoadError as problem:
        findings = [finding.to_wire() for finding in problem.findings]
        _fail(order, findings, traceback_text=problem.traceback_text)


def _fail(
    order: Order, findings: list[dict[str, Any]], *, traceback_text: str | None = None
) -> NoReturn:
    _report(order, {"state": "failed", "findings": findings, "traceback": traceback_text})
    sys.exit(1)


def _report(order: Order, report: dict[str, Any]) -> None:
    os.write(order.report_fd, codec.encode(report) + b"\n")


def _stop_with_parent(control_fd: int) -> None:
    """Runs in a thread: the end of the pipe means that the parent stops or is gone."""
    while os.read(control_fd, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
