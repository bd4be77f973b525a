"""Tests of `pylon.http`, over real sockets where behaviour is what counts."""
