"""Credentials: authentication methods, SASL machines, and the life of tokens. Import them from `mailwright.spi`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, Literal, Protocol, TypeVar

from attrs import field, frozen

from mailwright.model import ConnectionInfo, Grant, Reply, Secret, Settings, SupplyGrant
from mailwright.ports import Clock, Http, HttpRequest

S = TypeVar("S", bound=Settings)


@frozen(kw_only=True)
class AuthTarget:
    """What a credential is for; part of every token's cache key.

    Attributes:
        protocol: ``smtp`` or ``http``.
        host: Server the credential goes to.
        scopes: OAuth scopes needed.
        app_scopes: What an application asks for in its own name, where that differs.
        oauth_urls: ``token``, ``authorize``, ``device``, ``revoke`` endpoints; a document's own token URL beats them.
        login: Query fields of the authorization request; ``redirect_host`` names the loopback redirect.
        rotates: Whether the token endpoint may replace refresh tokens.
    """

    protocol: Literal["smtp", "http"]
    host: str
    scopes: tuple[str, ...] = ()
    oauth_urls: Mapping[str, str] = field(factory=dict)
    app_scopes: tuple[str, ...] = ()
    login: Mapping[str, str] = field(factory=dict)
    rotates: bool = True


@frozen(kw_only=True)
class Opening:
    """What core hands to `Provider.open` and `AuthMethod.open`; bound to one connection.

    Attributes:
        connection: Name, provider, sender.
        http: https only, no redirects, the connection's proxy and authorities.
        clock: Time.
        reveal: Turns a `Secret` into text.
        authenticator: The connection's; None while an `AuthMethod` opens, or without auth.
        tokens: The life of tokens, for an `AuthMethod` that opens; None where there is none (in tests of plugins).
    """

    connection: ConnectionInfo
    http: Http
    clock: Clock
    reveal: Callable[[Secret], Awaitable[str]] = field(repr=False)
    authenticator: Authenticator | None = None
    tokens: Tokens | None = field(default=None, repr=False)


class TokenStore(Protocol):
    """Where an embedder keeps tokens: text under a key. Hand it in as ``Mailer(token_store=)``.

    A store that cannot keep anything says so with an attribute ``writable = False``. One with a method ``lock(key)``, an async
    context manager over all processes, is locked while a token is renewed; without it a lease is swapped into the text.
    """

    async def load(self, key: str) -> str | None:
        """The text; None when there is none."""
        ...

    async def compare_and_swap(self, key: str, old: str | None, new: str | None) -> bool:
        """Write `new` (None: delete) if the text is still `old` (None: absent). Durable when it returns True."""
        ...


class TokenSource(Protocol):
    """The tokens of one credential."""

    async def token(self) -> str:
        """One that is good for a while yet. Raises `AuthError`."""
        ...

    async def renew(self, refused: str) -> bool:
        """Told that a server refused this token; True: there is another one. Raises `AuthError`."""
        ...

    async def aclose(self) -> None:
        """Let a renewal under way end; safe to repeat."""
        ...


class Tokens(Protocol):
    """Turns grants into tokens: asks, checks, keeps, renews."""

    def source(self, grant: Grant | SupplyGrant, *, target: AuthTarget, user: str) -> TokenSource:
        """The tokens of a grant. Raises `ConfigurationError`, before anything is sent, when they could not be kept."""
        ...

    def authenticator(self, grant: Grant | SupplyGrant, *, target: AuthTarget, user: str) -> Authenticator:
        """The same as what an `AuthMethod` opens: XOAUTH2, OAUTHBEARER, or a Bearer header."""
        ...


@frozen(kw_only=True)
class SaslOffer:
    """What the server offers, and over which link.

    Attributes:
        mechanisms: Upper-case names from EHLO.
        encrypted: Whether the link is TLS.
        private: Whether a password may cross it: TLS, loopback, or the user's explicit wish.
        host: Server's name.
        port: Server's port.
        channel_bindings: By type, such as ``tls-server-end-point`` (RFC 5929).
    """

    mechanisms: frozenset[str]
    encrypted: bool
    private: bool = False
    host: str = ""
    port: int = 0
    channel_bindings: Mapping[str, bytes] = field(factory=dict, repr=False)


class SaslMechanism(Protocol):
    """A byte machine, fresh for each attempt; see `mailwright.sasl`."""

    @property
    def name(self) -> str:
        """As in EHLO."""
        ...

    def start(self) -> bytes | None:
        """Initial response, None when the mechanism waits for a challenge."""
        ...

    def step(self, challenge: bytes) -> bytes:
        """Answer one challenge. Raises `AuthError` when the server proves to be the wrong one."""
        ...


class Authenticator(Protocol):
    """A credential in use."""

    async def sasl(self, offer: SaslOffer) -> SaslMechanism:
        """The strongest machine both sides have. Raises `AuthError` when there is none, or the link is not private."""
        ...

    async def sign(self, request: HttpRequest) -> HttpRequest:
        """Add the credential to an HTTP request."""
        ...

    async def refused(self, reply: Reply, challenge: bytes | None) -> bool:
        """Told of a refusal; True: renewed, try exactly once more."""
        ...

    async def aclose(self) -> None:
        """Give back what it holds."""
        ...


@frozen(kw_only=True)
class AuthMethod(Generic[S]):
    """One way to authenticate.

    Attributes:
        name: The document's ``auth.type``.
        settings: What stands beside it.
        protocols: Where its credential can be used.
        open: Makes the authenticator of one connection.
        user: The mailbox the credential belongs to: the author when a message names none.
        login: What ``mailwright auth login`` does, if there is anything to do.
        title: For people.
        note: What people must know before they use it.
    """

    name: str
    settings: type[S]
    protocols: frozenset[Literal["smtp", "http"]]
    open: Callable[[S, AuthTarget, Opening], Authenticator]
    user: Callable[[S], str | None] = lambda settings: None
    login: Callable[[S, AuthTarget, Opening, Callable[[str], None]], Awaitable[None]] | None = None
    title: str = ""
    note: str = ""
