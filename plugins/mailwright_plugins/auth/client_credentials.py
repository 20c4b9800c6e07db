"""OAuth2 in an application's own name: client credentials (RFC 6749 §4.4), with a secret or with a certificate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import field, frozen

from mailwright import hookimpl
from mailwright.errors import ConfigurationError
from mailwright.spi import Authenticator, AuthMethod, AuthTarget, ClientGrant, Opening, Secret, Settings

_USER = {"title": "User", "description": "The mailbox mail is sent from."}
_TOKEN_URL = {
    "title": "Token URL",
    "description": "Default: the provider's.",
    "aliases": ("token_endpoint", "token_endpoint_url", "access_url", "accessUrl"),
}
_SCOPE = {"title": "Scope", "description": "Separated by blanks. Default: the provider's."}


@frozen(kw_only=True)
class ClientCredentialsSettings(Settings):
    """The original node's fields."""

    user: str = field(metadata=_USER)
    client_id: str = field(metadata={"title": "Client ID"})
    client_secret: Secret = field(metadata={"title": "Client secret", "secret": True})
    token_url: str | None = field(default=None, metadata=_TOKEN_URL)
    scope: str | None = field(default=None, metadata=_SCOPE)


@frozen(kw_only=True)
class EntraCertificateSettings(Settings):
    """An app registration of Microsoft Entra ID that proves itself by a certificate instead of a secret."""

    user: str = field(metadata=_USER)
    client_id: str = field(metadata={"title": "Application (client) ID"})
    certificate: Secret = field(
        metadata={
            "title": "Certificate",
            "secret": True,
            "description": "PEM text with certificate and private key, as file:PATH.",
        }
    )
    token_url: str | None = field(default=None, metadata=_TOKEN_URL)
    scope: str | None = field(default=None, metadata=_SCOPE)


def _open(
    settings: ClientCredentialsSettings | EntraCertificateSettings, target: AuthTarget, opening: Opening
) -> Authenticator:
    token_url = settings.token_url or target.oauth_urls.get("app_token") or target.oauth_urls.get("token")
    if not token_url:
        raise ConfigurationError("$.auth.token_url: missing: this provider has no default")
    if "/common/" in token_url or "/organizations/" in token_url or "/consumers/" in token_url:
        raise ConfigurationError("$.options.tenant: an app asks in its own name at one tenant: give its id or domain")
    if opening.tokens is None:
        raise ConfigurationError("tokens are not available here")
    secret = settings.client_secret if isinstance(settings, ClientCredentialsSettings) else None
    certificate = settings.certificate if isinstance(settings, EntraCertificateSettings) else None
    grant = ClientGrant(
        token_url=token_url,
        client_id=settings.client_id,
        client_secret=secret,
        certificate=certificate,
        scopes=(target.app_scopes or target.scopes) if settings.scope is None else tuple(settings.scope.split()),
    )
    return opening.tokens.authenticator(grant, target=target, user=settings.user)


@hookimpl
def mailwright_auth_methods() -> Iterable[AuthMethod[Any]]:
    """Two methods."""
    yield AuthMethod(
        name="oauth2_client_credentials",
        title="OAuth 2.0 client credentials",
        note="In the application's own name. Microsoft 365: SMTP.SendAsApp and a service principal with access to the mailbox.",
        settings=ClientCredentialsSettings,
        protocols=frozenset({"smtp", "http"}),
        open=_open,
        user=lambda settings: settings.user,
    )
    yield AuthMethod(
        name="entra_certificate",
        title="Microsoft Entra certificate",
        note='As client credentials, with a certificate. Needs: pip install "mailwright[oauth-jwt]".',
        settings=EntraCertificateSettings,
        protocols=frozenset({"smtp", "http"}),
        open=_open,
        user=lambda settings: settings.user,
    )
