"""Looking a plugin over before it is let in: its hooks, its records, and what to say of one that is left out."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Iterable, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, Literal

import attrs
import pluggy

from mailwright import hookspecs
from mailwright.errors import PluginError
from mailwright.model import Limits
from mailwright.spi import (
    SPI_VERSION,
    AttachmentSource,
    AuthMethod,
    Provider,
    QueueEngine,
    SecretScheme,
    Settings,
)

Kind = Literal["provider", "auth", "attachment", "secret", "queue"]
RECORD_HOOKS: Final[Mapping[str, tuple[Kind, type]]] = MappingProxyType({
    "mailwright_providers": ("provider", Provider),
    "mailwright_auth_methods": ("auth", AuthMethod),
    "mailwright_attachment_sources": ("attachment", AttachmentSource),
    "mailwright_secret_schemes": ("secret", SecretScheme),
    "mailwright_queue_engines": ("queue", QueueEngine),
})  # fmt: skip
MOST: Final = 10_000
"""Records of one hook: one that never ends must not hang the host."""
_NAME: Final = re.compile(r"[^\W_][\w.+-]{0,79}", re.ASCII)
_TOO_NEW: Final = "it needs a newer Mailwright"
_TEXTS: Final = ("title", "note", "unavailable")
_LISTS: Final = ("auth", "aliases", "domains", "sources", "schemes")


def one_line(text: object, most: int = 200) -> str:
    """Foreign words for an error: one line, nothing a terminal would obey, not without end."""
    plain = "".join(char if char.isprintable() else " " for char in str(text)[: 4 * most])
    words = " ".join(plain.split())
    return words if len(words) <= most else words[: most - 1] + "…"


def manager() -> pluggy.PluginManager:
    """A pluggy manager that knows our hooks."""
    made = pluggy.PluginManager("mailwright")
    made.add_hookspecs(hookspecs)
    return made


def hooks_of(plugin: Any) -> dict[str, pluggy.HookImpl]:
    """Its hooks, tried in a manager of its own: unknown hooks, wrong arguments and another SPI version are errors.

    Raises:
        PluginError: Says what is wrong, and what would be right.
    """
    wanted = getattr(plugin, "MAILWRIGHT_SPI_VERSION", SPI_VERSION)
    if wanted != SPI_VERSION:
        newer = isinstance(wanted, int) and wanted > SPI_VERSION
        msg = f"it was written for version {wanted!r} of the plugin interface, this is {SPI_VERSION}"
        msg += f": {_TOO_NEW}" if newer else ""
        raise PluginError(msg)
    for name in dir(plugin):
        if name.startswith("mailwright_"):
            _hook_like(name, getattr(plugin, name))
    trial = manager()
    trial.register(plugin)
    trial.check_pending()
    hooks = {caller.name: caller.get_hookimpls()[0] for caller in trial.get_hookcallers(plugin) or ()}
    for name, impl in hooks.items():
        if impl.wrapper or impl.hookwrapper:
            raise PluginError(f"{name}: hook wrappers are not supported; return a replacement instead")
        if name in RECORD_HOOKS and (
            inspect.iscoroutinefunction(impl.function) or inspect.isasyncgenfunction(impl.function)
        ):
            raise PluginError(f"{name} is async: hooks that declare records are plain functions")
    if not hooks:
        raise PluginError("it implements no hook; mark functions with @mailwright.hookimpl")
    return hooks


def _hook_like(name: str, value: Any) -> None:
    """What bears a hook's prefix is one: known, marked, and with arguments that the hook has."""
    marked = getattr(value, "mailwright_impl", None)
    if not callable(value) or (marked and marked.get("specname")):
        return
    specs = {known: spec for known, spec in vars(hookspecs).items() if known.startswith("mailwright_")}
    if name not in specs:
        from difflib import get_close_matches  # noqa: PLC0415 - errors only

        near = get_close_matches(name, specs, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(specs)}"
        raise PluginError(f"unknown hook {name!r}: {hint}")
    if marked is None:
        raise PluginError(f"{name} looks like a hook but has no @hookimpl")
    has = [*inspect.signature(specs[name]).parameters]
    asked = [one.name for one in inspect.signature(value).parameters.values() if one.default is one.empty]
    if odd := [one for one in asked if one not in has]:
        raise PluginError(f"{name} takes {', '.join(odd)}; the hook's arguments are {', '.join(has) or 'none'}")


