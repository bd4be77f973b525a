"""Databases behind one contract (`base.py`); SQLite is the one every app starts with."""
