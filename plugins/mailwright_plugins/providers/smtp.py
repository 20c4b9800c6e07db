"""Other SMTP Service: any server by host and port."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from attrs import field, frozen

from mailwright import hookimpl
from mailwright.errors import ConfigurationError
from mailwright.spi import AuthTarget, Pairing, Provider, Settings, SmtpEndpoint

_PORTS = {"tls": 465, "starttls": 587, "none": 25}


@frozen(kw_only=True)
class SmtpSettings(Settings):
    """Where the server listens."""

    host: str = field(metadata={"title": "Host", "description": "Name or address of the SMTP server."})
    port: int | None = field(
        default=None, metadata={"title": "Port", "description": "Default: 465 for tls, 587 for starttls, 25 for none."}
    )
    tls: Literal["tls", "starttls", "none"] = field(
        default="starttls",
        metadata={"title": "TLS", "description": "tls from the first octet, starttls (required), or none."},
    )

    def __attrs_post_init__(self) -> None:
        if not self.host or not self.host.isprintable() or any(char.isspace() for char in self.host):
            msg = f"host: {self.host!r} is not a host name"
            raise ConfigurationError(msg)
        if self.port is not None and not 1 <= self.port <= 65535:
            msg = f"port: {self.port} is not between 1 and 65535"
            raise ConfigurationError(msg)


_MICROSOFT = (".office365.com", ".office365.us", ".outlook.com", ".outlook.cn")


def _advise(settings: SmtpSettings, pairing: Pairing) -> Iterable[str]:
    host = settings.host.lower()
    if settings.port == 465 and settings.tls != "tls":
        yield "$.tls: port 465 speaks TLS from the first octet: say tls: tls, or take port 587 for starttls"
    if settings.port in {25, 587} and settings.tls == "tls":
        yield f"$.tls: port {settings.port} begins in clear: say tls: starttls, or take port 465"
    if host.endswith(_MICROSOFT):
        yield "$.provider: microsoft365 (or outlook) knows this host's TLS, limits and errors: use it"
        if pairing.auth == "basic":
            yield "$.auth.type: Microsoft turns passwords off by default at the end of December 2026: use oauth2"
    if host == "smtp.gmail.com":
        yield "$.provider: gmail knows this host's token URLs, limits and errors: use it"


def _target(settings: SmtpSettings) -> AuthTarget:
    return AuthTarget(protocol="smtp", host=settings.host)


def _endpoint(settings: SmtpSettings) -> SmtpEndpoint:
    return SmtpEndpoint(host=settings.host, port=settings.port or _PORTS[settings.tls], tls=settings.tls)


@hookimpl
def mailwright_providers() -> Iterable[Provider[Any]]:
    """One provider."""
    yield Provider(
        name="smtp",
        title="Other SMTP Service",
        settings=SmtpSettings,
        target=_target,
        endpoint=_endpoint,
        advise=_advise,
    )