def records_of(hooks: Mapping[str, pluggy.HookImpl], *, thorough: bool = True) -> list[tuple[Kind, str, Any]]:
    """What it declares: kind, name, record.

    Args:
        hooks: Of one plugin.
        thorough: Look at each field; the built-in plugins' are known, and there are many.

    Raises:
        PluginError: A hook yields something else, or a record that nobody could use.
    """
    found: list[tuple[Kind, str, Any]] = []
    for hook, (kind, record_type) in RECORD_HOOKS.items():
        if hook not in hooks:
            continue
        given: Any = hooks[hook].function() or ()
        if not isinstance(given, Iterable):
            raise PluginError(f"{hook} returned {type(given).__name__}, no records")
        for record in islice(given, MOST + 1):
            if not isinstance(record, record_type):
                raise PluginError(f"{hook} yielded {type(record).__name__}, not {record_type.__name__}")
            if thorough:
                _look_over(hook, record)
            names: tuple[str, ...] = record.schemes if isinstance(record, QueueEngine) else (record.name,)  # type: ignore[attr-defined]
            for name in names:
                if not isinstance(name, str) or not _NAME.fullmatch(name):
                    raise PluginError(f"{hook}: {name!r} is no name: letters, digits and - _ + . after the first")
            found += [(kind, name, record) for name in names]
            if len(found) > MOST:
                raise PluginError(f"{hook} yields more than {MOST} records")
    return found


def _look_over(hook: str, record: Any) -> None:
    """Fields that others of the host read: one of the wrong type would break far from here."""
    where = f"{hook}: {getattr(record, 'name', '')}"
    for name in (field.name for field in attrs.fields(type(record))):
        value = getattr(record, name)
        if name in _TEXTS and not isinstance(value, str):
            raise PluginError(f"{where}: {name} is {type(value).__name__}, not text")
        if name in _LISTS and not (isinstance(value, tuple | list) and all(isinstance(one, str) for one in value)):
            raise PluginError(f"{where}: {name} is no tuple of texts")
        if name == "limits" and not isinstance(value, Limits):
            raise PluginError(f"{where}: limits is {type(value).__name__}, not Limits")
        if name in _CALLED and not callable(value) and not (value is None and name in _OPTIONAL):
            raise PluginError(f"{where}: {name} is {type(value).__name__}, not a function")
        _warn_of(where, record, name)
    if hasattr(record, "settings"):
        _settings(where, record.settings)


def _warn_of(where: str, record: Any, name: str) -> None:
    """Fields that are to go away bear ``metadata={"deprecated": "0.3: use limits"}``; hooks have pluggy's ``warn_on_impl``."""
    field = getattr(attrs.fields(type(record)), name)
    told = field.metadata.get("deprecated")
    if told and getattr(record, name) != field.default:
        warnings.warn(f"{where}: {name} is deprecated since Mailwright {told}", DeprecationWarning, stacklevel=2)


_CALLED: Final = frozenset({
    "target", "endpoint", "open", "explain", "offers", "advise", "user", "login", "resolve", "reveal", "ledger",
    "dispatcher", "exists",
})  # fmt: skip
_OPTIONAL: Final = frozenset({"endpoint", "open", "offers", "login", "ledger", "dispatcher", "exists"})


def _settings(where: str, settings: Any) -> None:
    if not (isinstance(settings, type) and issubclass(settings, Settings)):
        raise PluginError(f"{where}: settings is no class below mailwright.spi.Settings")
    if "__attrs_attrs__" not in vars(settings):
        raise PluginError(f"{where}: settings: decorate {settings.__name__} with @attrs.frozen(kw_only=True)")
    try:
        attrs.resolve_types(settings)
    except Exception as error:
        raise PluginError(f"{where}: the types of {settings.__name__} cannot be told: {one_line(error)}") from error


def why_broken(error: BaseException, *, distribution: str, module: str = "", extras: Iterable[str] = ()) -> str:
    """Why a plugin is left out, and what to do, in one line.

    Args:
        error: What loading it raised.
        distribution: It came with; empty where it was handed in.
        module: Its entry point's.
        extras: Its entry point's.
    """
    words = one_line(error)
    said = (
        words
        if isinstance(error, PluginError)
        else f"{type(error).__name__}: {words}"
        if words
        else type(error).__name__
    )
    missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    wanted = ",".join(sorted(extras))
    if not distribution:
        fix = "mend it"
    elif words.endswith(_TOO_NEW):
        fix = "pip install --upgrade mailwright"
    elif missing and wanted:
        fix = f"pip install '{distribution}[{wanted}]'"
    elif missing and (module == missing or module.startswith(f"{missing}.")):
        fix = f"its files are gone; pip install --force-reinstall {distribution}, or uninstall it"
    elif missing:
        fix = f"it needs {one_line(missing, 60)}; pip install --upgrade {distribution}, or uninstall it"
    else:
        fix = f"pip install --upgrade {distribution}, or uninstall it"
    return f"{said} ({fix})"
