"""The shape of an app: the manifest, its checks, and the Python form that declares one.

May import root modules of `pylon` only; policy syntax is checked by a callable handed in.
"""

from pylon.schema.declare import Declarations
from pylon.schema.diagnostics import Diagnostic, SchemaError
from pylon.schema.model import EntitySpec, FieldSpec, Manifest
from pylon.schema.parse import parse_manifest
from pylon.schema.validate import validate

__all__ = [
    "Declarations",
    "Diagnostic",
    "EntitySpec",
    "FieldSpec",
    "Manifest",
    "SchemaError",
    "parse_manifest",
    "validate",
]
