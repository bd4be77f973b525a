"""What one process tells the others: small messages that may be lost (`base.py`)."""
