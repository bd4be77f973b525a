"""Issue-sized questions about sync, part by part; `--only PART ...` runs some of them.

Each part starts and ends servers of its own, so that none inherits what another left behind.
"""

from __future__ import annotations

from bench.processes import BenchError
from bench.ratio import Measure
from bench.suites.base import Setting, Suite, say
from bench.sync import documents, fan_out, full_pull, stalled, storm

PARTS: dict[str, Suite] = {
    "fan-out": fan_out.run,
    "stalled": stalled.run,
    "pull": full_pull.run,
    "storm": storm.run,
    "editors": documents.run,
}


def run(setting: Setting) -> list[Measure]:
    """All parts, or those that were asked for."""
    unknown = set(setting.only) - PARTS.keys()
    if unknown:
        raise BenchError(f"no part {min(unknown)}; there are {', '.join(PARTS)}")
    measures: list[Measure] = []
    for name, part in PARTS.items():
        if not setting.only or name in setting.only:
            say(f"sync: {name}")
            measures += part(setting)
    return measures
