"""The development inbox of `mailwright sandbox`: no settings needed, and no mail gets further than that inbox."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from attrs import field, frozen

from mailwright import hookimpl
from mailwright.errors import ConfigurationError
from mailwright.spi import AuthTarget, Provider, Settings, SmtpEndpoint

VARIABLE = "MAILWRIGHT_SANDBOX"
HOST, PORT = "127.0.0.1", 1025


def _environment() -> tuple[str, int]:
    """``HOST:PORT``, ``[IPv6]:PORT``, or a port alone."""
    value = os.environ.get(VARIABLE) or str(PORT)
    host, _, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not port.isdecimal() or not port.isascii() or not 1 <= int(port[:6]) <= 65535 or not _is_host(host or HOST):
        msg = f"{VARIABLE}: {value[:80]!r} is not HOST:PORT or a port"
        raise ConfigurationError(msg)
    return host or HOST, int(port)


def _is_host(text: str) -> bool:
    return bool(text) and text.isprintable() and not any(char.isspace() for char in text)


@frozen(kw_only=True)
class SandboxSettings(Settings):
    """Where the sandbox listens."""

    host: str = field(
        factory=lambda: _environment()[0],
        metadata={"title": "Host", "description": f"Default: that of ${VARIABLE}, else this machine."},
    )
    port: int = field(
        factory=lambda: _environment()[1],
        metadata={"title": "Port", "description": f"Default: that of ${VARIABLE}, else {PORT}."},
    )

    def __attrs_post_init__(self) -> None:
        if not _is_host(self.host):
            msg = f"host: {self.host!r} is not a host name"
            raise ConfigurationError(msg)
        if not 1 <= self.port <= 65535:
            msg = f"port: {self.port} is not between 1 and 65535"
            raise ConfigurationError(msg)


def _target(settings: SandboxSettings) -> AuthTarget:
    return AuthTarget(protocol="smtp", host=settings.host)


def _endpoint(settings: SandboxSettings) -> SmtpEndpoint:
    return SmtpEndpoint(host=settings.host, port=settings.port, tls="none")


@hookimpl
def mailwright_providers() -> Iterable[Provider[Any]]:
    """One provider."""
    yield Provider(
        name="sandbox",
        title="Sandbox",
        note="Mail goes to `mailwright sandbox` and nowhere else.",
        settings=SandboxSettings,
        target=_target,
        endpoint=_endpoint,
    )
