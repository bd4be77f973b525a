"""Tests of the server; each folder mirrors one of `pylon/`."""
