"""The `pylon` command: one module a subcommand, loaded when it is called.

Not here: anything that serves (`server`, `app`). Imports nothing heavy, so that `pylon start`
answers its first request soon.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the console script; ends the process with an exit code of spec 05 9.1."""
    from pylon.cli.collector import look_seldom

    look_seldom()
    from pylon.cli.command import pylon_command, run

    run(pylon_command)
