"""`pylon policy`: try an expression, check the policies of an app, say which one decided a case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pylon.cli.command import json_option
from pylon.cli.options import ABOUT_APP, app_argument
from pylon.cli.output import FAILED, Output, current
from pylon.cli.schema_database import database_path, db_option, load

if TYPE_CHECKING:
    from pylon.policy.nodes import Expr


@click.group(
    "policy",
    help="""Try policies, check them, and say which one decided.

    \b
    Examples:
      pylon policy test 'auth.userId == data.ownerId' --auth userId=ann --row '{"ownerId": "ann"}'
      pylon policy explain Todo --as ann --row 00000000000000001856f0a1b2c3d4e50000002a
      pylon policy check
    """,
)
@json_option
def command() -> None:
    """The subcommands below."""


@command.command(
    "check", help=f"Check an app's policies, and warn where one is slow or unwise.\n\n{ABOUT_APP}"
)
@app_argument
@json_option
def check(app: str) -> None:
    from pylon.policy.engine import PolicyEngine
    from pylon.schema.diagnostics import Diagnostic

    output = current()
    loaded = load(output, app, verb="POLICY")
    found = [each for each in loaded.warnings if each.code.startswith("POLICY_")]
    for entity, slot in PolicyEngine(loaded.manifest, open_by_default=False).undeclared:
        message = f"{entity} has no {slot} policy: open in dev, closed in production"
        found.append(Diagnostic(severity="warning", code="POLICY_UNDECLARED", message=message))
    fine = Diagnostic(severity="info", code="POLICY_OK", message="The policies are in order.")
    output.diagnostics(found or [fine])


# --- test ------------------------------------------------------------------------------------


@command.command("test", short_help="Try an expression on a caller and a row.")
@click.argument("expression", metavar="EXPR")
@click.option("--auth", multiple=True, metavar="K=V", help="An attribute of the caller.")
@click.option("--row", default="{}", metavar="JSON", help="The row: what `data.` names.")
@click.option("--existing", metavar="JSON", help="The stored row of an update.")
@click.option("--input", "input_", metavar="JSON", help="The input of an action, for `input.`.")
@click.option("--rows", default="{}", metavar="JSON", help='Rows for exists: {"Entity": [{...}]}.')
@click.option("--entity", metavar="NAME", help="The entity of the app that the row is of.")
@click.option("--app", default=".", metavar="APP", help="The app of --entity.")
@json_option
def test(
    *,
    expression: str,
    auth: tuple[str, ...],
    row: str,
    existing: str | None,
    input_: str | None,
    rows: str,
    entity: str | None,
    app: str,
) -> None:
    """Try an expression on a caller and a row: exit code 0 where it allows, 1 where it denies.

    --auth takes userId, tenantId, email, isGuest and roles (with commas between them); without any
    the caller is anonymous. Fields have the types of --entity, or else those of the values given.

    \b
    Examples:
      pylon policy test 'auth.userId == data.ownerId' --auth userId=ann --row '{"ownerId": "ann"}'
      pylon policy test '"boss" in auth.roles || data.price <= 9' --entity Item --row '{"price": 5}'
      pylon policy test 'existing.state != "closed"' --existing '{"state": "open"}'
      pylon policy test 'exists(Ban, userId == auth.userId)' --rows '{"Ban": [{"userId": "bob"}]}'
    """
    from pylon.cli import policy_world
    from pylon.policy.explain import Case
    from pylon.policy.lookup import Lookup

    output = current()
    data = policy_world.read_object(row, "--row")
    stored = None if existing is None else policy_world.read_object(existing, "--existing")
    given = None if input_ is None else policy_world.read_object(input_, "--input")
    others = policy_world.read_tables(rows)
    expr = _parsed(output, expression)
    known = {}
    if entity is not None:
        known = load(output, app, verb="POLICY").manifest.entities_by_name
        if entity not in known:
            output.fail("ENTITY_NOT_FOUND", f"The app has no entity {entity}.")
        data = policy_world.typed(data, known[entity], "--row")
        stored = stored and policy_world.typed(stored, known[entity], "--existing")
    spec = known[entity] if entity is not None else policy_world.guess("Row", [data, stored or {}])
    entities = {name: known.get(name) or policy_world.guess(name, made) for name, made in
                others.items()} | known  # fmt: skip
    case = Case(
        entity=None if given is not None else spec,
        slot="action" if given is not None else "update" if stored is not None else "read",
        identity=policy_world.read_identity(auth),
        data=data if given is None else given,
        existing=stored or {},
        lookup=Lookup(policy_world.database_of(entities, others)),
        entities=entities,
    )
    _refuse_mistakes(output, expr, case)
    part = policy_world.explained(expr, case)
    allows = part.holds or case.identity.is_admin
    asked = "  (administrators are not asked)" if case.identity.is_admin else ""
    output.say(f"{'allow' if allows else 'deny'}{asked}")
    output.say("\n".join(f"  {line}" for line in part.lines()))
    output.record({"allow": allows, "parts": part.to_wire()})
    raise click.exceptions.Exit(0 if allows else FAILED)


def _parsed(output: Output, text: str) -> Expr:
    from pylon.policy.syntax import PolicySyntaxError, parse

    try:
        return parse(text)
    except PolicySyntaxError as error:
        place = f"at character {error.offset + 1}: {error.message}"
        output.fail("POLICY_SYNTAX", place, error.hint)


def _refuse_mistakes(output: Output, expr: Expr, case: Any) -> None:
    from pylon.policy.check import check as problems_of
    from pylon.schema.diagnostics import Diagnostic

    found = problems_of(expr, entity=case.entity, slot=case.slot, entities=case.entities)
    if found:
        output.diagnostics(
            Diagnostic(severity="error", code=each.code, message=each.message, hint=_hint(each))
            for each in found
        )
        raise click.exceptions.Exit(FAILED)


def _hint(problem: Any) -> str:
    """The hint of a mistake; what is known here was given on the command line."""
    if problem.message.startswith("`Row` has no field"):
        return f"{problem.hint} Give its value in --row, or name the --entity."
    if problem.message.startswith("there is no entity"):
        return f"{problem.hint} Give its rows with --rows, or name the --entity."
    return str(problem.hint)


# --- explain ---------------------------------------------------------------------------------


@command.command("explain", short_help="Say which policy decided on a row.")
@click.argument("entity", metavar="ENTITY")
@app_argument
@click.option("--as", "user", metavar="USER", help="The caller's user id; anonymous without it.")
@click.option("--tenant", metavar="ID", help="The organisation that the caller has chosen.")
@click.option("--row", "row_id", required=True, metavar="ID", help="The row.")
@db_option
@json_option
def explain_command(
    *, entity: str, app: str, user: str | None, tenant: str | None, row_id: str, db: str | None
) -> None:
    """Say which policy lets a user read, insert, update and delete a row, and why.

    The database is opened for reading only; the server may go on using it. Roles and e-mail come
    from the user's row. Insert and update are judged as if the row were written as it stands.
    """
    from pylon.cli.policy_world import verdicts

    output = current()
    loaded = load(output, app, verb="POLICY")
    if entity not in loaded.manifest.entities_by_name:
        output.fail("ENTITY_NOT_FOUND", f"The app has no entity {entity}.")
    path = database_path(db, loaded.entry.folder)
    told = verdicts(output, loaded.manifest, path, entity, row_id, user=user, tenant=tenant)
    for verdict in told:
        output.say(f"{verdict.slot:<8}{'allow' if verdict.allows else 'deny':<7}{verdict.why}")
        for name, part in verdict.policies:
            output.say(f"  policy {name}")
            output.say("\n".join(f"    {line}" for line in part.lines()))
    output.record(
        [
            {
                "operation": verdict.slot,
                "allow": verdict.allows,
                "why": verdict.why,
                "policies": [
                    {"name": name, "parts": part.to_wire()} for name, part in verdict.policies
                ],
            }
            for verdict in told
        ]
    )
    if not output.json:
        output.diagnostics(
            each
            for each in loaded.warnings
            if each.code == "POLICY_NO_INDEX" and f'"{entity}"' in each.message
        )
