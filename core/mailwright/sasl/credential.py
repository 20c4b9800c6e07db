"""What a credential may consist of: nothing that ends a field inside an answer (RFC 4616 §2, RFC 7628 §3.1)."""

from __future__ import annotations

import re

from mailwright.errors import AuthError

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def _clean(name: str, value: str) -> str:
    if not value or _FORBIDDEN.search(value):
        msg = f"$.auth.{name}: {'it is empty' if not value else 'control characters are not allowed in a credential'}"
        raise AuthError(msg, stage="prepare", command="API")
    return value


def clean_user(value: str) -> str:
    """A user."""
    return _clean("user", value)


def clean_password(value: str) -> str:
    """A password."""
    return _clean("password", value)


def clean_token(value: str) -> str:
    """A bearer token."""
    return _clean("access_token", value)
