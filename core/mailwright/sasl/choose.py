"""Which machine: the strongest both sides have. One failed login is one attempt, so there is one choice."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from mailwright.errors import AuthError
from mailwright.sasl.machines import CramMd5, Login, OAuthBearer, Plain, XOAuth2
from mailwright.sasl.scram import BINDING, ScramSha1, ScramSha256


class Offer(Protocol):
    """What is read of `mailwright.spi.SaslOffer`."""

    @property
    def mechanisms(self) -> AbstractSet[str]:
        """Upper-case names."""
        ...

    @property
    def private(self) -> bool:
        """Whether a password may cross the link."""
        ...

    @property
    def host(self) -> str:
        """Server's name."""
        ...

    @property
    def port(self) -> int:
        """Server's port."""
        ...

    @property
    def channel_bindings(self) -> Mapping[str, bytes]:
        """By type (RFC 5929)."""
        ...


def passwords(user: str, password: str, offer: Offer) -> ScramSha256 | ScramSha1 | Plain | Login | CramMd5:
    """Pick a mechanism for user and password: SCRAM-SHA-256, SCRAM-SHA-1, PLAIN, LOGIN, CRAM-MD5.

    SCRAM is bound to the TLS session (-PLUS) where both sides can. CRAM-MD5 comes last: it forces servers to keep
    passwords readable, and TLS already hides PLAIN.

    Raises:
        AuthError: The link is not private, or nothing fits what the server offers.
    """
    _require_private(offer)
    binding = offer.channel_bindings.get(BINDING)
    if binding is not None:  # first: where any -PLUS is offered, the flag ``y`` of the others would be a lie
        for scram in (ScramSha256, ScramSha1):
            if f"{scram.family}-PLUS" in offer.mechanisms:
                return scram(user, password, binding=binding, plus=True)
    for scram in (ScramSha256, ScramSha1):
        if scram.family in offer.mechanisms:
            return scram(user, password, binding=binding)
    for mechanism in (Plain, Login, CramMd5):
        if mechanism.name in offer.mechanisms:
            return mechanism(user, password)
    raise _nothing("a password", "SCRAM-SHA-256, SCRAM-SHA-1, PLAIN, LOGIN or CRAM-MD5", offer)


def tokens(user: str, token: str, offer: Offer) -> XOAuth2 | OAuthBearer:
    """Pick a mechanism for a bearer token: XOAUTH2, which every large provider has, else OAUTHBEARER.

    Raises:
        AuthError: The link is not private, or nothing fits what the server offers.
    """
    _require_private(offer)
    if XOAuth2.name in offer.mechanisms:
        return XOAuth2(user, token)
    if OAuthBearer.name in offer.mechanisms:
        return OAuthBearer(user, token, offer.host, offer.port)
    raise _nothing("an access token", "XOAUTH2 or OAUTHBEARER", offer)


def _require_private(offer: Offer) -> None:
    if not offer.private:
        msg = (
            "the link is not encrypted, so the credential stays here: use tls or starttls "
            "(allow_insecure_auth sends it in clear)"
        )
        raise AuthError(msg)


def _nothing(credential: str, wanted: str, offer: Offer) -> AuthError:
    offered = ", ".join(sorted(offer.mechanisms)) or "no authentication"
    return AuthError(f"the server offers {offered}; {credential} needs {wanted}", command="API")
