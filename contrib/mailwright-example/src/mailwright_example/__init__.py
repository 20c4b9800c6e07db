"""Example Mail: a mail service with a server in each of two regions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from attrs import field, frozen

from mailwright import hookimpl
from mailwright.errors import ConfigurationError
from mailwright.spi import AuthTarget, Limits, Pairing, Provider, Reply, Settings, SmtpEndpoint

MAILWRIGHT_SPI_VERSION = 1
HOSTS = {"eu": "smtp.eu.example.com", "us": "smtp.us.example.com"}


@frozen(kw_only=True)
class ExampleSettings(Settings):
    """What a connection may say: host, port and tls at its top level, the rest under ``options``."""

    region: Literal["eu", "us"] = field(default="eu", metadata={"title": "Region"})
    host: str | None = field(default=None, metadata={"title": "Host, instead of the region's"})
    port: int = field(default=465, metadata={"title": "Port"})
    tls: Literal["tls", "starttls", "none"] = field(default="tls", metadata={"title": "TLS"})

    def __attrs_post_init__(self) -> None:
        if self.host is not None and (not self.host.isprintable() or not self.host.strip() or " " in self.host):
            raise ConfigurationError(f"host: {self.host!r} is not a host name")
        if not 1 <= self.port <= 65535:
            raise ConfigurationError(f"port: {self.port} is not between 1 and 65535")


def endpoint(settings: ExampleSettings) -> SmtpEndpoint:
    """Where the server of the region listens."""
    return SmtpEndpoint(host=settings.host or HOSTS[settings.region], port=settings.port, tls=settings.tls)


def explain(reply: Reply) -> str | None:
    """Cause and fix of a reply in the service's own wording."""
    if reply.enhanced == "5.7.8":
        return "Example Mail wants an app password: make one under Settings, Security"
    return None


def advise(settings: ExampleSettings, pairing: Pairing) -> Iterable[str]:
    """What goes wrong later, said now."""
    if pairing.user and pairing.sender and pairing.user.rpartition("@")[2] != pairing.sender.rpartition("@")[2]:
        yield f"from: Example Mail sends for the domain of {pairing.user} only; use an address of that domain"


@hookimpl
def mailwright_providers() -> Iterable[Provider[Any]]:
    """One provider."""
    yield Provider(
        name="example",
        title="Example Mail",
        settings=ExampleSettings,
        auth=("basic",),
        target=lambda settings: AuthTarget(protocol="smtp", host=endpoint(settings).host),
        endpoint=endpoint,
        limits=Limits(rate=10, recipients=100, size=25_000_000),
        explain=explain,
        advise=advise,
    )
