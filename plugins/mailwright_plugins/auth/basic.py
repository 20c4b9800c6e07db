"""User and password: SMTP AUTH, or HTTP Basic."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from attrs import evolve, field, frozen

from mailwright import hookimpl
from mailwright.errors import AuthError
from mailwright.sasl import passwords
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
class BasicSettings(Settings):
    """A user and a password."""

    username: str = field(metadata={"title": "User", "description": "Usually the mailbox."})
    password: Secret = field(metadata={"title": "Password", "secret": True})


@frozen
class BasicAuthenticator:
    """The credential in use; revealed when it is needed, kept nowhere."""

    _settings: BasicSettings
    _opening: Opening = field(repr=False)

    async def sasl(self, offer: SaslOffer) -> SaslMechanism:
        """The strongest mechanism both sides have."""
        return passwords(self._settings.username, await self._password(), offer)

    async def sign(self, request: HttpRequest) -> HttpRequest:
        """HTTP Basic (RFC 7617)."""
        if ":" in self._settings.username:
            msg = "$.auth.username: HTTP Basic cannot carry a user with a colon (RFC 7617 §2)"
            raise AuthError(msg, stage="prepare", command="API")
        credential = f"{self._settings.username}:{await self._password()}".encode()
        value = "Basic " + base64.b64encode(credential).decode("ascii")
        return evolve(request, headers={**request.headers, "Authorization": value})

    async def refused(self, reply: Reply, challenge: bytes | None) -> bool:
        """A wrong password stays wrong: one failed login is one attempt."""
        return False

    async def aclose(self) -> None:
        """Nothing is held."""

    async def _password(self) -> str:
        password = await self._opening.reveal(self._settings.password)
        if not self._settings.username or not password:
            msg = "$.auth: username and password must not be empty"
            raise AuthError(msg, stage="prepare", command="API")
        return password


def _open(settings: BasicSettings, target: AuthTarget, opening: Opening) -> BasicAuthenticator:
    return BasicAuthenticator(settings, opening)


@hookimpl
def mailwright_auth_methods() -> Iterable[AuthMethod[Any]]:
    """One method."""
    yield AuthMethod(
        name="basic",
        title="User name and password",
        settings=BasicSettings,
        protocols=frozenset({"smtp", "http"}),
        open=_open,
        user=lambda settings: settings.username,
    )
