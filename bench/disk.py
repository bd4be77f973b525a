"""What one confirmed write costs on the disk under a folder: the floor of every insert."""

from __future__ import annotations

import os
import time
from pathlib import Path

BLOCK_BYTES = 4096
BLOCKS = 256


class Probe:
    """A file that is written over and over, block by block, as a log of fixed size is.

    It never grows, so each fdatasync has data to write and no metadata: the least that it can cost.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "fdatasync-probe"
        self._file.write_bytes(bytes(BLOCK_BYTES * BLOCKS))
        self._block = os.urandom(BLOCK_BYTES)

    def milliseconds(self, *, seconds: float) -> float:
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
