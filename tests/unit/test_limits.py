"""Limits: what a connection says beats a provider's preset, also where it says the general default."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import attrs
import pytest
from inprocess import call

from mailwright import Connection, Registry, load_connection
from mailwright.documents import unstructure_connection
from mailwright.routing import merged_limits
from mailwright.spi import Limits

DEFAULTS = {"burst": 1, "connections": 5, "messages_per_session": 100, "idle": 30.0}
DOCUMENT = {"provider": "microsoft365", "auth": {"type": "basic", "username": "a@x.org", "password": "p"}}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(installed=False, environ={})


def merged(connection: Connection, registry: Registry) -> Limits:
    return merged_limits(registry.provider(connection.provider).limits, connection.limits)


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items())
def test_what_is_not_said_is_a_default(name: str, default: float) -> None:
    assert getattr(Limits(), name) == default
    assert getattr(Limits(**{name: 7}), name) == 7


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items())
def test_a_default_that_is_said_beats_the_preset(name: str, default: float) -> None:
    preset = Limits(**{name: 3, "recipients": 500})
    found = merged_limits(preset, Limits(**{name: default}))
    assert getattr(found, name) == default
    assert found.recipients == 500
    assert merged_limits(preset, Limits(rate=2)) == attrs.evolve(preset, rate=2)
    assert merged_limits(preset, None) is preset


def test_a_changed_copy_says_what_the_first_said() -> None:
    assert attrs.evolve(Limits(connections=5), rate=2).said == {"connections": 5, "rate": 2}
    assert attrs.evolve(Limits(rate=2), connections=5).said == {"connections": 5, "rate": 2}
    assert pickle.loads(pickle.dumps(Limits(connections=5))).said == {"connections": 5}


def test_it_shows_what_was_said() -> None:
    assert repr(Limits(size=10, connections=5)) == "Limits(connections=5, size=10)"
    assert repr(Limits()) == "Limits()"
    assert Limits(connections=5) != Limits()


@pytest.mark.parametrize(("limits", "sessions"), [({"connections": 5}, 5), ({"rate": 2}, 3), (None, 3)])
def test_python_and_documents_agree(
    limits: dict[str, Any] | None, sessions: int, registry: Registry, tmp_path: Path
) -> None:
    document = DOCUMENT | ({"limits": limits} if limits else {})
    written = {
        "c.json": json.dumps(document),
        "c.yaml": "provider: microsoft365\nauth: {type: basic, username: a@x.org, password: p}\n"
        + (f"limits: {json.dumps(limits)}\n" if limits else ""),
        "c.toml": 'provider = "microsoft365"\nauth = {type = "basic", username = "a@x.org", password = "p"}\n'
        + "".join(f"limits.{key} = {value}\n" for key, value in (limits or {}).items()),
    }
    for name, text in written.items():
        (tmp_path / name).write_text(text)
    found = [load_connection(tmp_path / name, registry=registry) for name in written]
    found.append(load_connection(document, registry=registry))
    found.append(Connection(provider="microsoft365", limits=Limits(**limits) if limits else None))
    found += [load_connection(unstructure_connection(each), registry=registry) for each in found]
    assert {merged(each, registry).connections for each in found} == {sessions}
    assert {merged(each, registry).recipients for each in found} == {1000}


def test_the_command_line_keeps_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry
) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    add = ("connections", "add", "office", "--project", "--provider", "microsoft365", "--address", "a@x.org")
    options = ("--auth", "none", "--set", "limits.connections=5", "--set", "limits.rate=1")
    added = call(*add, *options, cwd=tmp_path, env={})
    assert added.returncode == 0, added.stderr
    shown = json.loads(call("connections", "show", "office", "--json", cwd=tmp_path, env={}).stdout)
    assert shown["limits"] == {"rate": 1.0, "connections": 5}
    assert merged(load_connection(shown, registry=registry), registry).connections == 5


def test_a_presets_sessions_are_shown(tmp_path: Path) -> None:
    shown = json.loads(call("providers", "microsoft365", "--json", cwd=tmp_path, env={}).stdout)
    assert shown["limits"] == {"recipients": 1000, "messages_per_second": 0.5, "sessions": 3}
    assert "sessions" not in json.loads(call("providers", "gmail", "--json", cwd=tmp_path, env={}).stdout)["limits"]
