"""What one confirmed write costs on the disk under a folder: the floor of every insert.

`python -m bench.disk --file FILE` runs on the server's core and in a session of its own, as a
server does, so that a busy machine lets both wait alike. Each line on stdin is a number of seconds;
the answer is one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Set as AbstractSet
from pathlib import Path

from bench.processes import Child, Fleet

BLOCK_BYTES = 4096
BLOCKS = 256


class Probe:
    """A file that is written over and over, block by block, as a log of fixed size is.

    It never grows, so each fdatasync has data to write and no metadata: the least that it can cost.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        file.write_bytes(bytes(BLOCK_BYTES * BLOCKS))
        self._block = os.urandom(BLOCK_BYTES)

    def milliseconds(self, seconds: float) -> float:
        """The mean of one write with its fdatasync, over so many seconds."""
        number = os.open(self._file, os.O_WRONLY)
        try:
            count, began = 0, time.perf_counter()
            while (passed := time.perf_counter() - began) < seconds or not count:
                os.pwrite(number, self._block, count % BLOCKS * BLOCK_BYTES)
                os.fdatasync(number)
                count += 1
            return passed / count * 1000
        finally:
            os.close(number)


class DiskFloor:
    """The probe as a child of the run."""

    def __init__(self, fleet: Fleet, folder: Path, *, cores: AbstractSet[int]) -> None:
        file = folder / "fdatasync-probe"
        self.child: Child = fleet.spawn(
            "disk",
            [sys.executable, "-m", "bench.disk", "--file", str(file)],
            cores=cores,
            pipes=True,
        )

    def milliseconds(self, seconds: float) -> float:
        """See `Probe`."""
        return float(self.child.ask(str(seconds))["ms"])


def main() -> None:
    """Answer until stdin closes."""
    parser = argparse.ArgumentParser(description="time fdatasync")
    parser.add_argument("--file", type=Path, required=True)
    probe = Probe(parser.parse_args().file)
    for line in sys.stdin:
        print(json.dumps({"ms": probe.milliseconds(float(line))}), flush=True)


if __name__ == "__main__":
    main()
