"""Signed assertions (RFC 7523): Google's service accounts, Entra's certificates. PyJWT signs."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from mailwright.errors import AuthError, ConfigurationError
from mailwright.model import JwtGrant

LIFETIME_S: Final = 3600
CLIENT_LIFETIME_S: Final = 600


def account_assertion(grant: JwtGrant, key: str, *, now_s: int) -> str:
    """The JWT of a service account (RFC 7523 §3): RS256, in the name of the subject.

    Args:
        grant: Whose.
        key: PEM text, or the JSON key file's text.
        now_s: Seconds since 1970.

    Raises:
        AuthError: The key cannot be used.
    """
    issuer, key_id = grant.issuer, grant.key_id
    if key.lstrip().startswith("{"):
        found = _key_file(key)
        key, issuer, key_id = found["private_key"], issuer or found["client_email"], key_id or found["private_key_id"]
    if not issuer:
        raise _unusable("$.auth.client_email: missing, and the key is no JSON key file that could say it")
    claims = {"iss": issuer, "sub": grant.subject, "aud": grant.token_url, "iat": now_s, "exp": now_s + LIFETIME_S}
    claims |= {"scope": " ".join(grant.scopes)} if grant.scopes else {}
    return _sign(claims, key, {"kid": key_id} if key_id else {}, field="$.auth.key")


def client_assertion(client_id: str, token_url: str, pem: str, *, now_s: int, unique: str) -> str:
    """The JWT with which a client proves that it has a certificate's key, as Entra ID wants it: PS256 and x5t#S256.

    Args:
        client_id: Issuer and subject.
        token_url: Audience.
        pem: Certificate and private key.
        now_s: Seconds since 1970.
        unique: Its ``jti``.

    Raises:
        AuthError: Certificate or key cannot be used.
    """
    claims = {
        "iss": client_id, "sub": client_id, "aud": token_url, "jti": unique,
        "iat": now_s, "nbf": now_s, "exp": now_s + CLIENT_LIFETIME_S,
    }  # fmt: skip
    return _sign(claims, pem, {"x5t#S256": _thumbprint(pem)}, field="$.auth.certificate", algorithm="PS256")


def _key_file(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        raise _unusable("$.auth.key: starts like JSON and is none") from None
    names = ("private_key", "client_email", "private_key_id")
    if missing := [name for name in names if not isinstance(found.get(name), str)]:
        raise _unusable(f"$.auth.key: the JSON key file lacks {', '.join(missing)}: download the key again")
    return {name: found[name] for name in names}


def _thumbprint(pem: str) -> str:
    _needed()
    from cryptography import x509  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415

    try:
        digest = x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256())
    except ValueError:
        raise _unusable(
            "$.auth.certificate: holds no certificate in PEM; put key and certificate into one file"
        ) from None
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _sign(claims: dict[str, Any], pem: str, headers: dict[str, str], *, field: str, algorithm: str = "RS256") -> str:
    _needed()
    import jwt  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(_private_part(pem).encode(), None)
        return str(jwt.encode(claims, key, algorithm, headers))  # type: ignore[arg-type]
    except (ValueError, TypeError, jwt.PyJWTError):  # their texts may quote the key
        raise _unusable(f"{field}: holds no unencrypted RSA key in PEM") from None


def _private_part(pem: str) -> str:
    start, end = pem.find("-----BEGIN"), -1
    while start >= 0:
        label = pem[start + 11 : pem.find("-----", start + 11)]
        end = pem.find(f"-----END {label}-----", start)
        if label.endswith("PRIVATE KEY") and end > 0:
            return pem[start : end + len(label) + 14]
        start = pem.find("-----BEGIN", start + 10)
    return pem


def _needed() -> None:
    try:
        import cryptography  # noqa: F401, PLC0415 - an extra
        import jwt  # noqa: F401, PLC0415
    except ImportError:
        msg = 'signed assertions need an extra: pip install "mailwright[oauth-jwt]"'
        raise ConfigurationError(msg) from None


def _unusable(message: str) -> AuthError:
    return AuthError(message, stage="prepare", command="API")
