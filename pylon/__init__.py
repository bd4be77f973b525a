"""Pylon: a self-hosted realtime backend in one Python process."""

__version__ = "0.1.0"
