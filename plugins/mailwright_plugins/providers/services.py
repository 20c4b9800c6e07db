"""A table of mail services: hosts, TLS, limits, notes, and where each fact is from (`services.json` beside this module)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from mailwright import hookimpl
from mailwright.spi import AuthTarget, Limits, Pairing, Provider, Settings, SmtpEndpoint

_HINTS: Final = {
    "app-password": "an app password, made in the account's security settings",
    "authorization-code": "an authorization code from the web mail's settings, not the account's password",
    "smtp-token": "an SMTP token from the account's settings",
    "bridge-password": "the password that the local bridge shows",
    "api-key": "an API key as password",
    "api-token": "an API token as password",
    "smtp-credentials": "SMTP credentials made for this purpose, not the account's password",
    "password": "the mailbox's password",
    "oauth2": "OAuth2",
    "ip": "an address the service knows",
    "none": "no login",
}
_MIB: Final = 1 << 20


@frozen(kw_only=True)
class ServiceSettings(Settings):
    """Nothing to set: the service's servers are known."""


def _target(service: Mapping[str, Any]) -> AuthTarget:
    oauth = service.get("oauth", {})
    urls = {name: oauth[name] for name in ("token", "authorize", "device") if name in oauth}
    return AuthTarget(
        protocol="smtp",
        host=service["host"],
        scopes=tuple(oauth.get("scopes", ())),
        oauth_urls=urls,
        login=oauth.get("login", {}),
    )


def _endpoints(service: Mapping[str, Any]) -> tuple[SmtpEndpoint, ...]:
    pairs = [(service["port"], service["tls"]), *service.get("also", ())]
    return tuple(SmtpEndpoint(host=service["host"], port=port, tls=tls) for port, tls in pairs)


def _limits(service: Mapping[str, Any]) -> Limits:
    found = service.get("limits", {})
    size = found.get("size_mb")
    return Limits(recipients=found.get("recipients"), size=None if size is None else int(size * _MIB))


def _note(service: Mapping[str, Any]) -> str:
    takes = " or ".join(_HINTS[word] for word in service["auth"])
    parts = [f"Takes {takes}." if takes else "", service.get("note", "")]
    return " ".join(part for part in parts if part)


def _advise(service: Mapping[str, Any]) -> Callable[[ServiceSettings, Pairing], Iterable[str]]:
    def advise(settings: ServiceSettings, pairing: Pairing) -> Iterable[str]:
        if pairing.auth is None and "none" not in service["auth"] and "ip" not in service["auth"]:
            yield f"$.auth: {service['title']} lets nobody send without a login: it takes {_note(service)[6:]}"

    return advise


def _provider(service: Mapping[str, Any]) -> Provider[ServiceSettings]:
    target, endpoints = _target(service), _endpoints(service)
    return Provider(
        name=service["name"],
        title=service["title"],
        note=_note(service),
        settings=ServiceSettings,
        target=lambda settings: target,
        endpoint=lambda settings: endpoints[0],
        offers=lambda settings: endpoints,
        limits=_limits(service),
        advise=_advise(service),
        aliases=tuple(service.get("aliases", ())),
        domains=tuple(service.get("domains", ())),
        sources=(*service["sources"], f"confidence: {service['confidence']}"),
        unavailable=service.get("unavailable", ""),
    )


@hookimpl
def mailwright_providers() -> Iterable[Provider[Any]]:
    """One provider for each service."""
    table = json.loads(Path(__file__).with_name("services.json").read_text(encoding="utf-8"))
    return map(_provider, table)
