"""Channel bindings (RFC 5929): what ties a login to the very TLS session it runs in."""

from __future__ import annotations

import hashlib
from typing import Final

_RSA: Final = bytes.fromhex("2a864886f70d0101")
_ECDSA: Final = bytes.fromhex("2a8648ce3d04")
_HASHES: Final = {  # object identifiers of signature algorithms; MD5 and SHA-1 count as SHA-256 (§4.1)
    _RSA + b"\x04": "sha256",
    _RSA + b"\x05": "sha256",
    _RSA + b"\x0b": "sha256",
    _RSA + b"\x0c": "sha384",
    _RSA + b"\x0d": "sha512",
    _RSA + b"\x0e": "sha224",
    _ECDSA + b"\x01": "sha256",
    _ECDSA + b"\x03\x01": "sha224",
    _ECDSA + b"\x03\x02": "sha256",
    _ECDSA + b"\x03\x03": "sha384",
    _ECDSA + b"\x03\x04": "sha512",
}


def server_end_point(certificate: bytes) -> bytes | None:
    """``tls-server-end-point`` of a DER certificate; None where RFC 5929 defines none, as for Ed25519."""
    try:
        body, _ = _element(certificate, 0x30)
        _, rest = _element(body, 0x30)
        algorithm, _ = _element(rest, 0x30)
        name, _ = _element(algorithm, 0x06)
    except (IndexError, ValueError):
        return None
    function = _HASHES.get(name)
    return hashlib.new(function, certificate).digest() if function else None


def _element(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Content of the first DER element, and what follows it."""
    if data[0] != tag:
        raise ValueError("another element was expected")
    start, length = 2, data[1]
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if start + length > len(data):
        raise ValueError("it is cut off")
    return data[start : start + length], data[start + length :]
