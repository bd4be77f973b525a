"""Settings: what the environment gives, what is refused, and that each is documented."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pylon import limits
from pylon.config import (
    SETTINGS,
    Config,
    env_file_values,
    process_environment,
    stray_variables,
)
from pylon.errors import ConfigError
from pylon.unsafe import ALLOWANCES, risks
from pylon.wiring import PARTS

DOCUMENT = Path(__file__).parent.parent / "docs" / "configuration.md"
SAFE = {"PYLON_CORS_ORIGIN": "https://app.example.com"}
REMOTE_DEV = {"PYLON_DEV_MODE": "1", "PYLON_DEV_ALLOW_REMOTE": "1"}


def test_production_defaults() -> None:
    config = Config.from_env(SAFE).validate()
    assert not config.dev_mode
    assert (config.host, config.port) == ("0.0.0.0", 4321)
    assert config.rate_limit_max == limits.RATE_LIMIT_MAX_PRODUCTION
    assert config.cookie_secure
    assert config.admin_token is None
    assert config.csrf_origins == config.cors_origins == ("https://app.example.com",)


def test_dev_defaults() -> None:
    config = Config.from_env({"PYLON_DEV_MODE": "true"}).validate()
    assert config.host == "127.0.0.1"
    assert config.rate_limit_max == limits.RATE_LIMIT_MAX_DEV
    assert not config.cookie_secure
    assert config.cors_origins == config.csrf_origins == ()


def test_the_environment_is_read() -> None:
    config = Config.from_env(
        {
            "PYLON_CORS_ORIGIN": " https://a.example , https://b.example:8443,",
            "PYLON_CSRF_ORIGINS": "*",
            "PYLON_PORT": "8080",
            "PYLON_CHANGE_LOG_RETAIN": "12h",
            "PYLON_COOKIE_SAME_SITE": "NONE",
            "PYLON_COOKIE_SECURE": "0",
            "PYLON_LOG_FORMAT": "JSON",
            "RUST_LOG": "debug",
            "PYLON_RATE_LIMIT_MAX": "0",
            "PYLON_ALLOW_UNSAFE": "csrf-any, no-rate-limit",
            "PYLON_DB_PATH": "",
        }
    ).validate()
    assert config.cors_origins == ("https://a.example", "https://b.example:8443")
    assert config.csrf_origins == ("*",)
    assert config.port == 8080
    assert config.change_log_retain_seconds == 12 * 3600
    assert config.cookie_same_site == "None"
    assert config.cookie_secure, "SameSite=None is only sent over HTTPS"
    assert config.log_format == "json"
    assert config.log_level == "debug"
    assert config.rate_limit_max == 0
    assert config.db_path == ".pylon/dev.db"


def test_overrides_win_and_none_counts_as_not_given() -> None:
    config = Config.from_env({"PYLON_PORT": "1", **SAFE}, port=5000, host=None, dev_mode=True)
    assert (config.port, config.host) == (5000, "127.0.0.1")


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYLON_PORT", "4555")
    assert Config.from_env().port == 4555
    assert process_environment({"PYLON_PORT": "1", "X_ONLY": "2"})["PYLON_PORT"] == "4555"
    assert process_environment({"X_ONLY": "2"})["X_ONLY"] == "2"
    assert "X_ONLY" not in os.environ


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PYLON_PORT", "70000"),
        ("PYLON_PORT", "http"),
        ("PYLON_RATE_LIMIT_MAX", "-1"),
        ("PYLON_RATE_LIMIT_MAX", "1e3"),
        ("PYLON_RATE_LIMIT_WINDOW", "soon"),
        ("PYLON_TRUST_PROXY_HOPS", "one"),
        ("PYLON_DEV_MODE", "maybe"),
        ("PYLON_CHANGE_LOG_RETAIN", "30 days"),
        ("PYLON_COOKIE_SAME_SITE", "loose"),
        ("PYLON_DRAIN_SECS", "\u0663"),
    ],
)
def test_what_cannot_be_read_names_the_variable(variable: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_env({variable: text})
    assert caught.value.code == "CONFIG_INVALID"
    assert variable in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"PYLON_CORS_ORIGIN": ""}, "PYLON_CORS_ORIGIN is required"),
        ({"PYLON_CORS_ORIGIN": "*"}, "PYLON_CORS_ORIGIN=*"),
        ({"PYLON_CORS_ORIGIN": "https://a.example/"}, "not an origin"),
        ({"PYLON_CORS_ORIGIN": "a.example"}, "not an origin"),
        ({"PYLON_CORS_ORIGIN": "https://a.example\r\nX-Evil: 1"}, "not an origin"),
        ({"PYLON_CORS_ORIGIN": "https://*.example"}, "not an origin"),
        ({"PYLON_CSRF_ORIGINS": "https://A b"}, "PYLON_CSRF_ORIGINS"),
        ({"PYLON_ADMIN_TOKEN": ""}, "PYLON_ADMIN_TOKEN is set but empty"),
        ({"PYLON_ADMIN_TOKEN": "short"}, "too short"),
        ({"PYLON_ADMIN_TOKEN": "with space in the middle"}, "no header"),
        ({"PYLON_ADMIN_TOKEN": "line\nbreak-0123456789"}, "no header"),
        ({"PYLON_COOKIE_NAME": "a=b"}, "PYLON_COOKIE_NAME"),
        ({"PYLON_COOKIE_DOMAIN": "a;b"}, "PYLON_COOKIE_DOMAIN"),
        ({"PYLON_PORT": "65535"}, "PYLON_PORT"),
        ({"PYLON_DEV_MODE": "1", "PYLON_HOST": "0.0.0.0"}, "dev mode"),
        ({"PYLON_DEV_MODE": "1", "PYLON_ADMIN_TOKEN": ""}, "PYLON_ADMIN_TOKEN"),
        ({"PYLON_DEV_MODE": "1", "PYLON_CORS_ORIGIN": "*"}, "PYLON_CORS_ORIGIN=*"),
        ({"PYLON_DEV_MODE": "1", "PYLON_CSRF_ORIGINS": "*"}, "PYLON_CSRF_ORIGINS=*"),
        ({"PYLON_ADMIN_TOKEN": "changemechangeme"}, "over and over"),
        ({"PYLON_ADMIN_TOKEN": "your-admin-token-here"}, "words that everybody tries"),
        ({**REMOTE_DEV, "PYLON_ADMIN_TOKEN": "short"}, "too short"),
        ({"PYLON_COOKIE_DOMAIN": "com"}, "no domain of yours"),
        ({"PYLON_COOKIE_DOMAIN": ".co.uk"}, "no domain of yours"),
        ({"PYLON_COOKIE_DOMAIN": "10.0.0.1"}, "no domain of yours"),
    ],
)
def test_what_is_unsafe_is_refused(environ: dict[str, str], reason: str) -> None:
    config = Config.from_env(SAFE | environ)
    with pytest.raises(ConfigError) as caught:
        config.validate()
    assert caught.value.code == "CONFIG_UNSAFE"
    assert reason in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        ({"PYLON_CSRF_ORIGINS": "*"}, "csrf-any"),
        ({"PYLON_COOKIE_SECURE": "0"}, "insecure-cookies"),
        ({"PYLON_RATE_LIMIT_MAX": "0"}, "no-rate-limit"),
        ({"PYLON_RATE_LIMIT_WINDOW": "0"}, "no-rate-limit"),
        ({"PYLON_CORS_ORIGIN": "http://app.example"}, "http-origins"),
        ({"PYLON_CSRF_ORIGINS": "http://10.0.0.1:3000"}, "http-origins"),
        ({"PYLON_SOCKETS_PER_ADDRESS": "0", "PYLON_WS_MAX_SOCKETS": "0"}, "no-socket-limit"),
    ],
)
def test_what_is_unsafe_and_may_be_wanted_has_a_word(environ: dict[str, str], word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_env(SAFE | environ).validate()
    assert caught.value.code == "CONFIG_UNSAFE"
    assert caught.value.hint is not None
    assert f"PYLON_ALLOW_UNSAFE={word}" in caught.value.hint
    others = ",".join(ALLOWANCES.keys() - {word})
    with pytest.raises(ConfigError):
        Config.from_env(SAFE | environ | {"PYLON_ALLOW_UNSAFE": others}).validate()
    config = Config.from_env(SAFE | environ | {"PYLON_ALLOW_UNSAFE": word}).validate()
    assert risks(config) == [f"PYLON_ALLOW_UNSAFE={word}: {ALLOWANCES[word]}"]


def test_a_word_that_allows_nothing_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_env(SAFE | {"PYLON_ALLOW_UNSAFE": "csrf-any,weak-token"})
    assert "csrf-any" in caught.value.message


def test_the_words_allow_neither_weak_tokens_nor_reading_by_all() -> None:
    every = {"PYLON_ALLOW_UNSAFE": ",".join(ALLOWANCES)}
    for environ in ({"PYLON_ADMIN_TOKEN": "changemechangeme"}, {"PYLON_CORS_ORIGIN": "*"}):
        with pytest.raises(ConfigError):
            Config.from_env(SAFE | every | environ).validate()


def test_risks_are_told() -> None:
    assert risks(Config.from_env(SAFE)) == []
    (told,) = risks(Config.from_env({"PYLON_DEV_MODE": "1"}))
    assert told.startswith("DEV MODE IS ON")
    assert len(risks(Config.from_env(REMOTE_DEV))) == 2


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_env({"PYLON_ADMIN_TOKEN": "short"}).validate()
    assert "PYLON_ADMIN_TOKEN" in caught.value.message
    assert "PYLON_CORS_ORIGIN" in caught.value.message


@pytest.mark.parametrize(
    "overrides",
    [
        {"host": "0.0.0.0", "dev_allow_remote": True},
        {"host": "::1"},
        {"host": "localhost"},
        {"port": 65535, "single_port": True},
        {"admin_token": "short"},
        {"cookie_domain": "localhost"},
        {"rate_limit_max": 0, "cors_origins": ("http://192.168.1.5:3000",)},
    ],
)
def test_dev_permits(overrides: dict[str, Any]) -> None:
    config = Config.from_env({}, dev_mode=True, **overrides)
    assert config.validate() is config


def test_secrets_are_not_shown() -> None:
    config = Config.from_env({"PYLON_ADMIN_TOKEN": "correct-horse-battery"})
    assert "correct" not in repr(config)


@pytest.mark.parametrize(
    ("app", "name"),
    [("Pylon Cloud", "Pylon_Cloud_session"), ("", "pylon_session"), ("é-x", "_-x_session")],
)
def test_cookie_name(app: str, name: str) -> None:
    assert Config().session_cookie_name(app) == name
    assert Config(cookie_name="mine").session_cookie_name(app) == "mine"


def test_every_field_is_a_setting_and_documented() -> None:
    assert {setting.field for setting in SETTINGS} == {
        each.name for each in fields(Config) if each.name != "of_parts"
    }
    rows = {
        cells[1].strip(" `"): (cells[2].strip(), cells[3].strip())
        for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `PYLON_") and (cells := line.split("|"))
    }
    every = (*SETTINGS, *(setting for part in PARTS for setting in part.settings))
    expected = {setting.variable: (f"`{setting.default}`", setting.meaning) for setting in every}
    assert rows == expected, "docs/configuration.md must list every setting as `SETTINGS` has it"


def test_env_files(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / ".env").write_text("PYLON_PORT=1\n", encoding="utf-8")
    (tmp_path / "a" / ".env").write_text(
        "# a comment\nexport A=1\nB='two words' \nC=x # why\nD=\nnonsense\nE=a=b\n",
        encoding="utf-8",
    )
    (tmp_path / "a" / ".env.local").write_text('A="9"\n', encoding="utf-8")
    assert env_file_values(inner) == {"A": "9", "B": "two words", "C": "x", "D": "", "E": "a=b"}
    assert env_file_values(tmp_path) == {"PYLON_PORT": "1"}


def test_variables_that_are_nearly_a_setting_are_told_of() -> None:
    environ = {
        "PYLON_PORTT": "1",
        "PYLON_ADMIN_TOKENS": "a",
        "PYLON_CORS_ORIGINS": "a",
        "PYLON_PORT": "1",
        "PYLON_TODO_LIST": "1",
        "PYLON_OTHER_PROGRAM": "1",
        "PORT": "1",
    }
    assert stray_variables(environ) == {
        "PYLON_ADMIN_TOKENS": "PYLON_ADMIN_TOKEN",
        "PYLON_CORS_ORIGINS": "PYLON_CORS_ORIGIN",
        "PYLON_PORTT": "PYLON_PORT",
    }
    assert stray_variables({setting.variable: "" for setting in SETTINGS}) == {}
