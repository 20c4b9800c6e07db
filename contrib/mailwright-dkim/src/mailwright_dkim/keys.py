"""Keys: read once, checked before anything is signed with them."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from functools import cached_property
from typing import Final, Literal

from attrs import field, frozen
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from mailwright import Address
from mailwright.errors import AddressError, ConfigurationError

_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_SELECTOR: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
MIN_BITS: Final = 1024  # RFC 8301 §3.2: verifiers take nothing shorter


class DkimError(ConfigurationError):
    """A key, domain or selector that cannot sign; nothing is sent."""


def _domain(value: str) -> str:
    try:
        return Address(f"x@{value}").domain.lower()
    except AddressError as error:
        msg = f"dkim.domain: {value!r} is no domain: {error.message.partition(': ')[2]}"
        raise DkimError(msg) from None


@frozen(kw_only=True, slots=False)
class DkimKey:
    """One key that signs for a domain and what is below it.

    Args:
        domain: The signing domain (``d=``); other scripts are taken to A-labels.
        selector: Where the public key stands: ``<selector>._domainkey.<domain>`` (``s=``).
        private_key: PEM, unencrypted; RSA of at least 1024 bits (take 2048) or Ed25519.

    Raises:
        DkimError: Names what is wrong.
    """

    domain: str = field(converter=_domain)
    selector: str
    private_key: str | bytes = field(repr=False)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.selector, str) or len(self.selector) > 120 or not _SELECTOR.fullmatch(self.selector):
            msg = f"dkim.selector: {self.selector!r} is not a selector such as s2026"
            raise DkimError(msg)
        _ = self._key

    @cached_property
    def _key(self) -> RSAPrivateKey | Ed25519PrivateKey:
        pem = self.private_key.encode() if isinstance(self.private_key, str) else self.private_key
        where = f"dkim.private_key of {self.selector}._domainkey.{self.domain}"
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except TypeError:
            msg = f"{where}: it is encrypted; give it without a passphrase and keep it in a secret store"
            raise DkimError(msg) from None
        except (ValueError, UnsupportedAlgorithm):
            msg = f"{where}: not a private key in PEM (-----BEGIN PRIVATE KEY-----)"
            raise DkimError(msg) from None
        if isinstance(key, RSAPrivateKey):
            if key.key_size < MIN_BITS:
                msg = f"{where}: {key.key_size} bits; receivers ignore RSA keys below {MIN_BITS} (RFC 8301), take 2048"
                raise DkimError(msg)
            return key
        if isinstance(key, Ed25519PrivateKey):
            return key
        msg = f"{where}: neither RSA nor Ed25519"
        raise DkimError(msg)

    @property
    def algorithm(self) -> Literal["rsa-sha256", "ed25519-sha256"]:
        """For ``a=``."""
        return "rsa-sha256" if isinstance(self._key, RSAPrivateKey) else "ed25519-sha256"

    @property
    def record(self) -> str:
        """The TXT record to publish at ``<selector>._domainkey.<domain>``."""
        public = self._key.public_key()
        if isinstance(self._key, RSAPrivateKey):
            kind, form = "rsa", serialization.PublicFormat.SubjectPublicKeyInfo
            data = public.public_bytes(serialization.Encoding.DER, form)
        else:
            kind = "ed25519"
            data = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return f"v=DKIM1; k={kind}; p={b64encode(data).decode()}"

    def sign(self, data: bytes) -> bytes:
        """Sign the header hash's input (RFC 6376 §3.7; for Ed25519 RFC 8463 §3)."""
        if isinstance(self._key, RSAPrivateKey):
            return self._key.sign(data, PKCS1v15(), hashes.SHA256())
        return self._key.sign(hashlib.sha256(data).digest())

    def covers(self, domain: str) -> bool:
        """Whether a signature of this key is aligned with an author's domain (RFC 7489 §3.1.1, relaxed)."""
        return domain == self.domain or domain.endswith(f".{self.domain}")
