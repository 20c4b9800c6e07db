"""The user's connection: which provider, how to authenticate, within which limits. A session is the network thing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, fields, frozen

from mailwright.model.address import Address, AnyAddresses, addresses, one_address
from mailwright.model.settings import Settings

Tls = Literal["tls", "starttls", "none"]


@frozen(kw_only=True, repr=False)
class Limits:
    """What a provider or a connection allows. None: it does not say; a connection's provider may, else the default counts.

    Args:
        rate: Messages a second, sustained; by default as many as there are.
        burst: Messages at once above the rate; by default 1.
        connections: Sessions at one time, of one mailer or of all workers of one outbox; by default 5.
        messages_per_session: Messages until a session is closed; by default 100.
        idle: Seconds that a session rests until it is closed, before the server does it; by default 30.
        recipients: Recipients of one message; by default as many as there are.
        size: Octets of one message; by default any.
    """

    rate: float | None = None
    _burst: int | None = field(default=None, alias="burst")
    _connections: int | None = field(default=None, alias="connections")
    _messages_per_session: int | None = field(default=None, alias="messages_per_session")
    _idle: float | None = field(default=None, alias="idle")
    recipients: int | None = None
    size: int | None = None

    @property
    def burst(self) -> int:
        """Messages at once above the rate."""
        return 1 if self._burst is None else self._burst

    @property
    def connections(self) -> int:
        """Sessions at one time."""
        return 5 if self._connections is None else self._connections

    @property
    def messages_per_session(self) -> int:
        """Messages until a session is closed."""
        return 100 if self._messages_per_session is None else self._messages_per_session

    @property
    def idle(self) -> float:
        """Seconds that a session rests until it is closed."""
        return 30.0 if self._idle is None else self._idle

    @property
    def said(self) -> Mapping[str, Any]:
        """What was given, by name; also where it is the default."""
        given = {attribute.alias or attribute.name: getattr(self, attribute.name) for attribute in fields(Limits)}
        return {name: value for name, value in given.items() if value is not None}

    def __repr__(self) -> str:
        return f"Limits({', '.join(f'{name}={value!r}' for name, value in self.said.items())})"


@frozen(kw_only=True)
class Timeouts:
    """How long to wait, in seconds.

    Args:
        connect: For the TCP connection.
        command: For one answer before the body.
        data: Without progress of the body.
        reply: For the final answer (RFC 5321 §4.5.3.2.6: ten minutes).
        total: For the whole of one attempt.
    """

    connect: float = 30.0
    command: float = 60.0
    data: float = 120.0
    reply: float = 600.0
    total: float = 900.0


@frozen(kw_only=True)
class SmtpEndpoint:
    """Where an SMTP provider listens."""

    host: str
    port: int
    tls: Tls


def _from(value: AnyAddresses) -> Address | None:
    return one_address("from", value)


@frozen(kw_only=True)
class Connection:
    """One connection document as a model.

    Args:
        name: Its name among saved connections.
        provider: Name in the catalogue.
        settings: The provider's own settings (for ``smtp``: host and port).
        auth: Settings of an authentication method; None: no login.
        from_: Used when a message names no author.
        tls: Explicit choice; None: the provider's.
        limits: What it says beats the provider's limits; the rest stays the provider's.
        timeouts: In seconds.
        retries: Further tries after a transient failure, 0 to 10; None: the mailer's default.
        local_hostname: EHLO name.
        proxy: ``socks5://…`` or ``http://…``, for everything the connection sends.
        source_address: Local IP address.
        ca_file: PEM file of trusted authorities, instead of the system's.
        client_cert: PEM file with certificate and key.
        tls_minimum: Oldest TLS version accepted.
        mask: EHLO keywords to ignore.
        allow_insecure_auth: Send the credential over an unencrypted link beyond loopback. Do not.
        redirect_to: Staging: every message goes to these addresses only.
        allow_recipients: Staging: only these addresses or domains are mailed.
        labels: Free words that hooks see.
        allow_fetch: Host names and networks inside the house that URL attachments may come from.
    """

    name: str | None = None
    provider: str
    settings: Settings = field(factory=Settings)
    auth: tuple[str, Settings] | None = field(default=None, repr=False)
    from_: Address | None = field(default=None, converter=_from)
    tls: Tls | None = None
    limits: Limits | None = None
    timeouts: Timeouts = field(factory=Timeouts)
    retries: int | None = None
    local_hostname: str | None = None
    proxy: str | None = field(default=None, repr=False)
    source_address: str | None = None
    ca_file: str | None = None
    client_cert: str | None = None
    tls_minimum: Literal["1.2", "1.3"] = "1.2"
    mask: frozenset[str] = frozenset()
    allow_insecure_auth: bool = False
    redirect_to: tuple[Address, ...] = field(default=(), converter=addresses)
    allow_recipients: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    allow_fetch: tuple[str, ...] = ()

    @property
    def info(self) -> ConnectionInfo:
        """What hooks may see."""
        return ConnectionInfo(
            name=self.name,
            provider=self.provider,
            sender=self.from_.email if self.from_ else None,
            labels=dict(self.labels),
        )


@frozen(kw_only=True)
class ConnectionInfo:
    """What hooks may see of a connection: no settings, no secrets."""

    name: str | None = None
    provider: str
    sender: str | None = None
    labels: Mapping[str, str] = field(factory=dict)
