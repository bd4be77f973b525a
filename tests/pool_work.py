"""Work for the processes of pools in tests."""

from __future__ import annotations

import os
import signal
import time


def work(given: bytes) -> bytes:
    """Answer with the same, or do what it says."""
    if given == b"raise":
        raise ValueError("as told")
    if given == b"die":
        os._exit(7)
    if given == b"hang":
        time.sleep(60)
    if given == b"alarm":
        signal.alarm(1)  # instead of the one that is set
        time.sleep(60)
    if given == b"print":
        os.write(1, b"to the output")
        os.write(2, b"to the errors")
    if given == b"environment":
        return "\n".join(os.environ).encode()
    if given == b"pid":
        return str(os.getpid()).encode()
    return given


def die(given: bytes) -> bytes:
    """End the process, whatever is given."""
    os._exit(7)


def hang(given: bytes) -> bytes:
    """Never answer."""
    time.sleep(60)
    return given
