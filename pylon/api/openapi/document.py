"""From a routing table and a manifest to an OpenAPI 3.1 document (spec 01 section 10).

A route whose path has `{entity}` becomes one path for each entity, with that entity's schemas, so
that generated clients are typed. Answers that are alike are named once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from pylon import limits
from pylon.api.openapi.entities import all_shapes
from pylon.api.openapi.errors import codes, error_schema
from pylon.http.describe import JSON, Caller, Docs, Schema
from pylon.http.router import Route
from pylon.schema.model import EntitySpec, Manifest

OPENAPI_VERSION: Final = "3.1.0"

TAGS: Final[Mapping[str, str]] = {
    "system": "What the server says of itself",
    "auth": "Sessions and who the caller is",
    "query": "Rows with related rows",
    "actions": "Declared actions: calls are checked, nothing is run",
    "batch": "Many writes in one request",
    "sync": "Changes, pulled, pushed and live",
    "admin": "Whole tables and people's data, for administrators",
}

SECURITY: Final[Mapping[Caller, list[dict[str, list[str]]]]] = {
    "anyone": [{}, {"BearerAuth": []}, {"CookieAuth": []}],
    "session": [{"BearerAuth": []}, {"CookieAuth": []}],
    "administrator": [{"BearerAuth": []}],
}

SLOTS: Final[Mapping[str, tuple[str, ...]]] = {
    "read": ("allowRead", "allow"),
    "insert": ("allowInsert", "allowWrite", "allow"),
    "update": ("allowUpdate", "allowWrite", "allow"),
    "delete": ("allowDelete", "allowWrite", "allow"),
}
"""Which expression of a policy decides (spec 02 section 2.7)."""

_PLACE = re.compile(r"\{(\w+)\*?\}")

ONCE_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A new text for each write, such as a UUID in double quotes: repeated with the"
    " same key, the write is done once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": limits.ONCE_KEY_CHARACTERS_MAX + 2},
}

RETRY_AFTER: Final = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is documented, beside the routes. `has_hooks`: errors may have the app's own codes."""

    manifest: Manifest
    cookie_name: str
    has_hooks: bool = False


def undocumented(routes: Iterable[Route]) -> list[str]:
    """The routes that say nothing of themselves; a test holds that there are none."""
    return [f"{route.method} {route.pattern}" for route in routes if route.docs is None]


def document(
    subject: Subject, routes: Sequence[Route], *, server: str, shows_policies: bool
) -> dict[str, Any]:
    """The whole document. `server` is the address of the API below the document's host."""
    manifest = subject.manifest
    writer = _Writer(subject, all_shapes(manifest), shows_policies=shows_policies)
    paths: dict[str, dict[str, Any]] = {}
    # Fixed names first: the spec gives them, and an entity's operation is the one to step aside.
    for route in sorted(routes, key=lambda route: "entity" in route.params):
        if isinstance(route.docs, Docs):
            for path, operation in writer.operations(route, route.docs):
                paths.setdefault(path, {})[route.method.lower()] = operation
    described = {**TAGS, **{spec.name: f"Rows of {spec.name}" for spec in manifest.entities}}
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": manifest.name,
            "version": manifest.version,
            "description": f"Auto-generated API documentation for {manifest.name}",
        },
        "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
        "servers": [{"url": server}],
        "tags": [{"name": name, "description": text} for name, text in described.items()],
        "paths": paths,
        "components": {
            "schemas": writer.schemas(),
            "responses": writer.responses,
            "securitySchemes": {
                "BearerAuth": {"type": "http", "scheme": "bearer"},
                "CookieAuth": {"type": "apiKey", "in": "cookie", "name": subject.cookie_name},
            },
        },
    }


