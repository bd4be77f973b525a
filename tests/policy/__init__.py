"""Tests of the policy language; `worlds` and `oracle` hold what several of them share."""
