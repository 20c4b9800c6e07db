"""How a credential becomes access tokens (RFC 6749), as data: authentication plugins fill it in, core does the rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from attrs import field, frozen

from mailwright.model.settings import Secret


@frozen(kw_only=True)
class Grant:
    """What every grant says to a token endpoint.

    Args:
        token_url: The endpoint; https.
        client_id: The application's registration.
        client_secret: Its password, for confidential clients.
        certificate: PEM text with key and certificate, instead of a password (RFC 7523 §2.2, as Entra wants it).
        scopes: What is asked for; an answer that grants less is an error.
        extra: Further form fields.
    """

    token_url: str
    client_id: str = ""
    client_secret: Secret | None = field(default=None, repr=False)
    certificate: Secret | None = field(default=None, repr=False)
    scopes: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class RefreshGrant(Grant):
    """Tokens in the name of a person who logged in once (RFC 6749 §6).

    Args:
        refresh_token: From the document; a newer one in the token store beats it. None: from ``mailwright auth login``.
        access_token: Used until it expires or is refused.
        expires_at_ms: When that is, in milliseconds since 1970; None: not known.
        rotates: Whether the server may replace the refresh token: then a writable token store is needed.
        login: Endpoints for ``mailwright auth login``.
    """

    refresh_token: Secret | None = field(default=None, repr=False)
    access_token: Secret | None = field(default=None, repr=False)
    expires_at_ms: int | None = None
    rotates: bool = True
    login: LoginUrls | None = None


@frozen(kw_only=True)
class ClientGrant(Grant):
    """Tokens in the application's own name (RFC 6749 §4.4)."""


@frozen(kw_only=True)
class JwtGrant(Grant):
    """Tokens for a signed assertion (RFC 7523 §2.1), as Google's service accounts use it.

    Args:
        key: PEM text of the private key, or Google's JSON key file as text.
        issuer: Who signs; None: as the JSON says.
        subject: The mailbox it acts for.
        key_id: Of the key; None: as the JSON says.
    """

    key: Secret = field(repr=False)
    issuer: str | None = None
    subject: str
    key_id: str | None = None


@frozen(kw_only=True)
class SuppliedToken:
    """What a supplier hands out.

    Args:
        access_token: The token.
        expires_in_s: Seconds it is good for; None: until it is refused.
    """

    access_token: str = field(repr=False)
    expires_in_s: float | None = None


@frozen(kw_only=True)
class SupplyGrant:
    """Tokens from elsewhere: a vault, a broker, the embedding application.

    Args:
        supply: Called with True when the last token was refused.
    """

    supply: Callable[[bool], Awaitable[SuppliedToken]] = field(repr=False)


@frozen(kw_only=True)
class LoginUrls:
    """Where a person logs in.

    Args:
        authorize: Authorization endpoint (RFC 6749 §3.1).
        device: Device authorization endpoint (RFC 8628); None: the provider has none for mail.
        revoke: Revocation endpoint (RFC 7009); None: tokens are only forgotten.
        redirect_host: Name in the loopback redirect (RFC 8252 §7.3) as the provider wants it registered.
        extra: Query fields of the authorization request.
    """

    authorize: str
    device: str | None = None
    revoke: str | None = None
    redirect_host: Literal["127.0.0.1", "localhost"] = "127.0.0.1"
    extra: Mapping[str, str] = field(factory=dict)
