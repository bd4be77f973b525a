"""One module a suite. A suite starts its peers, runs its rounds and returns measures."""
