"""Deliveries a second at ten times the readers of the live suite, which has the smaller case."""

from __future__ import annotations

from dataclasses import replace

from bench.processes import sockets_possible
from bench.ratio import Measure
from bench.sides import close, hub_side, pylon_side
from bench.suites.base import Setting, say
from bench.suites.live import compare

FACTOR = 10


def run(setting: Setting) -> list[Measure]:
    """One audience, then as many as the setting has readers."""
    many = replace(setting, readers=FACTOR * setting.readers)
    if many.readers > sockets_possible():
        say(f"left out: {many.readers} sockets, the limit of descriptors allows few (ulimit -Hn)")
        return []
    hub = hub_side(many, "single")
    measures = []
    for audiences in (1, setting.readers):
        ours = pylon_side(many, audiences)
        name = f"{many.readers} readers, {audiences} audience{'s' if audiences > 1 else ''}"
        measures.append(compare(many, name, ours, hub, "single writes"))
        close(many, ours)
    close(many, hub)
    return measures
