"""Plugins loaded, each one alone, and asked by name.

pluggy keeps the hooks and their order. Loading is ours, because pluggy's own loader imports every plugin and dies with the
first that fails.

Built-in plugins come through the same entry points as anyone's. They are loaded first; outsiders only when a name is not
built in, or when a message is about to be sent and hooks have a say.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import pluggy
from attrs import evolve

from mailwright.choices import choices_file, load_file, named_files, read_choices
from mailwright.errors import PluginError
from mailwright.registry.claims import GIVEN, Claims, PluginInfo, PluginStatus, spelling
from mailwright.registry.found import HOME, Found, canonical, other_entry_points, own_entry_points
from mailwright.registry.unknown import WORDS, unknown
from mailwright.spi import AttachmentSource, AuthMethod, Provider, QueueEngine, SecretScheme, Settings
from mailwright.vetting import RECORD_HOOKS, Kind, hooks_of, manager, records_of, why_broken

hookimpl = pluggy.HookimplMarker("mailwright")
_log = logging.getLogger("mailwright.plugins")


class Registry:
    """All plugins of a process, or of one embedder.

    Args:
        plugins: Modules or objects with hook implementations, beside the installed ones.
        allow: Distributions whose plugins may load; None: ``MAILWRIGHT_PLUGINS``, else all. Built-ins always may.
        disabled: Plugins to leave out, by entry-point name or distribution; None: ``MAILWRIGHT_DISABLED_PLUGINS``.
        installed: Find installed plugins; False: only `plugins` and the built-in ones.
        environ: Where the variables are read.
    """

    def __init__(
        self,
        plugins: Iterable[object] = (),
        *,
        allow: Iterable[str] | None = None,
        disabled: Iterable[str] | None = None,
        installed: bool = True,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._manager = manager()
        self._hooks: dict[str, tuple[pluggy.HookImpl, ...]] = {}
        self._allow = _words(environ.get("MAILWRIGHT_PLUGINS")) if allow is None else frozenset(map(canonical, allow))
        blocked = _words(environ.get("MAILWRIGHT_DISABLED_PLUGINS")) if disabled is None else disabled
        self._disabled = frozenset(map(canonical, blocked or ()))
        self._claims = Claims()
        self._heard: set[str] = set()
        given = tuple(plugins)
        self._stages: list[Callable[[], None]] = [
            lambda: self._load_found(own_entry_points()),
            lambda: self._load_given(given),
        ]
        if installed:
            self._stages.append(lambda: self._load_found(other_entry_points()))
        self._lock = threading.RLock()
        self.trace = environ.get("MAILWRIGHT_TRACE_PLUGINS", "") not in {"", "0"}

    # -- looking up

    def provider(self, name: str) -> Provider[Any]:
        """The provider called `name`: by name, alias, or a domain of its mailboxes (also behind an ``@``).

        Raises:
            PluginError: There is none, two outsiders claim it, or it can only explain why it cannot be used.
        """
        found: Provider[Any] = self._one("provider", self._provider_name(name))
        if found.unavailable:
            msg = f"provider {name!r}: {found.unavailable}"
            raise PluginError(msg)
        return found

    def provider_for(self, address: str) -> Provider[Any] | None:
        """The provider of an address's domain, if one is known and can be used; loads every plugin."""
        self.load_all()
        alias = self._claims.aliases.get(spelling(address.rpartition("@")[2]))
        entry = self._claims.records["provider"].get(alias.record) if alias and not alias.rivals else None
        return None if entry is None or entry.rivals or entry.record.unavailable else entry.record

    def auth_method(self, name: str) -> AuthMethod[Any]:
        """The authentication method called `name`; raises like `provider`."""
        return self._one("auth", name)  # type: ignore[no-any-return]

    def attachment_source(self, name: str) -> AttachmentSource[Any]:
        """The attachment source called `name`; raises like `provider`."""
        return self._one("attachment", name)  # type: ignore[no-any-return]

    def secret_scheme(self, name: str) -> SecretScheme | None:
        """The secret scheme called `name`, or None: then the text is no reference."""
        try:
            return self._one("secret", name)  # type: ignore[no-any-return]
        except PluginError:
            if name in self._claims.records["secret"]:
                raise
            return None

    def queue_engine(self, scheme: str) -> QueueEngine:
        """The outbox engine for URLs of `scheme`; raises like `provider`."""
        return self._one("queue", scheme)  # type: ignore[no-any-return]

    def source_of(self, settings: Settings) -> AttachmentSource[Any]:
        """The attachment source whose settings these are."""
        for _ in self._growing():
            for entry in self._claims.records["attachment"].values():
                if type(settings) is entry.record.settings:
                    return entry.record  # type: ignore[no-any-return]
        msg = f"no plugin resolves attachments of type {type(settings).__name__}"
        raise PluginError(msg)

    def provider_settings(self, name: str) -> type[Settings]:
        """Settings class of a provider."""
        return self.provider(name).settings

    def auth_settings(self, name: str) -> type[Settings]:
        """Settings class of an authentication method."""
        return self.auth_method(name).settings

    def attachment_settings(self, name: str) -> type[Settings]:
        """Settings class of an attachment source."""
        return self.attachment_source(name).settings

    def names(self, kind: Kind) -> tuple[str, ...]:
        """All names of a kind, sorted; loads every plugin."""
        self.load_all()
        return tuple(sorted(self._claims.records[kind]))

    def label(self, kind: Kind, name: str) -> tuple[str, str]:
        """Title and note of one record, for people; empty where its plugin says nothing."""
        record = self._one(kind, name)
        return getattr(record, "title", ""), getattr(record, "note", "")

    @property
    def plugins(self) -> tuple[PluginInfo, ...]:
        """Every plugin and its state; loads them all."""
        self.load_all()
        return tuple(self._claims.infos.values())

    def hooks(self, name: str) -> tuple[pluggy.HookImpl, ...]:
        """Implementations of a lifecycle hook, in the order they run (``tryfirst``, ``trylast``); loads every plugin."""
        found = self._hooks.get(name)
        if found is None:
            self.load_all()
            found = self._hooks[name] = tuple(reversed(getattr(self._manager.hook, name).get_hookimpls()))
        return found

    @property
    def unmatched(self) -> tuple[str, ...]:
        """Names in the allow-list and among the disabled that nothing is called; loads every plugin."""
        self.load_all()
        return tuple(sorted((self._disabled | (self._allow or frozenset())) - self._heard))

    def load_all(self) -> None:
        """Load what is installed and handed in; the second time costs nothing."""
        if self._stages:
            for _ in self._growing():
                pass

    # -- loading

    def _one(self, kind: Kind, name: str) -> Any:
        for _ in self._growing():
            entry = self._claims.records[kind].get(name)
            if entry is None:
                continue
            return entry.undisputed(f"{WORDS[kind]} {name!r}")
        raise PluginError(unknown(kind, name, known=self._claims.records[kind], plugins=self._claims.infos.values()))

    def _provider_name(self, name: str) -> str:
        """The name behind an alias; a name always beats an alias, and what is built in beats outsiders."""
        known, spelled = self._claims.records["provider"], spelling(name.rpartition("@")[2])
        for _ in self._growing():
            if name in known:
                return name
            if spelled in known:
                return spelled
            if spelled in self._claims.aliases:
                return self._claims.aliases[spelled].undisputed(f"provider {spelled!r}")  # type: ignore[no-any-return]
        return name

    def _growing(self) -> Iterable[None]:
        """Yield as it stands, then after each further stage of loading. A name that is found early loads no more."""
        yield
        while self._stages:
            with self._lock:
                if self._stages:
                    # Removed only after loading: a second thread must not take a half-loaded stage for all there is.
                    self._stages[0]()
                    del self._stages[0]
            yield

    def _load_given(self, plugins: Iterable[object]) -> None:
        for plugin in plugins:
            name = getattr(plugin, "__name__", type(plugin).__name__)
            info = PluginInfo(name=name, distribution=GIVEN)
            if self._is_disabled(info):
                self._leave_out(info, "disabled", f"run: mailwright plugins enable {name}")
            else:
                self._admit(info, partial(_itself, plugin))

    def _load_found(self, found: Iterable[Found]) -> None:
        for item in sorted(found, key=lambda item: (item.distribution, item.entry_point.name)):
            self._load(item)

    def _load(self, found: Found) -> None:
        name = found.entry_point.name
        info = PluginInfo(name=name, distribution=found.distribution, version=found.version)
        self._heard.add(found.distribution)
        if self._is_disabled(info):
            self._leave_out(
                info, "disabled", f"run: mailwright plugins enable {name} (or see MAILWRIGHT_DISABLED_PLUGINS)"
            )
        elif found.distribution != HOME and self._allow is not None and found.distribution not in self._allow:
            self._leave_out(info, "not allowed", f"add {found.distribution} to MAILWRIGHT_PLUGINS to use it")
        else:
            point = found.entry_point
            self._admit(info, point.load, module=getattr(point, "module", ""), extras=getattr(point, "extras", ()))

    def _is_disabled(self, info: PluginInfo) -> bool:
        """By its name, or by its distribution: two of one name can be told apart."""
        names = {canonical(info.name), *({info.distribution} - {HOME, GIVEN})}
        self._heard |= names
        return not names.isdisjoint(self._disabled)

    def _leave_out(self, info: PluginInfo, status: PluginStatus, reason: str) -> None:
        self._claims.enter(evolve(info, status=status, reason=reason))

    def _admit(
        self, info: PluginInfo, load: Callable[[], Any], *, module: str = "", extras: Iterable[str] = ()
    ) -> None:
        started = time.perf_counter()
        built_in = info.distribution == HOME
        try:
            plugin = load()
            hooks = hooks_of(plugin)
            records = records_of(hooks, thorough=not built_in)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit, pytest.skip …: a plugin may raise anything
            distribution = info.distribution if info.distribution != GIVEN else ""
            info = evolve(info, load_ms=(time.perf_counter() - started) * 1000)
            self._leave_out(info, "broken", why_broken(error, distribution=distribution, module=module, extras=extras))
            return
        info = evolve(info, load_ms=(time.perf_counter() - started) * 1000)
        if self._manager.is_registered(plugin):
            self._claims.enter(evolve(info, reason="its module is loaded already"))
            return
        adds = [f"{kind} {name}" for kind, name, _ in records]
        adds += [f"hook {name.removeprefix('mailwright_')}" for name in hooks if name not in RECORD_HOOKS]
        info = evolve(info, adds=tuple(adds))
        key = self._claims.enter(info)
        self._manager.register(plugin, name=key)
        self._hooks.clear()
        if self.trace:
            _log.warning(
                "plugin %s (%s): loaded, %s() %.1f ms", info.name, info.distribution, "(), ".join(hooks), info.load_ms
            )
        wrapped: dict[int, Any] = {}  # a record with several names stays one
        for kind, name, record in records:
            if not built_in and id(record) not in wrapped:
                wrapped[id(record)] = _guarded(record, info)
            self._claims.claim(kind, name, wrapped.get(id(record), record), key)


