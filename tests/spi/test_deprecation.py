"""What is to go away warns first, names the plugin's record or hook, and says so in its docstring."""

from __future__ import annotations

import inspect
import types
import warnings
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from attrs import field, frozen

from mailwright import Registry, hookimpl, hookspecs, spi
from mailwright.spi import AuthTarget, Provider, SecretScheme, Settings, SmtpEndpoint


@frozen(kw_only=True)
class OldScheme(SecretScheme):
    """A scheme with a field that is to go.

    .. versionchanged:: 0.3
        `colour` has no meaning any more.
    """

    colour: str = field(default="", metadata={"deprecated": "0.3: it has no meaning any more"})


async def reveal(name: str) -> str:
    return name


def loaded(record: Any) -> tuple[Registry, list[str]]:
    module = types.ModuleType("old")
    module.mailwright_secret_schemes = hookimpl(lambda: [record])  # type: ignore[attr-defined]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        registry = Registry([module], installed=False, environ={})
        assert registry.secret_scheme("old") is not None
    return registry, [str(one.message) for one in caught if one.category is DeprecationWarning]


def test_a_deprecated_field_that_is_set_warns_and_works() -> None:
    _, told = loaded(OldScheme(name="old", reveal=reveal, colour="red"))
    assert told == [
        "mailwright_secret_schemes: old: colour is deprecated since Mailwright 0.3: it has no meaning any more"
    ]


def test_one_that_is_left_alone_does_not() -> None:
    assert loaded(OldScheme(name="old", reveal=reveal))[1] == []


def test_a_deprecated_hook_warns_and_works(monkeypatch: pytest.MonkeyPatch) -> None:
    warning = DeprecationWarning("mailwright_after_send is deprecated since Mailwright 0.3: use mailwright_sent")
    spec = {**hookspecs.mailwright_after_send.mailwright_spec, "warn_on_impl": warning}  # type: ignore[attr-defined]
    monkeypatch.setattr(hookspecs.mailwright_after_send, "mailwright_spec", spec)
    module = types.ModuleType("old")
    module.mailwright_after_send = hookimpl(lambda receipt: None)  # type: ignore[attr-defined]
    registry = Registry([module], installed=False, environ={})
    with pytest.warns(DeprecationWarning, match="use mailwright_sent"):
        found = registry.plugins
    assert [info.status for info in found if info.name == "old"] == ["active"]


def silent(kinds: dict[str, Any]) -> Iterator[str]:
    """Deprecated fields and hooks whose docstring does not say so."""
    for name, kind in kinds.items():
        marked = inspect.isfunction(kind) and getattr(kind, "mailwright_spec", {}).get("warn_on_impl")
        if inspect.isclass(kind) and attrs.has(kind):
            marked = any(one.metadata.get("deprecated") for one in attrs.fields(kind))
        if marked and ".. versionchanged::" not in (inspect.getdoc(kind) or ""):
            yield name


def test_what_is_deprecated_says_so_in_its_docstring() -> None:
    assert list(silent({"OldScheme": OldScheme})) == []
    assert list(silent({"Undocumented": type("Undocumented", (OldScheme,), {"__doc__": "Nothing."})})) == [
        "Undocumented"
    ]
    assert list(silent({**vars(spi), **vars(hookspecs)})) == []


def test_what_is_not_deprecated_is_not_warned_of() -> None:
    module = types.ModuleType("new")
    record = Provider(
        name="new",
        settings=Settings,
        target=lambda settings: AuthTarget(protocol="smtp", host="mail.example.org"),
        endpoint=lambda settings: SmtpEndpoint(host="mail.example.org", port=465, tls="tls"),
    )
    module.mailwright_providers = hookimpl(lambda: [record])  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Registry([module], installed=False, environ={}).provider("new").name == "new"
