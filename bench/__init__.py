"""Benchmarks: what they start, how they load it, and how a ratio is made.

Nothing here is imported by `pylon/`. Run `python -m bench` for the list of suites; what is compared
and why it is fair is in `docs/benchmarks.md`.
"""