@dataclass(slots=True)
class _Writer:
    """Writes operations and gathers what they share."""

    subject: Subject
    shapes: Mapping[str, Schema]
    shows_policies: bool = field(kw_only=True)
    responses: dict[str, Any] = field(default_factory=dict, kw_only=True)
    _used: set[str] = field(default_factory=set, kw_only=True)
    _known: dict[str, str] = field(default_factory=dict, kw_only=True)

    def operations(self, route: Route, docs: Docs) -> Iterator[tuple[str, dict[str, Any]]]:
        """Path and operation, once for each entity where the path names one."""
        if "entity" not in route.params:
            yield _path(route.pattern, {}), self._operation(route, docs, None)
            return
        for spec in self.subject.manifest.entities:
            if _has(spec, docs.only_with):
                path = _path(route.pattern, {"entity": spec.name})
                yield path, self._operation(route, docs, spec)

    def schemas(self) -> dict[str, Any]:
        """Every named schema, by the name that it has in the document."""
        return {self._name(name): self._resolved(s, None) for name, s in self.shapes.items()}

    def _operation(self, route: Route, docs: Docs, spec: EntitySpec | None) -> dict[str, Any]:
        parameters = [
            *(self._path_parameter(name, docs, spec) for name in route.params if name != "entity"),
            *(self._query_parameter(each, spec) for each in docs.query),
            *([ONCE_KEY] if docs.takes_key else []),
        ]
        summary = route.summary if spec is None else f"{route.summary} ({spec.name})"
        description = " ".join(filter(None, (docs.description, self._policy(docs, spec))))
        operation: dict[str, Any] = {
            "operationId": self._free(_filled(docs.operation_id, spec)),
            "tags": [_filled(docs.tag, spec)],
            "summary": summary,
            **({"description": description} if description else {}),
            **({"parameters": parameters} if parameters else {}),
        }
        if docs.body is not None:
            content = self._content(docs.body, spec)
            operation["requestBody"] = {"required": True, "content": content}
        operation["responses"] = self._answers(route, docs, spec)
        operation["security"] = SECURITY[docs.caller]
        return operation

    # --- parameters --------------------------------------------------------------------------

    def _path_parameter(self, name: str, docs: Docs, spec: EntitySpec | None) -> dict[str, Any]:
        schema = docs.path.get(name, {"type": "string", "minLength": 1})
        return {
            "name": name,
            "in": "path",
            "required": True,
            "schema": self._resolved(schema, spec),
        }

    def _query_parameter(self, parameter: Any, spec: EntitySpec | None) -> dict[str, Any]:
        made = {"name": parameter.name, "in": "query", "required": False}
        if parameter.description:
            made["description"] = parameter.description
        return {**made, "schema": self._resolved(parameter.schema, spec)}

    # --- answers -----------------------------------------------------------------------------

    def _answers(self, route: Route, docs: Docs, spec: EntitySpec | None) -> dict[str, Any]:
        refused = codes(route, docs)
        is_open = self.subject.has_hooks and docs.store == "writes"
        answers: dict[str, Any] = {}
        for status in sorted({*docs.answers, *refused}):
            content = self._content(docs.answers.get(status, {}), spec)
            known = refused.get(status)
            if known is None:
                answers[str(status)] = {"description": _phrase(status), "content": content}
            else:
                error = self._resolved(error_schema(known, is_open=is_open), spec)
                answers[str(status)] = self._refusal(status, known, error, content.get(JSON))
        if is_open:
            error = self._resolved({"$ref": "Error"}, spec)
            for statuses in ("4XX", "5XX"):
                answers[statuses] = {
                    "description": "A hook of the app refused it.",
                    "content": {JSON: {"schema": error}},
                }
        return answers

    def _refusal(
        self, status: int, known: list[str], error: Any, other: dict[str, Any] | None
    ) -> dict[str, Any]:
        """A reference to the named answer of these codes, which is made the first time."""
        schema = error if other is None else {"anyOf": [error, other["schema"]]}
        key = repr((status, schema))
        name = self._known.get(key)
        if name is None:
            same = sum(each.startswith(f"Error{status}") for each in self.responses)
            name = self._known[key] = f"Error{status}.{same + 1}"
            self.responses[name] = {
                "description": f"{_phrase(status)}: {', '.join(known)}",
                **({"headers": RETRY_AFTER} if status == 429 else {}),
                "content": {JSON: {"schema": schema}},
            }
        return {"$ref": f"#/components/responses/{name}"}

    # --- words -------------------------------------------------------------------------------

    def _content(self, content: Mapping[str, Schema], spec: EntitySpec | None) -> dict[str, Any]:
        return {kind: {"schema": self._resolved(s, spec)} for kind, s in content.items()}

    def _resolved(self, value: Any, spec: EntitySpec | None) -> Any:
        """A schema with its named ones as references into the document."""
        if isinstance(value, Mapping):
            return {
                key: self._reference(inner, spec)
                if key == "$ref" and isinstance(inner, str)
                else self._resolved(inner, spec)
                for key, inner in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._resolved(item, spec) for item in value]
        return value

    def _reference(self, name: str, spec: EntitySpec | None) -> str:
        if spec is not None:
            name = name.replace("{entity}", f"@{spec.name}")
        assert name in self.shapes, f"no shape is named {name!r}"
        return f"#/components/schemas/{self._name(name)}"

    def _name(self, name: str) -> str:
        """Entities have the names that their app gives them; the server's own step aside."""
        if name.startswith("@"):
            return name[1:]
        return f"Pylon.{name}" if name in self.subject.manifest.entities_by_name else name

    def _policy(self, docs: Docs, spec: EntitySpec | None) -> str:
        """The rule that decides, where the reader may know it."""
        if not (docs.rule and spec and self.shows_policies):
            return ""
        rules = [
            next(text for slot in SLOTS[docs.rule] if (text := each.expressions().get(slot)))
            for each in self.subject.manifest.policies
            if each.entity == spec.name
            and any(slot in each.expressions() for slot in SLOTS[docs.rule])
        ]
        if not rules:
            return "No policy decides about it."
        return f"Policy: {' and '.join(f'`{rule}`' for rule in rules)}."

    def _free(self, operation_id: str) -> str:
        """The id, or the nearest that no other operation has."""
        while operation_id in self._used:
            operation_id += "Entity"
        self._used.add(operation_id)
        return operation_id


def _has(spec: EntitySpec, part: str) -> bool:
    match part:
        case "":
            return True
        case "documents":
            return spec.crdt
        case "search":
            return spec.search is not None
    raise AssertionError(f"no entity has {part!r}")


def _filled(text: str, spec: EntitySpec | None) -> str:
    return text if spec is None else text.replace("{entity}", spec.name)


def _path(pattern: str, values: Mapping[str, str]) -> str:
    """A pattern as OpenAPI writes it; a rest of the path is a parameter like any other."""
    return _PLACE.sub(lambda place: values.get(place[1], f"{{{place[1]}}}"), pattern)


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase
