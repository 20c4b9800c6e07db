"""The plugin host: each plugin loaded and checked alone, disputes named, built-ins first."""

from __future__ import annotations

import asyncio
import types
from typing import Any

import pytest
from attrs import evolve, frozen

from mailwright import PluginInfo, Registry, hookimpl
from mailwright.errors import PluginError
from mailwright.registry import host
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
        self.module = "bad_module"
        self.extras = ["fancy"] if name == "fancy" else []
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
                item = host.Found(distribution=name, version="1.0", entry_point=points[entry])
                found[name == "mailwright"].append(item)
        monkeypatch.setattr(host, "own_entry_points", lambda: found[True])
        monkeypatch.setattr(host, "other_entry_points", lambda: found[False])
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


def test_a_dispute_shows_where_plugins_are_listed(installed: Any) -> None:
    installed(mailwright={"own": plugin("own")}, mailwright_a={"a": plugin("x")}, mailwright_b={"b": plugin("x")})
    reasons = {info.name: info.reason for info in Registry(environ={}).plugins}
    assert "claimed by b (mailwright-b), too" in reasons["a"]
    assert "claimed by a (mailwright-a), too" in reasons["b"]
    assert not reasons["own"]


def test_two_of_one_name_are_told_apart_by_their_distributions(installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    item = [host.Found(distribution=f"mailwright-{x}", version="1", entry_point=FakeEntryPoint("acme", plugin("acme")))
            for x in "ab"]  # fmt: skip
    monkeypatch.setattr(host, "own_entry_points", list)
    monkeypatch.setattr(host, "other_entry_points", lambda: item)
    with pytest.raises(PluginError, match="mailwright plugins disable mailwright-a or mailwright-b"):
        Registry(environ={}).provider("acme")
    registry = Registry(environ={"MAILWRIGHT_DISABLED_PLUGINS": "mailwright_a"})
    assert registry.provider("acme").name == "acme"
    assert [info.status for info in registry.plugins] == ["disabled", "active"]


def test_an_alias_of_two_outsiders_is_a_dispute_and_none_of_a_built_in_is_taken(installed: Any) -> None:
    def aliased(name: str, *aliases: str) -> types.ModuleType:
        module = plugin(name)
        module.mailwright_providers = hookimpl(lambda: [evolve(provider(name), aliases=aliases)])  # type: ignore[attr-defined]
        return module

    installed(
        mailwright={"own": aliased("own", "mine")},
        mailwright_a={"a": aliased("x", "post", "mine")},
        mailwright_b={"b": aliased("y", "post")},
    )
    registry = Registry(environ={})
    assert (registry.provider("x").name, registry.provider("mine").name) == ("x", "own")
    with pytest.raises(PluginError, match=r"mailwright-a \(plugin a\) and mailwright-b \(plugin b\)"):
        registry.provider("post")
    assert registry.provider_for("ann@post") is None


def test_a_thief_of_two_built_in_names_is_told_of_both(installed: Any) -> None:
    installed(mailwright={"own": plugin("gmail", "outlook")}, thief={"thief": plugin("gmail", "outlook")})
    [thief] = [info for info in Registry(environ={}).plugins if info.name == "thief"]
    assert thief.reason == "provider gmail is built in and stays so; provider outlook is built in and stays so"


def missing(name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize(
    ("entry", "error", "fix"),
    [
        ("bad", missing("bad_module"), "its files are gone; pip install --force-reinstall mailwright-bad"),
        ("bad", missing("requests"), "it needs requests; pip install --upgrade mailwright-bad"),
        ("fancy", missing("requests"), "pip install 'mailwright-bad[fancy]'"),
        ("bad", plugin("x", MAILWRIGHT_SPI_VERSION=2), "pip install --upgrade mailwright)"),
        ("bad", plugin("x", MAILWRIGHT_SPI_VERSION="1"), "version '1' of"),
        ("bad", plugin("x", mailwright_provider=hookimpl(lambda: [])), "did you mean mailwright_providers?"),
        ("bad", GeneratorExit("odd"), "GeneratorExit: odd"),
        ("bad", asyncio.CancelledError(), "CancelledError"),
    ],
)
def test_the_fix_fits_the_fault(installed: Any, entry: str, error: Any, fix: str) -> None:
    installed(mailwright={"own": plugin("own")}, mailwright_bad={entry: error})
    [_, info] = Registry(environ={}).plugins
    assert info.status == "broken"
    assert fix in info.reason


def test_a_broken_plugins_load_time_is_told_too(installed: Any) -> None:
    installed(mailwright={"own": plugin("own")}, mailwright_bad={"bad": ValueError()})
    assert all(info.load_ms > 0 for info in Registry(environ={}).plugins)


def test_a_module_handed_in_and_installed_is_loaded_once(installed: Any) -> None:
    module = plugin("mine")
    installed(mailwright_mine={"mine": module})
    registry = Registry([module], environ={})
    assert registry.provider("mine").name == "mine"
    assert [(info.status, info.reason) for info in registry.plugins] == [
        ("active", ""), ("active", "its module is loaded already")
    ]  # fmt: skip


def test_names_that_nothing_bears_are_told(installed: Any) -> None:
    installed(mailwright={"own": plugin("own")}, mailwright_a={"a": plugin("x")})
    environ = {"MAILWRIGHT_PLUGINS": "mailwright_a,mailwright-zzz", "MAILWRIGHT_DISABLED_PLUGINS": "gmial, own"}
    assert Registry(environ=environ).unmatched == ("gmial", "mailwright-zzz")


def test_many_plugins_left_out_do_not_drown_the_error(installed: Any) -> None:
    installed(mailwright={"own": plugin("own")}, mailwright_bad={f"bad{n}": ValueError("x" * 900) for n in range(9)})
    with pytest.raises(PluginError, match="7 more are left out: mailwright plugins") as caught:
        Registry(environ={}).provider("acme")
    assert len(caught.value.message) < 1000


def test_a_built_in_keeps_its_name(installed: Any) -> None:
    own = plugin("gmail")
    installed(mailwright={"gmail": own}, aaa={"thief": plugin("gmail", "more")})
    registry = Registry(environ={})
    registry.load_all()
    assert registry.provider("more").name == "more"
    thief: PluginInfo = next(info for info in registry.plugins if info.name == "thief")
    assert "built in" in thief.reason
    assert registry.provider("gmail") is registry._claims.records["provider"]["gmail"].record


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
