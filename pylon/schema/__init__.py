"""The shape of an app: the manifest, its checks, and the Python form that declares one.

May import root modules of `pylon` only; policy syntax is checked by a callable handed in.
"""

from pylon.schema.model import EntitySpec, FieldSpec, Manifest

__all__ = ["EntitySpec", "FieldSpec", "Manifest"]
