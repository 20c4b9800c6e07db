"""OAuth2 with a token that is given; fetching and refreshing tokens is not built yet, and says so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import evolve, field, frozen

from mailwright import hookimpl
from mailwright.errors import AuthError, ConfigurationError
from mailwright.sasl import tokens
from mailwright.spi import (
    AuthMethod,
    AuthTarget,
    HttpRequest,
    Opening,
    Reply,
    SaslMechanism,
    SaslOffer,
    Secret,
    Settings,
)


@frozen(kw_only=True)
class OAuth2Settings(Settings):
    """The original node's fields."""

    user: str = field(metadata={"title": "User", "description": "The mailbox the token is for."})
    client_id: str = field(default="", metadata={"title": "Client ID"})
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

    def __attrs_post_init__(self) -> None:
        if self.access_token is None and self.refresh_token is None:
            msg = "access_token: give access_token or refresh_token"
            raise ConfigurationError(msg)


@frozen
class OAuth2Authenticator:
    """A given access token in use."""

    _settings: OAuth2Settings
    _opening: Opening = field(repr=False)

    async def sasl(self, offer: SaslOffer) -> SaslMechanism:
        """XOAUTH2 or OAUTHBEARER."""
        return tokens(self._settings.user, await self._token(), offer)

    async def sign(self, request: HttpRequest) -> HttpRequest:
        """Bearer (RFC 6750)."""
        return evolve(request, headers={**request.headers, "Authorization": f"Bearer {await self._token()}"})

    async def refused(self, reply: Reply, challenge: bytes | None) -> bool:
        """A given token cannot be renewed."""
        return False

    async def aclose(self) -> None:
        """Nothing is held."""

    async def _token(self) -> str:
        settings = self._settings
        if settings.access_token is None:
            msg = "$.auth.access_token: getting a token by refresh_token is not available yet; give an access_token"
            raise AuthError(msg, stage="prepare", command="API")
        expiry = settings.expiry_date
        if expiry is not None and self._opening.clock.now().timestamp() * 1000 >= expiry:
            msg = "$.auth.expiry_date: the access token has expired; give a new one"
            raise AuthError(msg, stage="prepare", command="API")
        return await self._opening.reveal(settings.access_token)


def _open(settings: OAuth2Settings, target: AuthTarget, opening: Opening) -> OAuth2Authenticator:
    return OAuth2Authenticator(settings, opening)


@hookimpl
def mailwright_auth_methods() -> Iterable[AuthMethod[Any]]:
    """One method."""
    yield AuthMethod(
        name="oauth2",
        title="OAuth 2.0",
        settings=OAuth2Settings,
        protocols=frozenset({"smtp", "http"}),
        open=_open,
        user=lambda settings: settings.user,
    )
