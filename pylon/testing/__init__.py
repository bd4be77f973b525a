"""Doubles for the tests of those who build on Pylon; nothing in the server imports them."""
