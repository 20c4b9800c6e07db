"""One machine a mechanism, made fresh for each attempt."""

from __future__ import annotations

import hashlib
import hmac
from typing import ClassVar

from attrs import field, frozen, mutable

from mailwright.errors import AuthError
from mailwright.sasl.credential import clean_password, clean_token, clean_user


@frozen
class Plain:
    """PLAIN (RFC 4616): user and password in one answer."""

    name: ClassVar[str] = "PLAIN"
    user: str = field(converter=clean_user)
    password: str = field(converter=clean_password, repr=False)

    def start(self) -> bytes:
        """Authorisation identity (none), user, password."""
        return f"\0{self.user}\0{self.password}".encode()

    def step(self, challenge: bytes) -> bytes:
        """Servers without initial responses ask with an empty challenge."""
        del challenge
        return self.start()


@mutable
class Login:
    """LOGIN (expired draft, still common): user, then password, each asked for."""

    name: ClassVar[str] = "LOGIN"
    user: str = field(converter=clean_user)
    password: str = field(converter=clean_password, repr=False)
    _asked: int = field(default=0, init=False)

    def start(self) -> None:
        """It waits to be asked."""

    def step(self, challenge: bytes) -> bytes:
        """Answer the first question with the user, the second with the password, whatever they are called."""
        del challenge
        self._asked += 1
        if self._asked > 2:
            msg = "AUTH LOGIN: the server asks a third time"
            raise AuthError(msg, permanent=True)
        return (self.user if self._asked == 1 else self.password).encode()


@frozen
class CramMd5:
    """CRAM-MD5 (RFC 2195): for servers that offer nothing better."""

    name: ClassVar[str] = "CRAM-MD5"
    user: str = field(converter=clean_user)
    password: str = field(converter=clean_password, repr=False)

    def start(self) -> None:
        """It waits for the challenge."""

    def step(self, challenge: bytes) -> bytes:
        """Keyed digest of the challenge."""
        digest = hmac.new(self.password.encode(), challenge, hashlib.md5).hexdigest()
        return f"{self.user} {digest}".encode()


@frozen
class XOAuth2:
    """XOAUTH2 (Google, Microsoft): a bearer token; a challenge is the server's error, answered with an empty line."""

    name: ClassVar[str] = "XOAUTH2"
    user: str = field(converter=clean_user)
    token: str = field(converter=clean_token, repr=False)

    def start(self) -> bytes:
        """User and token."""
        return f"user={self.user}\x01auth=Bearer {self.token}\x01\x01".encode()

    def step(self, challenge: bytes) -> bytes:
        """An error as JSON: the final reply follows an empty answer."""
        del challenge
        return b""


@frozen
class OAuthBearer:
    """OAUTHBEARER (RFC 7628): the standard's bearer token."""

    name: ClassVar[str] = "OAUTHBEARER"
    user: str = field(converter=clean_user)
    token: str = field(converter=clean_token, repr=False)
    host: str = ""
    port: int = 0

    def start(self) -> bytes:
        """gs2 header, host, port, token."""
        user = self.user.replace("=", "=3D").replace(",", "=2C")
        return f"n,a={user},\x01host={self.host}\x01port={self.port}\x01auth=Bearer {self.token}\x01\x01".encode()

    def step(self, challenge: bytes) -> bytes:
        """An error as JSON, answered with a single %x01 (§3.2.3)."""
        del challenge
        return b"\x01"


def _identity(value: str) -> str:
    return clean_user(value) if value else value


@frozen
class External:
    """EXTERNAL (RFC 4422 appendix A): the TLS client certificate is the credential."""

    name: ClassVar[str] = "EXTERNAL"
    user: str = field(default="", converter=_identity)

    def start(self) -> bytes:
        """The identity to act as; empty: the certificate's own."""
        return self.user.encode()

    def step(self, challenge: bytes) -> bytes:
        """Servers without initial responses ask with an empty challenge."""
        del challenge
        return self.start()
