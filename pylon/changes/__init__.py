"""The durable change log that sync is made of."""
