"""The surface: one file a family of URLs; each parses, calls one feature and renders."""
