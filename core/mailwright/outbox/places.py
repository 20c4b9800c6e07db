"""Outbox URLs: the default one, its engine, and how one is shown."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote, urlsplit

from mailwright.errors import ConfigurationError

if TYPE_CHECKING:
    from mailwright.ports import Clock
    from mailwright.registry import Registry
    from mailwright.spi import Dispatcher, Ledger

VARIABLE: Final = "MAILWRIGHT_OUTBOX"
DEFAULT: Final = "sqlite://"
_SECRETS: Final = re.compile(r"(?i)([?&][^=&]*(?:password|passwd|secret|token|key)[^=&]*=)[^&#]*")
_USERINFO: Final = re.compile(r"(//[^/@:?#]*):[^/?#]*@")
_ENCODED: Final = re.compile(r"(?i)([?&]ledger=)([^&#]*%(?:3a|2f)[^&#]*)")


def configured() -> str | None:
    """The URL in the environment, if there is one."""
    return os.environ.get(VARIABLE) or None


def masked(url: str) -> str:
    """A URL without its passwords, for people and logs."""
    shown = _ENCODED.sub(lambda found: found[1] + masked(unquote(found[2])), url)
    return _SECRETS.sub(r"\1***", _USERINFO.sub(r"\1:***@", shown))


def _scheme(url: str) -> str:
    scheme = urlsplit(url).scheme
    if not scheme or "://" not in url:
        msg = f"outbox: {masked(url)!r} is not a URL such as sqlite:///outbox.db or postgresql://localhost/mail"
        raise ConfigurationError(msg)
    return scheme


async def open_ledger(url: str, registry: Registry, clock: Clock) -> Ledger:
    """The ledger that a URL names, itself or in ``?ledger=``."""
    engine = registry.queue_engine(_scheme(url))
    if engine.ledger is not None:
        return await engine.ledger(url, clock)
    named = parse_qs(urlsplit(url).query).get("ledger")
    if not named:
        msg = f"outbox: {masked(url)} is a dispatcher only: name its ledger, as in ?ledger=postgresql://localhost/mail"
        raise ConfigurationError(msg)
    return await open_ledger(named[0], registry, clock)


async def exists(url: str, registry: Registry) -> bool:
    """Whether an outbox has been made there already, as far as its engine can tell."""
    engine = registry.queue_engine(_scheme(url))
    if engine.ledger is None and (named := parse_qs(urlsplit(url).query).get("ledger")):
        return await exists(named[0], registry)
    return engine.exists is None or await engine.exists(url)


async def open_dispatcher(url: str, ledger: Ledger, registry: Registry, clock: Clock) -> Dispatcher:
    """Who decides which worker does what: the engine's, else the ledger's own leases."""
    from mailwright.outbox.leases import LeaseDispatcher  # noqa: PLC0415 - not every engine needs it

    engine = registry.queue_engine(_scheme(url))
    found = None if engine.dispatcher is None else await engine.dispatcher(url, ledger, clock)
    return LeaseDispatcher(ledger) if found is None else found
