"""A process of a `ProcessPool`: takes work on its standard input and answers on its output.

Started as `python -m pylon.pool_child MODULE:FUNCTION`; ends with its input. The function runs on a
thread with room for deep recursion, since strangers' bytes may nest. While it works an alarm of the
kernel runs, which ends the process even where no Python would: a library that holds the
interpreter, a service that was killed meanwhile. Nothing here knows what the work is.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from time import thread_time
from typing import BinaryIO

from pylon import limits
from pylon.pools import ANSWERED, ASKED, FAILED

if sys.platform != "win32":
    import resource

Function = Callable[[bytes], bytes]


def main(name: str) -> None:
    """Work until the input ends."""
    module, _, function = name.partition(":")
    work: Function = getattr(import_module(module), function)
    answers = os.fdopen(os.dup(1), "wb")
    # What a library prints belongs neither into the answers nor, once it runs, into the log: what
    # fails is answered, and strangers could fill the log.
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    _lower_limits()
    threading.stack_size(limits.POOL_STACK_BYTES)
    thread = threading.Thread(target=_serve, args=(work, sys.stdin.buffer, answers))
    thread.start()
    thread.join()


def _serve(work: Function, asked: BinaryIO, answers: BinaryIO) -> None:
    while head := asked.read(ASKED.size):
        length, seconds = ASKED.unpack(head)
        given = asked.read(length)
        _alarm(seconds)
        started = thread_time()
        failed = 0
        try:
            answer = work(given)
        except BaseException:  # told to whoever asked; bindings raise `BaseException`, too
            failed, answer = FAILED, traceback.format_exc().encode(errors="replace")
        took = thread_time() - started
        _alarm(0)
        answers.write(ANSWERED.pack(failed, len(answer), took, _kibibytes()))
        answers.write(answer)
        answers.flush()


def _lower_limits() -> None:
    """Less of the machine than the service: processor, memory, no dumps."""
    if sys.platform == "win32":
        return
    os.nice(limits.POOL_NICENESS)
    for what, most in (
        (resource.RLIMIT_AS, limits.POOL_PROCESS_BYTES_MAX),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (soft, hard))


def _alarm(seconds: int) -> None:
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


def _kibibytes() -> int:
    """The most memory that the process has had; 0 where the system does not say.

    Not what `getrusage` calls the most: a process begins as a copy of the service, and that figure
    keeps the service's memory.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line[:6] == "VmHWM:"), 0)


if __name__ == "__main__":
    main(sys.argv[1])
