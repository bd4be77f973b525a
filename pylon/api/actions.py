"""`/api/actions`: the actions that an app declares (spec 02 section 5.5, spec 05 section 7).

A declared action is a contract: who may call it, with which input. Its policy and its input are
checked and the answer repeats them; nothing is run or stored. What runs is a server function.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from pylon.api.openapi.values import written_schema
from pylon.codec import encode
from pylon.data.errors import policy_denied
from pylon.data.fields import value_checker
from pylon.errors import PylonError
from pylon.http.describe import JSON, Docs, Hidden, constant, json, nullable, object_of
from pylon.http.request import Request
from pylon.http.response import Response, raw_json
from pylon.http.router import Router
from pylon.policy.denial import Denials
from pylon.policy.engine import PolicyEngine
from pylon.schema.diagnostics import did_you_mean
from pylon.schema.model import CallableSpec, FieldSpec, Manifest

ANY_ACTION: Final = Hidden(reason="every declared action has a path of its own")


class ActionRoutes:
    """One route for each declared action, and one that refuses every other name."""

    def __init__(
        self, manifest: Manifest, policies: PolicyEngine, denials: Denials | None = None
    ) -> None:
        self._actions = {spec.name: spec for spec in manifest.actions}
        self._policies = policies
        self._denials = denials

    def register(self, router: Router) -> None:
        """Add the routes."""
        for spec in self._actions.values():
            router.add(
                *("POST", f"/api/actions/{spec.name}", partial(self.check_action, spec=spec)),
                name=f"action_{spec.name}",
                summary=f"Check a call of {spec.name}",
                docs=_docs(spec),
            )
        path = "/api/actions/{name}"
        router.add("POST", path, self.refuse_action, summary="Refused", docs=ANY_ACTION)

    async def check_action(self, request: Request, *, spec: CallableSpec) -> Response:
        given = await request.json()
        values = given if isinstance(given, dict) else {}
        if not await self._policies.action(spec.name).passes(request.identity, values):
            who, denials = request.identity, self._denials
            why = None if denials is None else await denials.why_action(spec.name, who, values)
            raise policy_denied(why)
        _check_input(spec, values)
        return raw_json(encode({"action": spec.name, "input": given, "executed": True}))

    async def refuse_action(self, request: Request, name: str) -> Response:
        await request.json()
        hint = did_you_mean(name, self._actions)
        raise PylonError(404, "ACTION_NOT_FOUND", f'There is no action "{name[:100]}".', hint)


def _check_input(spec: CallableSpec, values: Mapping[str, Any]) -> None:
    """400 `ACTION_MISSING_INPUT` or `INVALID_ARGS` where the input is not what was declared."""
    required = [each for each in spec.input if not each.optional]
    missing = [each.name for each in required if values.get(each.name) is None]
    if missing:
        wanted = ", ".join(f"{each.name}: {each.type}" for each in required)
        raise PylonError(
            400,
            "ACTION_MISSING_INPUT",
            f"{spec.name} needs a value for: {', '.join(missing)}.",
            f"Required: {wanted}.",
        )
    for field in spec.input:
        value = values.get(field.name)
        if value is None:
            continue
        try:
            value_checker(field)(value)
        except ValueError as error:
            message = f"{field.name} of {spec.name} must be {error}."
            raise PylonError(400, "INVALID_ARGS", message) from error


# --- OpenAPI ---------------------------------------------------------------------------------


def _docs(spec: CallableSpec) -> Docs:
    """Typed as declared."""
    body = object_of(
        {each.name: nullable(_value(each)) for each in spec.input if each.optional},
        **{each.name: _value(each) for each in spec.input if not each.optional},
    )
    return Docs(
        operation_id=f"execute{spec.name[:1].upper()}{spec.name[1:]}",
        tag="actions",
        description="The call is checked against its policy and its input; nothing is run.",
        body={JSON: body},
        answers=json(object_of(action=constant(spec.name), input={}, executed=constant(True))),
        errors=("400 ACTION_MISSING_INPUT", "400 INVALID_ARGS", "403 POLICY_DENIED"),
        store="reads",
    )


def _value(field: FieldSpec) -> dict[str, Any]:
    return {**written_schema(field)}
