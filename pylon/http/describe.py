"""How a route describes itself: what it takes, what it answers, who may call it.

Plain values given to `Router.add(docs=...)`, read by whoever writes a document of the routes (the
OpenAPI generator). Schemas are JSON Schema 2020-12; `shape("Name")` refers to a named one, which
the reader of the descriptions defines. Words in braces (`"{entity}.Insert"`) stand for the
parameter of the path with that name, for readers that write one operation for each of its values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct, field

Schema: TypeAlias = Mapping[str, Any]
"""A JSON Schema."""

Content: TypeAlias = Mapping[str, Schema]
"""Media type to schema."""

Caller: TypeAlias = Literal["anyone", "session", "administrator"]

JSON: Final = "application/json"

TEXT: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"type": "boolean"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}


class Parameter(Struct, frozen=True, kw_only=True):
    """A value of the query string; `schema` says its default and bounds."""

    name: str
    schema: Schema
    description: str = ""


class Docs(Struct, frozen=True, kw_only=True):
    """What a route says of itself.

    `answers` are bodies by status, failures included where they are not the usual error;
    `errors` are the route's own `"404 NOT_FOUND"`. What every route of its kind may answer besides
    (limits, a body that is no JSON, the database) follows from `body`, `store` and the method.
    """

    operation_id: str
    tag: str
    answers: Mapping[int, Content]
    description: str = ""
    caller: Caller = "anyone"
    body: Content | None = None
    query: tuple[Parameter, ...] = ()
    """What it knows of the query string; anything else there is refused."""
    names_its_answer: bool = False
    """The path says what is answered, as that of one row does: a parameter that is known nowhere
    cannot make it another answer, and is passed over as in the reference."""
    takes_any_query: bool = False
    """Parameters that it does not know are passed over: it has none, and is asked by programs that
    add their own."""
    path: Mapping[str, Schema] = field(default_factory=dict)
    """Schemas of path parameters that are not just text."""
    errors: tuple[str, ...] = ()
    store: Literal["unused", "reads", "writes"] = "unused"
    large_body: bool = False
    """Callers with a session may send `limits.BODY_BYTES_MAX`, not `BODY_BYTES_SESSION`: the route
    writes large rows, or many."""
    takes_key: bool = False
    """A request with an `Idempotency-Key` is done once."""
    streams_body: bool = False
    """The body is read as it comes, piece by piece, so nobody has the whole request in hand."""
    begins_at_once: bool = False
    """Its handler may begin before the request has a task: it runs nothing of others, and awaits
    `tasks.in_task` before what needs one, as timeouts do. For short reads."""
    rule: str = ""
    """Which access rule decides: read, insert, update or delete."""
    is_limited: bool = True
    """Whether the stages before the route (rate limit, CSRF) may refuse the request."""
    only_with: str = ""
    """The operation exists only where the thing that the path names has this."""


class Hidden(Struct, frozen=True, kw_only=True):
    """In place of `Docs`: a route that is kept out of documents, and why."""

    reason: str


def json(schema: Schema, status: int = 200) -> dict[int, Content]:
    """Answers of one status with a JSON body."""
    return {status: {JSON: schema}}


def shape(name: str) -> Schema:
    """A named schema."""
    return {"$ref": name}


def listed(schema: Schema) -> Schema:
    """An array of these."""
    return {"type": "array", "items": schema}


def object_of(optional: Mapping[str, Schema] | None = None, /, **required: Schema) -> Schema:
    """An object with these keys; `optional` ones may be absent."""
    made: dict[str, Any] = {"type": "object", "properties": {**required, **(optional or {})}}
    if required:
        made["required"] = list(required)
    return made


def constant(value: bool | str) -> Schema:
    """This value and no other."""
    kind = "boolean" if isinstance(value, bool) else "string"
    return {"type": kind, "const": value}


def nullable(schema: Schema) -> Schema:
    """This or null."""
    kind = schema.get("type")
    if isinstance(kind, str):
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
