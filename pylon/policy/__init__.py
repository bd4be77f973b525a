"""The policy language: who may read and write which rows.

Text goes through `syntax` (text to tree), `lower` (tree to a formula, with names and kinds
resolved), and from the formula to three targets: `predicate` (Python), `sql` and `audience`.
`engine` puts them together per entity; `check` reports mistakes. See `docs/policies.md`.
"""
