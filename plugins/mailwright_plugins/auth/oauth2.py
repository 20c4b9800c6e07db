"""OAuth2 in the name of a person: the original node's fields. Core asks, keeps and renews."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from attrs import field, frozen

from mailwright import hookimpl
from mailwright.errors import ConfigurationError
from mailwright.spi import (
    Authenticator,
    AuthMethod,
    AuthTarget,
    LoginUrls,
    Opening,
    RefreshGrant,
    Secret,
    Settings,
)

ORIGINAL_TOKEN_URL = "https://accounts.google.com/o/oauth2/token"  # noqa: S105 - an address; the original node's default


@frozen(kw_only=True)
class OAuth2Settings(Settings):
    """The original node's fields."""

    user: str = field(metadata={"title": "User", "description": "The mailbox the token is for."})
    client_id: str = field(
        default="",
        metadata={"title": "Client ID", "description": "With it and no token: run `mailwright auth login NAME`."},
    )
    client_secret: Secret | None = field(default=None, metadata={"title": "Client secret", "secret": True})
    access_token: Secret | None = field(
        default=None,
        metadata={"title": "Access token", "secret": True, "description": "Needed when there is no refresh token."},
    )
    refresh_token: Secret | None = field(default=None, metadata={"title": "Refresh token", "secret": True})
    expiry_date: int | None = field(
        default=None, metadata={"title": "Expiry", "description": "Of the access token, in milliseconds since 1970."}
    )
    token_url: str | None = field(
        default=None,
        metadata={
            "title": "Token URL",
            "description": "Default: the provider's.",
            "aliases": ("access_url", "accessUrl"),
        },
    )
    authorize_url: str | None = field(
        default=None, metadata={"title": "Login URL", "description": "For `auth login`. Default: the provider's."}
    )
    device_url: str | None = field(
        default=None,
        metadata={"title": "Device URL", "description": "For `auth login --device`. Default: the provider's."},
    )
    revoke_url: str | None = field(
        default=None, metadata={"title": "Revocation URL", "description": "For `auth logout`. Default: the provider's."}
    )
    scope: str | None = field(
        default=None, metadata={"title": "Scope", "description": "Separated by blanks. Default: the provider's."}
    )
    rotates: bool | None = field(
        default=None,
        metadata={
            "title": "Rotates",
            "description": "Whether the server replaces refresh tokens. Default: the provider's.",
        },
    )

    def __attrs_post_init__(self) -> None:
        if self.access_token is None and self.refresh_token is None and not self.client_id:
            msg = "access_token: give access_token or refresh_token, or a client_id to log in with"
            raise ConfigurationError(msg)
        if self.expiry_date is not None and not 0 <= self.expiry_date < 1 << 53:
            msg = "expiry_date: not a time in milliseconds since 1970"
            raise ConfigurationError(msg)


def _login(settings: OAuth2Settings, target: AuthTarget) -> LoginUrls | None:
    urls = target.oauth_urls
    authorize = settings.authorize_url or urls.get("authorize")
    if not authorize:
        return None
    extra = dict(target.login)
    host: Literal["127.0.0.1", "localhost"] = (
        "localhost" if extra.pop("redirect_host", "") == "localhost" else "127.0.0.1"
    )
    return LoginUrls(
        authorize=authorize,
        device=settings.device_url or urls.get("device"),
        revoke=settings.revoke_url or urls.get("revoke"),
        redirect_host=host,
        extra=extra,
    )


def _open(settings: OAuth2Settings, target: AuthTarget, opening: Opening) -> Authenticator:
    grant = RefreshGrant(
        token_url=settings.token_url or target.oauth_urls.get("token") or ORIGINAL_TOKEN_URL,
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        scopes=target.scopes if settings.scope is None else tuple(settings.scope.split()),
        refresh_token=settings.refresh_token,
        access_token=settings.access_token,
        expires_at_ms=settings.expiry_date,
        rotates=target.rotates if settings.rotates is None else settings.rotates,
        login=_login(settings, target),
    )
    if opening.tokens is None:
        raise ConfigurationError("oauth2: tokens are not available here")
    return opening.tokens.authenticator(grant, target=target, user=settings.user)


@hookimpl
def mailwright_auth_methods() -> Iterable[AuthMethod[Any]]:
    """One method."""
    yield AuthMethod(
        name="oauth2",
        title="OAuth 2.0",
        note="In the name of a person. With client_id and no token: `mailwright auth login NAME`.",
        settings=OAuth2Settings,
        protocols=frozenset({"smtp", "http"}),
        open=_open,
        user=lambda settings: settings.user,
    )
