"""Google service accounts: a signed assertion for a mailbox of a Workspace domain (domain-wide delegation)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import field, frozen

from mailwright import hookimpl
from mailwright.errors import ConfigurationError
from mailwright.spi import Authenticator, AuthMethod, AuthTarget, JwtGrant, Opening, Secret, Settings

TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
SCOPE = "https://mail.google.com/"


@frozen(kw_only=True)
class ServiceAccountSettings(Settings):
    """A service account and the mailbox it acts for."""

    user: str = field(metadata={"title": "User", "description": "The Workspace mailbox it acts for."})
    key: Secret = field(
        metadata={
            "title": "Key",
            "secret": True,
            "description": "Google's JSON key file, as file:PATH; or PEM text of the private key.",
            "aliases": ("private_key", "privateKey"),
        }
    )
    client_email: str | None = field(
        default=None,
        metadata={
            "title": "Service account",
            "description": "Default: as the key file says.",
            "aliases": ("service_client",),
        },
    )
    token_url: str | None = field(
        default=None, metadata={"title": "Token URL", "description": "Default: Google's.", "aliases": ("access_url",)}
    )
    scope: str | None = field(
        default=None, metadata={"title": "Scope", "description": "Separated by blanks. Default: the provider's."}
    )


def _open(settings: ServiceAccountSettings, target: AuthTarget, opening: Opening) -> Authenticator:
    if opening.tokens is None:
        raise ConfigurationError("tokens are not available here")
    if settings.user.lower().endswith(("@gmail.com", "@googlemail.com")):
        raise ConfigurationError("$.auth.user: service accounts act for Workspace mailboxes only, not for gmail.com")
    grant = JwtGrant(
        token_url=settings.token_url or target.oauth_urls.get("token") or TOKEN_URL,
        scopes=(target.scopes or (SCOPE,)) if settings.scope is None else tuple(settings.scope.split()),
        key=settings.key,
        issuer=settings.client_email,
        subject=settings.user,
    )
    return opening.tokens.authenticator(grant, target=target, user=settings.user)


@hookimpl
def mailwright_auth_methods() -> Iterable[AuthMethod[Any]]:
    """One method."""
    yield AuthMethod(
        name="google_service_account",
        title="Google service account",
        note='Workspace with domain-wide delegation. Needs: pip install "mailwright[oauth-jwt]".',
        settings=ServiceAccountSettings,
        protocols=frozenset({"smtp", "http"}),
        open=_open,
        user=lambda settings: settings.user,
    )
