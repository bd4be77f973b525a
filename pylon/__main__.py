"""`python -m pylon` is the `pylon` command."""

from __future__ import annotations

from pylon.cli import main

if __name__ == "__main__":
    main()
