"""The command as a whole: help, version, and mistakes on the command line."""

from __future__ import annotations

import pytest

from pylon import __version__, codec
from pylon.cli.command import COMMANDS
from tests.cli.conftest import RunPylon


def test_without_arguments_it_shows_its_help(pylon: RunPylon) -> None:
    done = pylon()
    assert done.returncode == 0
    for name, summary in COMMANDS.items():
        assert name in done.stdout
        assert summary in done.stdout


@pytest.mark.parametrize("name", [*COMMANDS])
def test_every_command_has_help(pylon: RunPylon, name: str) -> None:
    done = pylon(name, "--help")
    assert done.returncode == 0
    assert "--json" in done.stdout
    if name != "version":
        assert "Examples:" in done.stdout


@pytest.mark.parametrize("arguments", [("version",), ("--version",)])
def test_version(pylon: RunPylon, arguments: tuple[str, ...]) -> None:
    assert pylon(*arguments).stdout == f"pylon {__version__}\n"
    assert codec.decode(pylon(*arguments, "--json").stdout) == {"version": __version__}


def test_an_unknown_command_is_a_usage_error_with_a_proposal(pylon: RunPylon) -> None:
    done = pylon("strat")
    assert done.returncode == 64
    assert "Did you mean: start?" in done.stderr
    assert done.stdout == ""


def test_an_unknown_command_far_from_any_lists_all(pylon: RunPylon) -> None:
    done = pylon("qqqq")
    assert done.returncode == 64
    assert "init" in done.stderr


def test_an_unknown_option_is_a_usage_error_with_a_proposal(pylon: RunPylon) -> None:
    done = pylon("start", "--prot", "80")
    assert done.returncode == 64
    assert "--port" in done.stderr


@pytest.mark.parametrize("port", ["x", "-1", "65536"])
def test_a_port_must_be_one(pylon: RunPylon, port: str) -> None:
    assert pylon("start", "--port", port).returncode == 64


def test_a_usage_error_is_json_for_programs(pylon: RunPylon) -> None:
    done = pylon("--json", "strat")
    assert done.returncode == 64
    (finding,) = codec.decode(done.stdout)
    assert finding["code"] == "USAGE"
    assert finding["severity"] == "error"
    assert done.stderr == ""
