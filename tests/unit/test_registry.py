"""The plugin host: each plugin loaded and checked alone, disputes named, built-ins first."""

from __future__ import annotations

import types
from typing import Any

import pytest
from attrs import frozen

from mailwright import PluginInfo, Registry, hookimpl
from mailwright import registry as host
from mailwright.errors import PluginError
from mailwright.spi import AuthTarget, Provider, Settings, SmtpEndpoint


@frozen(kw_only=True)
class NoSettings(Settings):
    """None."""


def provider(name: str) -> Provider[NoSettings]:
    return Provider(
        name=name,
        settings=NoSettings,
        target=lambda settings: AuthTarget(protocol="smtp", host="mail.example"),
        endpoint=lambda settings: SmtpEndpoint(host="mail.example", port=465, tls="tls"),
    )


def plugin(*names: str, **extra: Any) -> types.ModuleType:
    module = types.ModuleType("plugin_" + "_".join(names))

    @hookimpl
    def mailwright_providers() -> list[Provider[NoSettings]]:
        return [provider(name) for name in names]

    vars(module).update(mailwright_providers=mailwright_providers, **extra)
    return module


class FakeEntryPoint:
    """An installed entry point; records whether it was imported."""

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.value = value
        self.loaded = False

    def load(self) -> Any:
        self.loaded = True
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend that these distributions are installed: {distribution: {entry point: module or error}}."""

    def install(**distributions: dict[str, Any]) -> dict[str, FakeEntryPoint]:
        points: dict[str, FakeEntryPoint] = {}
        found: dict[bool, list[Any]] = {True: [], False: []}
        for distribution, modules in distributions.items():
            name = distribution.replace("_", "-")
            for entry, module in modules.items():
                points[entry] = FakeEntryPoint(entry, module)
                item = host._Found(distribution=name, version="1.0", entry_point=points[entry])
                found[name == "mailwright"].append(item)
        monkeypatch.setattr(host, "_own_entry_points", lambda: found[True])
        monkeypatch.setattr(host, "_other_entry_points", lambda: found[False])
        return points

    return install


def test_a_built_in_name_imports_no_outsider(installed: Any) -> None:
    points = installed(mailwright={"own": plugin("own")}, mailwright_other={"other": plugin("other")})
    registry = Registry(environ={})
    assert registry.provider("own").name == "own"
    assert not points["other"].loaded
    assert registry.provider("other").name == "other"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (ImportError("no module named nothing"), "ImportError: no module named nothing"),
        (SyntaxError("bad"), "SyntaxError"),
        (plugin("x", mailwright_provders=hookimpl(lambda: [])), "unknown hook 'mailwright_provders'"),
        (plugin("x", mailwright_secret_schemes=lambda: []), "no @hookimpl"),
        (plugin("x", MAILWRIGHT_SPI_VERSION=99), "version 99"),
        (plugin("x", mailwright_auth_methods=hookimpl(lambda: ["text"])), "yielded str, not AuthMethod"),
        (plugin("x", mailwright_secret_schemes=hookimpl(lambda nonsense: [])), "nonsense"),
        (types.ModuleType("empty"), "implements no hook"),
    ],
    ids=["import", "syntax", "misspelt", "unmarked", "version", "garbage", "arguments", "empty"],
)
def test_a_broken_plugin_is_left_out_and_named(installed: Any, broken: Any, reason: str) -> None:
    installed(
        mailwright={"own": plugin("own")}, mailwright_bad={"bad": broken}, mailwright_good={"good": plugin("good")}
    )
    registry = Registry(environ={})
    assert registry.provider("good").name == "good"
    info = next(info for info in registry.plugins if info.name == "bad")
    assert (info.status, info.distribution) == ("broken", "mailwright-bad")
    assert reason in info.reason
    with pytest.raises(PluginError, match="plugin bad of mailwright-bad is broken"):
        registry.provider("x")


def test_a_system_exit_at_import_leaves_the_plugin_out(installed: Any) -> None:
    installed(mailwright={"own": plugin("own")}, mailwright_bad={"bad": SystemExit(3)})
    assert [info.status for info in Registry(environ={}).plugins] == ["active", "broken"]


def test_two_outsiders_with_one_name_are_a_dispute_on_use(installed: Any) -> None:
    installed(mailwright={"own": plugin("own")}, mailwright_a={"a": plugin("x")}, mailwright_b={"b": plugin("x", "y")})
    registry = Registry(environ={})
    registry.load_all()
    assert registry.provider("y").name == "y"
    with pytest.raises(PluginError, match=r"mailwright-a \(plugin a\) and mailwright-b \(plugin b\)"):
        registry.provider("x")
    assert Registry(environ={"MAILWRIGHT_DISABLED_PLUGINS": "a"}).provider("x").name == "x"


def test_two_outsiders_are_a_dispute_however_they_are_looked_up(installed: Any) -> None:
    installed(mailwright={"own": plugin("own")}, mailwright_a={"a": plugin("x")}, mailwright_b={"b": plugin("x")})
    with pytest.raises(PluginError, match="claimed by"):
        Registry(environ={}).provider("x")


def test_a_built_in_keeps_its_name(installed: Any) -> None:
    own = plugin("gmail")
    installed(mailwright={"gmail": own}, aaa={"thief": plugin("gmail", "more")})
    registry = Registry(environ={})
    registry.load_all()
    assert registry.provider("more").name == "more"
    thief: PluginInfo = next(info for info in registry.plugins if info.name == "thief")
    assert "built in" in thief.reason
    assert registry.provider("gmail") is registry._records["provider"]["gmail"].record


def test_allow_list_is_by_distribution_and_spares_built_ins(installed: Any) -> None:
    points = installed(
        mailwright={"own": plugin("own")}, mailwright_a={"a": plugin("x")}, mailwright_b={"b": plugin("y")}
    )
    registry = Registry(environ={"MAILWRIGHT_PLUGINS": "Mailwright_B"})
    assert registry.names("provider") == ("own", "y")
    assert not points["a"].loaded
    with pytest.raises(PluginError, match="add mailwright-a to MAILWRIGHT_PLUGINS"):
        registry.provider("x")


def test_unknown_names_get_the_nearest_one_or_our_own_distribution(installed: Any) -> None:
    installed(mailwright={"own": plugin("gmail", "outlook")})
    with pytest.raises(PluginError, match="did you mean 'gmail'"):
        Registry(environ={}).provider("gmial")
    with pytest.raises(PluginError, match=r"pip install mailwright-graph"):
        Registry(environ={}).provider("graph")


def test_handed_in_plugins_need_no_packaging(installed: Any) -> None:
    installed()
    assert Registry([plugin("mine")], environ={}).provider("mine").name == "mine"
