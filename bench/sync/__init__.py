"""The parts of the sync suite, a file each; `bench/suites/sync.py` runs them in order."""
