"""Which parts a service is made of, one file a group, and how each is made."""
