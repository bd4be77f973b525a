"""Judges a manifest that could be read: names, references and types (spec 05 section 3).

The passes run in the order of the spec's table, all of them always; ours follow in
`validate_names` and `validate_parts`. Policy syntax is judged by the callable that is handed in,
because this folder may not import `policy/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pylon.limits import DECIMAL_DIGITS_MAX
from pylon.schema.diagnostics import About, Diagnostic, did_you_mean, error
from pylon.schema.model import (
    LIST_ITEMS,
    MANIFEST_VERSION,
    SCALAR_KINDS,
    CallableSpec,
    FieldSpec,
    Manifest,
    PolicySpec,
    kind_of_type,
)
from pylon.schema.validate_constraints import check_constraints
from pylon.schema.validate_names import check_counts, check_identifiers
from pylon.schema.validate_parts import (
    check_auth,
    check_case,
    check_crdt,
    check_defaults,
    check_index_conditions,
    check_inputs,
    check_search,
    check_settable,
)
from pylon.schema.validate_relations import check_relations

PolicyCheck = Callable[[Manifest], Iterable[Diagnostic]]

_TYPE_ALIASES = {
    "str": "string",
    "text": "string",
    "uuid": "string",
    "integer": "int",
    "number": "float",
    "double": "float",
    "numeric": "decimal(2)",
    "money": "decimal(2)",
    "boolean": "bool",
    "day": "date",
    "object": "json",
    "array": "list(string)",
    "list": "list(string)",
    "time": "datetime",
    "timestamp": "datetime",
    "markdown": "richtext",
}
"""What people write from habit, and the type that they mean."""


def validate(manifest: Manifest, *, policy_check: PolicyCheck | None = None) -> list[Diagnostic]:
    """Everything that is wrong with a manifest, at once; empty when it can be served.

    `policy_check` judges the expressions; its findings join those of the policy pass.
    """
    found: list[Diagnostic] = []
    for check in _PASSES_BEFORE_EXPRESSIONS:
        found.extend(check(manifest))
    if policy_check is not None:
        found.extend(policy_check(manifest))
    for check in _PASSES_AFTER_EXPRESSIONS:
        found.extend(check(manifest))
    return found


def _check_version(manifest: Manifest) -> Iterator[Diagnostic]:
    if manifest.manifest_version != MANIFEST_VERSION:
        yield error(
            "MANIFEST_VERSION_UNSUPPORTED",
            f"manifest version {manifest.manifest_version} is not supported",
            f'Set "manifest_version" to {MANIFEST_VERSION}.',
        )


def _check_not_empty(manifest: Manifest) -> Iterator[Diagnostic]:
    if not manifest.entities:
        yield error("SCHEMA_EMPTY", "the app has no entities", "Declare at least one entity.")


def _check_entity_names(manifest: Manifest) -> Iterator[Diagnostic]:
    for repeated in _repeated_or_empty(entity.name for entity in manifest.entities):
        if not repeated:
            yield error(
                "ENTITY_NAME_EMPTY",
                "an entity has no name",
                "Give every entity a name.",
                about=("entity", repeated),
            )
        else:
            yield error(
                "ENTITY_DUPLICATE",
                f'the entity "{repeated}" is declared twice',
                "Rename one of them, or merge their fields.",
                about=("entity", repeated),
            )


def _check_field_names(manifest: Manifest) -> Iterator[Diagnostic]:
    for entity in manifest.entities:
        for repeated in _repeated_or_empty(field.name for field in entity.fields):
            if not repeated:
                yield error(
                    "FIELD_NAME_EMPTY",
                    f'a field of "{entity.name}" has no name',
                    "Give every field a name.",
                    about=("entity", entity.name, "field", repeated),
                )
            else:
                yield error(
                    "FIELD_DUPLICATE",
                    f'the field "{entity.name}.{repeated}" is declared twice',
                    "Rename or remove one of them.",
                    about=("entity", entity.name, "field", repeated),
                )


def _check_indexes(manifest: Manifest) -> Iterator[Diagnostic]:
    for entity in manifest.entities:
        for repeated in _repeated_or_empty(index.name for index in entity.indexes):
            if not repeated:
                yield error(
                    "INDEX_NAME_EMPTY",
                    f'an index of "{entity.name}" has no name',
                    "Name it after its fields, for example by_owner.",
                    about=("entity", entity.name, "index", repeated),
                )
            else:
                yield error(
                    "INDEX_NAME_DUPLICATE",
                    f'"{entity.name}" has two indexes named "{repeated}"',
                    "Rename or remove one of them.",
                    about=("entity", entity.name, "index", repeated),
                )
        for index in entity.indexes:
            if not index.fields:
                yield error(
                    "INDEX_FIELDS_EMPTY",
                    f'the index "{entity.name}.{index.name}" covers no field',
                    "List at least one field of the entity.",
                    about=("entity", entity.name, "index", index.name),
                )
            for name in index.fields:
                if name not in entity.fields_by_name:
                    yield error(
                        "INDEX_FIELD_NOT_FOUND",
                        f'the index "{entity.name}.{index.name}" covers "{name}", '
                        "which is no field of the entity",
                        "The id of a row is indexed already; leave it out."
                        if name == "id"
                        else did_you_mean(name, entity.fields_by_name),
                        about=("entity", entity.name, "index", index.name),
                    )


def _check_id_targets(manifest: Manifest) -> Iterator[Diagnostic]:
    for place, about, field in _every_field(manifest):
        if field.target is not None and field.target not in manifest.entities_by_name:
            yield error(
                "FIELD_ID_TARGET_NOT_FOUND",
                f'{place} refers to the entity "{field.target}", which is not declared',
                did_you_mean(field.target, manifest.entities_by_name),
                about=about,
            )


def _check_queries(manifest: Manifest) -> Iterator[Diagnostic]:
    return _check_callables("query", manifest.queries)


def _check_actions(manifest: Manifest) -> Iterator[Diagnostic]:
    return _check_callables("action", manifest.actions)


def _check_callables(noun: str, callables: tuple[CallableSpec, ...]) -> Iterator[Diagnostic]:
    seen: set[str] = set()
    for one in callables:
        if not one.name:
            hint = "Give it a name that clients can call it by."
            yield error(
                f"{noun.upper()}_NAME_EMPTY",
                f"a declared {noun} has no name",
                hint,
                about=(noun, one.name),
            )
        elif one.name in seen:
            message = f'the {noun} "{one.name}" is declared twice'
            yield error(
                f"{noun.upper()}_DUPLICATE",
                message,
                "Rename or remove one of them.",
                about=(noun, one.name),
            )
        seen.add(one.name)
        for repeated in _repeated_or_empty(field.name for field in one.input):
            if not repeated:
                yield error(
                    "INPUT_FIELD_NAME_EMPTY",
                    f'an input of the {noun} "{one.name}" has no name',
                    "Give every input a name.",
                    about=(noun, one.name, "input", repeated),
                )
            else:
                yield error(
                    "INPUT_FIELD_DUPLICATE",
                    f'the {noun} "{one.name}" has two inputs named "{repeated}"',
                    "Rename or remove one of them.",
                    about=(noun, one.name, "input", repeated),
                )


def _check_policies(manifest: Manifest) -> Iterator[Diagnostic]:
    seen: set[str] = set()
    for policy in manifest.policies:
        if not policy.name:
            hint = "Name it after what it guards; the name is in the log of a denial."
            yield error(
                "POLICY_NAME_EMPTY", "a policy has no name", hint, about=("policy", policy.name)
            )
        elif policy.name in seen:
            message = f'two policies are named "{policy.name}"'
            yield error(
                "POLICY_DUPLICATE", message, "Rename or merge them.", about=("policy", policy.name)
            )
        seen.add(policy.name)
        if not policy.expressions():
            yield error(
                "POLICY_ALLOW_EMPTY",
                f'the policy "{policy.name}" has no expression',
                'Fill at least one slot, for example "allow": "auth.userId != null".',
                about=("policy", policy.name),
            )
        yield from _check_policy_target(policy, manifest)


def _check_policy_target(policy: PolicySpec, manifest: Manifest) -> Iterator[Diagnostic]:
    if policy.entity is None and policy.action is None:
        yield error(
            "POLICY_NO_TARGET",
            f'the policy "{policy.name}" guards nothing',
            'Name an "entity" or an "action".',
            about=("policy", policy.name),
        )
    if policy.entity is not None and policy.entity not in manifest.entities_by_name:
        yield error(
            "POLICY_ENTITY_NOT_FOUND",
            f'the policy "{policy.name}" guards the entity "{policy.entity}", '
            "which is not declared",
            did_you_mean(policy.entity, manifest.entities_by_name),
            about=("policy", policy.name),
        )
    actions = [action.name for action in manifest.actions]
    if policy.action is not None and policy.action not in actions:
        yield error(
            "POLICY_ACTION_NOT_FOUND",
            f'the policy "{policy.name}" guards the action "{policy.action}", '
            "which is not declared",
            did_you_mean(policy.action, actions),
            about=("policy", policy.name),
        )


def _check_route_paths(manifest: Manifest) -> Iterator[Diagnostic]:
    seen: set[str] = set()
    for route in manifest.routes:
        if not route.path:
            yield error(
                "ROUTE_PATH_EMPTY",
                "a route has no path",
                'The first page is "/".',
                about=("route", route.path),
            )
        elif not route.path.startswith("/"):
            yield error(
                "ROUTE_PATH_NO_SLASH",
                f'the route "{route.path}" does not start with a slash',
                f'Write "/{route.path}".',
                about=("route", route.path),
            )
        if route.path and route.path in seen:
            yield error(
                "ROUTE_PATH_DUPLICATE",
                f'the route "{route.path}" is declared twice',
                "Remove one of them.",
                about=("route", route.path),
            )
        seen.add(route.path)


def _check_route_bindings(manifest: Manifest) -> Iterator[Diagnostic]:
    queries = {query.name: query for query in manifest.queries}
    for route in manifest.routes:
        if route.query is not None:
            query = queries.get(route.query)
            if query is None:
                yield error(
                    "ROUTE_QUERY_NOT_FOUND",
                    f'the route "{route.path}" shows the query "{route.query}", '
                    "which is not declared",
                    did_you_mean(route.query, queries),
                    about=("route", route.path),
                )
            else:
                yield from _check_route_parameters(route.path, query)
        if route.auth is not None and route.auth not in ("public", "user"):
            yield error(
                "ROUTE_AUTH_INVALID",
                f'the route "{route.path}" asks for the auth "{route.auth}"',
                'Use "public" or "user", or leave it out.',
                about=("route", route.path),
            )


def _check_route_parameters(path: str, query: CallableSpec) -> Iterator[Diagnostic]:
    inputs = [field.name for field in query.input]
    for segment in path.split("/"):
        if segment.startswith(":") and segment[1:] not in inputs:
            yield error(
                "ROUTE_PARAM_NOT_IN_QUERY",
                f'the route "{path}" has the parameter "{segment}", '
                f'which is no input of the query "{query.name}"',
                did_you_mean(segment[1:], inputs, f'Add the input "{segment[1:]}" to the query.'),
                about=("route", path),
            )


def _check_types(manifest: Manifest) -> Iterator[Diagnostic]:
    for place, about, field in _every_field(manifest):
        if kind_of_type(field.type) is None:
            yield error(
                "INPUT_FIELD_TYPE_UNKNOWN" if place.startswith("input") else "FIELD_TYPE_UNKNOWN",
                f'{place} has the unknown type "{field.type}"',
                _type_hint(field.type),
                about=about,
            )


def _type_hint(wrong: str) -> str:
    if wrong.startswith("id"):
        return 'A reference is written "id(Entity)", for example "id(User)".'
    alias = _TYPE_ALIASES.get(wrong.casefold())
    if alias is not None:
        return f'Use "{alias}".'
    if wrong.startswith("decimal"):
        return f"A decimal has 0 to {DECIMAL_DIGITS_MAX} digits: decimal(2)."
    if wrong.startswith("list"):
        return f"Lists are of {', '.join(LIST_ITEMS)}: list(string)."
    known = ", ".join(SCALAR_KINDS)
    return did_you_mean(wrong, SCALAR_KINDS, f"Types are {known}, list(<type>) and id(<Entity>).")


def _every_field(manifest: Manifest) -> Iterator[tuple[str, About, FieldSpec]]:
    """Fields of entities, then inputs of queries, then of actions: how each is called in a
    sentence, and what a finding on it is about."""
    for entity in manifest.entities:
        for field in entity.fields:
            about = ("entity", entity.name, "field", field.name)
            yield f'field "{entity.name}.{field.name}"', about, field
    for noun, callables in (("query", manifest.queries), ("action", manifest.actions)):
        for one in callables:
            for field in one.input:
                about = (noun, one.name, "input", field.name)
                yield f'input "{field.name}" of the {noun} "{one.name}"', about, field


def _repeated_or_empty(names: Iterable[str]) -> Iterator[str]:
    """The names that were seen before, and "" for each missing one."""
    seen: set[str] = set()
    for name in names:
        if not name or name in seen:
            yield name
        seen.add(name)


_PASSES_BEFORE_EXPRESSIONS: tuple[Callable[[Manifest], Iterator[Diagnostic]], ...] = (
    _check_version,
    _check_not_empty,
    _check_entity_names,
    _check_field_names,
    _check_indexes,
    _check_id_targets,
    _check_queries,
    _check_actions,
    _check_policies,
)

_PASSES_AFTER_EXPRESSIONS: tuple[Callable[[Manifest], Iterator[Diagnostic]], ...] = (
    _check_route_paths,
    _check_route_bindings,
    _check_types,
    check_counts,
    check_identifiers,
    check_relations,
    check_search,
    check_crdt,
    check_constraints,
    check_defaults,
    check_settable,
    check_case,
    check_index_conditions,
    check_inputs,
    check_auth,
)
