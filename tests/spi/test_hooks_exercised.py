"""Every hook of the specification is really called, with exactly its arguments, of the types it names."""

from __future__ import annotations

import inspect
import types
import typing
from typing import Any

import pytest

from mailwright import Mailer, Message, Registry, SendError, hookimpl, hookspecs
from mailwright.testing import Sandbox

SPECS = {name: spec for name, spec in vars(hookspecs).items() if name.startswith("mailwright_")}


def listening(calls: dict[str, list[dict[str, Any]]]) -> types.ModuleType:
    """A plugin with every hook, and every argument of each."""
    module = types.ModuleType("listening")
    for name, spec in SPECS.items():
        arguments = ", ".join(inspect.signature(spec).parameters)
        scope: dict[str, Any] = {"calls": calls}
        exec(f"def {name}({arguments}):\n    calls.setdefault('{name}', []).append(dict(locals()))", scope)
        setattr(module, name, hookimpl(scope[name]))
    return module


def fits(value: Any, hint: Any) -> bool:
    members = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for member in members:
        if getattr(member, "_is_protocol", False):
            if all(hasattr(value, name) for name in vars(member) if not name.startswith("_")):
                return True
        elif isinstance(value, member):
            return True
    return False


def test_every_hook_is_called_with_its_arguments() -> None:
    calls: dict[str, list[dict[str, Any]]] = {}
    registry = Registry([listening(calls)], installed=False, environ={})
    message = Message(from_="zoe@example.org", to="ann@example.org", text="x")
    with Sandbox(tls="none", login=False) as box:
        mailer = Mailer(box.connection, registry=registry, retries=0)
        mailer.send_sync(message)
        box.refuse("ann@example.org", "550 5.1.1 unknown")
        with pytest.raises(SendError):
            mailer.send_sync(message)
    assert set(calls) == set(SPECS)
    for name, spec in SPECS.items():
        hints = typing.get_type_hints(spec, vars(hookspecs))
        for call in calls[name]:
            assert [*call] == [*inspect.signature(spec).parameters]
            for argument, value in call.items():
                assert fits(value, hints[argument]), f"{name}: {argument} is a {type(value).__name__}"
