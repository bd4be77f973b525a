"""What is measured: our server, PocketBase, and the two floors. A peer knows nothing of loads."""
