"""Pylon: a self-hosted realtime backend in one Python process.

What an app declares itself with is exported here, each name loaded at its first use, so that
importing a part does not load the whole.
"""

from __future__ import annotations

import sys
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pylon.app import App as App
    from pylon.config import Config as Config
    from pylon.errors import ConfigError as ConfigError
    from pylon.errors import PylonError as PylonError
    from pylon.schema.diagnostics import SchemaError as SchemaError
    from pylon.schema.entity import Entity as Entity
    from pylon.schema.entity import index as index
    from pylon.schema.entity import relation as relation
    from pylon.schema.expressions import Expression as Expression
    from pylon.schema.expressions import auth as auth
    from pylon.schema.expressions import data as data
    from pylon.schema.expressions import existing as existing
    from pylon.schema.expressions import exists as exists
    from pylon.schema.expressions import input_ as input_
    from pylon.schema.expressions import now as now
    from pylon.schema.expressions import row as row
    from pylon.schema.fields import Email as Email
    from pylon.schema.fields import Id as Id
    from pylon.schema.fields import Json as Json
    from pylon.schema.fields import RichText as RichText
    from pylon.schema.fields import Url as Url
    from pylon.schema.fields import created_at as created_at
    from pylon.schema.fields import field as field
    from pylon.schema.fields import updated_at as updated_at
    from pylon.schema.user import User as User
    from pylon.service import Service as Service

__version__ = "0.1.0"

_HOMES = {
    "App": "pylon.app",
    "Service": "pylon.service",
    "Config": "pylon.config",
    "ConfigError": "pylon.errors",
    "PylonError": "pylon.errors",
    "SchemaError": "pylon.schema.diagnostics",
    "Entity": "pylon.schema.entity",
    "index": "pylon.schema.entity",
    "relation": "pylon.schema.entity",
    "Expression": "pylon.schema.expressions",
    "auth": "pylon.schema.expressions",
    "data": "pylon.schema.expressions",
    "existing": "pylon.schema.expressions",
    "exists": "pylon.schema.expressions",
    "input_": "pylon.schema.expressions",
    "now": "pylon.schema.expressions",
    "row": "pylon.schema.expressions",
    "Id": "pylon.schema.fields",
    "Url": "pylon.schema.fields",
    "Json": "pylon.schema.fields",
    "Email": "pylon.schema.fields",
    "RichText": "pylon.schema.fields",
    "field": "pylon.schema.fields",
    "updated_at": "pylon.schema.fields",
    "created_at": "pylon.schema.fields",
    "User": "pylon.schema.user",
}


__all__ = [
    "App",
    "Config",
    "ConfigError",
    "Email",
    "Entity",
    "Expression",
    "Id",
    "Json",
    "PylonError",
    "RichText",
    "SchemaError",
    "Service",
    "Url",
    "User",
    "auth",
    "created_at",
    "data",
    "existing",
    "exists",
    "field",
    "index",
    "input_",
    "now",
    "relation",
    "row",
    "updated_at",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pylon' has no attribute {name!r}{_nearest(name)}")
    return getattr(import_module(_HOMES[name]), name)


def _nearest(name: str) -> str:
    # Names with two underscores are asked for by tools, not by people.
    close = [] if name.startswith("__") else get_close_matches(name, __all__, n=1)
    return f". Did you mean {close[0]!r}?" if close else ""


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


def _exported(name: str) -> property:
    def ignore(_package: ModuleType, _value: object) -> None:
        """The import system sets a package's attribute when its subpackage is loaded."""

    return property(lambda _package: __getattr__(name), ignore)


class _Package(ModuleType):
    """Keeps `pylon.auth` and `pylon.data` meaning what apps import, not the folders so named."""

    auth = _exported("auth")
    data = _exported("data")


sys.modules[__name__].__class__ = _Package
