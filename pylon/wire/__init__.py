"""Messages as they are on the wire: shapes and encodings, no decisions."""
