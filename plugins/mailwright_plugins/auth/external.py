"""The client certificate is the credential: SASL EXTERNAL (RFC 4422, appendix A)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import field, frozen

from mailwright import hookimpl
from mailwright.errors import AuthError
from mailwright.sasl import External
from mailwright.spi import (
    AuthMethod,
    AuthTarget,
    HttpRequest,
    Opening,
    Reply,
    SaslMechanism,
    SaslOffer,
    Settings,
)


@frozen(kw_only=True)
class ExternalSettings(Settings):
    """Whom the certificate of ``client_cert`` speaks for."""

    user: str = field(
        default="", metadata={"title": "User", "description": "Empty: whoever the server finds in the certificate."}
    )


@frozen
class ExternalAuthenticator:
    """Says that TLS has shown who we are."""

    _settings: ExternalSettings

    async def sasl(self, offer: SaslOffer) -> SaslMechanism:
        """EXTERNAL, over TLS only: without it nothing was shown."""
        if not offer.encrypted:
            msg = "external authentication needs TLS: the client certificate is the credential"
            raise AuthError(msg, command="API")
        if External.name not in offer.mechanisms:
            offered = ", ".join(sorted(offer.mechanisms)) or "no authentication"
            msg = f"the server offers {offered}, not EXTERNAL; does it know the authority of client_cert?"
            raise AuthError(msg, command="API")
        return External(self._settings.user)

    async def sign(self, request: HttpRequest) -> HttpRequest:
        """Over HTTP the certificate says everything by itself."""
        return request

    async def refused(self, reply: Reply, challenge: bytes | None) -> bool:
        """A certificate does not change."""
        return False

    async def aclose(self) -> None:
        """Nothing is held."""


def _open(settings: ExternalSettings, target: AuthTarget, opening: Opening) -> ExternalAuthenticator:
    return ExternalAuthenticator(settings)


@hookimpl
def mailwright_auth_methods() -> Iterable[AuthMethod[Any]]:
    """One method."""
    yield AuthMethod(
        name="external",
        title="Client certificate",
        note="Needs client_cert in the connection.",
        settings=ExternalSettings,
        protocols=frozenset({"smtp"}),
        open=_open,
        user=lambda settings: settings.user if "@" in settings.user else None,
    )
