"""SCRAM (RFC 5802, 7677): the password never crosses, and the server must prove that it knows it too.

SMTP has no data in its success reply, so the server's proof comes in a challenge of its own, answered with nothing
(RFC 4954 §4). A login that succeeds without it was not checked: `complete` stays False.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from typing import ClassVar, Final, Literal

from attrs import field, mutable

from mailwright.errors import AuthError
from mailwright.sasl.credential import clean_password, clean_user
from mailwright.sasl.saslprep import saslprep

BINDING: Final = "tls-server-end-point"
MIN_ITERATIONS: Final = 4096  # RFC 7677 §4
MAX_ITERATIONS: Final = 1_000_000  # a hostile server must not keep the processor
_FIRST = re.compile(r"r=([!-+\--~]+),s=([A-Za-z0-9+/]+=*),i=([1-9][0-9]{0,8})(?:,.*)?")


def _prepared(value: str) -> str:
    """Prepare where that is possible; servers store what is not as it is."""
    try:
        return saslprep(value)
    except ValueError:
        return value


def _nonce() -> str:
    """Fresh, always: a nonce that somebody could forget to hand in would be worse than an impure default."""
    return base64.b64encode(os.urandom(18)).decode("ascii")


@mutable
class _Scram:
    """One exchange.

    Args:
        user: Authentication identity.
        password: Its password.
        binding: ``tls-server-end-point`` data of the session, None without TLS.
        plus: Bind the login to the TLS session.
        nonce: Printable ASCII without commas.
    """

    family: ClassVar[str]
    function: ClassVar[Literal["sha1", "sha256"]]

    user: str = field(converter=clean_user)
    password: str = field(converter=clean_password, repr=False)
    binding: bytes | None = field(default=None, repr=False, kw_only=True)
    plus: bool = field(default=False, kw_only=True)
    nonce: str = field(factory=_nonce, repr=False, kw_only=True)
    complete: bool = field(default=False, init=False)
    _bare: str = field(default="", init=False, repr=False)
    _signature: bytes = field(default=b"", init=False, repr=False)
    _steps: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        if self.plus and self.binding is None:
            raise AuthError(f"AUTH {self.name}: there is no TLS session to bind to")

    @property
    def name(self) -> str:
        """With ``-PLUS`` when bound."""
        return f"{self.family}-PLUS" if self.plus else self.family

    @property
    def _gs2(self) -> str:
        """``y``: we could bind, the server did not offer it; it can tell that an attacker hid its offer (§6)."""
        if self.plus:
            return f"p={BINDING},,"
        return "y,," if self.binding is not None else "n,,"

    def start(self) -> bytes:
        """Client-first message."""
        user = _prepared(self.user).replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={user},r={self.nonce}"
        return f"{self._gs2}{self._bare}".encode()

    def step(self, challenge: bytes) -> bytes:
        """Prove, then check the server's proof."""
        self._steps += 1
        if self._steps == 1:
            return self._prove(challenge)
        if self._steps == 2:
            return self._check(challenge)
        raise self._wrong("asks a third time")

    def _prove(self, challenge: bytes) -> bytes:
        first = challenge.decode("utf-8", "replace")
        found = _FIRST.fullmatch(first)
        if found is None:
            raise self._wrong("sent a challenge that is none")
        nonce, salt, count = found.group(1), _decoded(found.group(2)), int(found.group(3))
        if not nonce.startswith(self.nonce) or len(nonce) == len(self.nonce):
            raise self._wrong("did not repeat our nonce and add its own")
        if salt is None or not MIN_ITERATIONS <= count <= MAX_ITERATIONS:
            raise self._wrong(f"wants {count} iterations; {MIN_ITERATIONS} to {MAX_ITERATIONS} are acceptable")
        bound = self._gs2.encode() + (self.binding if self.plus and self.binding else b"")
        last = f"c={base64.b64encode(bound).decode('ascii')},r={nonce}"
        signed = f"{self._bare},{first},{last}".encode()
        salted = hashlib.pbkdf2_hmac(self.function, _prepared(self.password).encode(), salt, count)
        key = self._hmac(salted, b"Client Key")
        signature = self._hmac(hashlib.new(self.function, key).digest(), signed)
        proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        self._signature = self._hmac(self._hmac(salted, b"Server Key"), signed)
        return f"{last},p={base64.b64encode(proof).decode('ascii')}".encode()

    def _check(self, challenge: bytes) -> bytes:
        if challenge.startswith(b"e="):
            return b""  # the refusal follows
        kind, _, value = challenge.partition(b",")[0].partition(b"=")
        signature = _decoded(value.decode("ascii", "replace")) if kind == b"v" else None
        if signature is None or not hmac.compare_digest(signature, self._signature):
            raise self._wrong("does not know the password: it is not who it says")
        self.complete = True
        return b""

    def _hmac(self, key: bytes, data: bytes) -> bytes:
        return hmac.digest(key, data, self.function)

    def _wrong(self, what: str) -> AuthError:
        return AuthError(f"AUTH {self.name}: the server {what}", command=f"AUTH {self.name}")


@mutable
class ScramSha256(_Scram):
    """SCRAM-SHA-256 (RFC 7677), and -PLUS."""

    family: ClassVar[str] = "SCRAM-SHA-256"
    function: ClassVar[Literal["sha1", "sha256"]] = "sha256"


@mutable
class ScramSha1(_Scram):
    """SCRAM-SHA-1 (RFC 5802), and -PLUS."""

    family: ClassVar[str] = "SCRAM-SHA-1"
    function: ClassVar[Literal["sha1", "sha256"]] = "sha1"


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
