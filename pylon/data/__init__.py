"""Rows: the one door through which everything reads and writes them."""
