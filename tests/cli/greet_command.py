"""A subcommand that a part of a test brings."""

from __future__ import annotations

import click


@click.command("greet")
@click.argument("name")
def command(name: str) -> None:
    click.echo(f"hello {name}")