def _itself(plugin: object) -> object:
    return plugin


def _guarded(record: Any, info: PluginInfo) -> Any:
    from mailwright.guards import guarded  # noqa: PLC0415 - outsiders only

    return guarded(record, f"plugin {info.name} ({info.distribution} {info.version}".rstrip() + ")")


def _words(value: str | None) -> frozenset[str] | None:
    if value is None:
        return None
    return frozenset(canonical(word.strip()) for word in value.split(",") if word.strip())


_handed_in: list[Any] = []


def hand_in(files: Iterable[str | Path]) -> None:
    """Add hook files to the process's registry, before it is first used. One that does not load is an error.

    Args:
        files: Python files, as for ``--plugin``.

    Raises:
        PluginError: One is not there, does not load, or is no plugin.
    """
    for name in files:
        module = load_file(name)
        try:
            records_of(hooks_of(module))
        except Exception as error:
            raise PluginError(f"{name}: {error}") from error
        _handed_in.append(module)
        default_registry.cache_clear()


@cache
def default_registry() -> Registry:
    """The process's registry: what is installed and named, as environment variables and remembered choices allow."""
    choices = read_choices(choices_file())
    loaded = [*_handed_in, *map(load_file, named_files(choices, os.environ))]
    words = _words(os.environ.get("MAILWRIGHT_DISABLED_PLUGINS")) or frozenset()
    return Registry(loaded, disabled=words | frozenset(choices.disabled))
