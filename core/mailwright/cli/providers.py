"""`mailwright providers`: every mail service that is known, and one of them explained."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mailwright.cli.output import show_json
from mailwright.errors import MailwrightError, PluginError
from mailwright.registry import default_registry

if TYPE_CHECKING:
    from mailwright.registry import Registry
    from mailwright.spi import Provider


def run(name: str | None, *, json: bool) -> int:
    """A table, or one service with all that is known of it."""
    registry = default_registry()
    if name is not None:
        return _one(registry.provider(name), json=json)
    found = [*_told(registry)]
    if json:
        show_json(found)
        return 0
    from rich.console import Console  # noqa: PLC0415 - not for --json
    from rich.table import Table  # noqa: PLC0415

    table = Table("provider", "service", "server", "TLS", box=None, pad_edge=False)
    for fact in found:
        first = fact["servers"][0] if fact["servers"] else {"host": "", "port": "", "tls": ""}
        table.add_row(fact["name"], fact["title"], f"{first['host']}:{first['port']}".strip(":"), first["tls"])
    console = Console()
    console.print(table)
    console.print(f"{len(found)} providers. One in full: mailwright providers NAME", highlight=False)
    return 0


def facts(provider: Provider[Any]) -> dict[str, Any]:
    """What is known of one provider, as plain values."""
    try:
        settings = provider.settings()
    except (TypeError, ValueError):  # a host of the user's choosing
        servers, oauth = [], {}
    else:
        offered = provider.offers(settings) if provider.offers else ()
        offered = offered or ((provider.endpoint(settings),) if provider.endpoint else ())
        servers = [{"host": offer.host, "port": offer.port, "tls": offer.tls} for offer in offered]
        target = provider.target(settings)
        oauth = {"scopes": list(target.scopes), **target.oauth_urls} if target.oauth_urls else {}
    limits = provider.limits
    known = {
        "recipients": limits.recipients,
        "bytes": limits.size,
        "messages_per_second": limits.rate,
        "sessions": limits.said.get("connections"),
    }
    return {
        "name": provider.name,
        "title": provider.title or provider.name,
        "aliases": [*provider.aliases],
        "domains": [*provider.domains],
        "servers": servers,
        "auth": [*provider.auth],
        "oauth": oauth,
        "limits": {name: value for name, value in known.items() if value is not None},
        "note": provider.note,
        "sources": [*provider.sources],
    }


def _told(registry: Registry) -> Iterator[dict[str, Any]]:
    """Facts of each; a plugin that fails at it is named, and the others are listed."""
    for provider in _usable(registry):
        try:
            yield facts(provider)
        except MailwrightError as error:
            sys.stderr.write(f"warning: {error.message}\n")


def _usable(registry: Registry) -> list[Provider[Any]]:
    found = []
    for name in registry.names("provider"):
        try:
            found.append(registry.provider(name))
        except PluginError:
            continue
    return found


def _one(provider: Provider[Any], *, json: bool) -> int:
    fact = facts(provider)
    if json:
        show_json(fact)
        return 0
    from rich.console import Console  # noqa: PLC0415 - not for --json

    console = Console(highlight=False, markup=False)
    console.print(f"{fact['name']}: {fact['title']}")
    for server in fact["servers"]:
        console.print(f"  server   {server['host']}:{server['port']} {server['tls']}")
    for label, values in (
        ("also", [*fact["aliases"], *fact["domains"]]),
        ("auth", fact["auth"]),
        ("oauth", [f"{key}: {' '.join(v) if isinstance(v, list) else v}" for key, v in fact["oauth"].items()]),
        ("limits", [f"{value} {key.replace('_', ' ')}" for key, value in fact["limits"].items()]),
    ):
        if values:
            console.print(f"  {label:<8} {', '.join(values)}")
    if fact["note"]:
        console.print(f"  note     {fact['note']}")
    for source in fact["sources"]:
        console.print(f"  source   {source}")
    console.print(f'\n[connections.NAME]\nprovider = "{fact["name"]}"')
    return 0
