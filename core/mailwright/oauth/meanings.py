"""Token errors → what to do next. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

_NEXT: Final = {
    "invalid_grant": (
        "the refresh token was revoked, replaced or has expired (password changed, consent withdrawn, unused too long, "
        "or a Google app in 'Testing', whose tokens last 7 days)"
    ),
    "invalid_client": "client_id or client_secret is wrong, or the secret has expired: make a new one where the app is registered",
    "unauthorized_client": "the app is not allowed to use this grant: enable it where the app is registered",
    "invalid_scope": "the app may not ask for these scopes: add the permission where it is registered",
    "scope_lost": "the account or its administrator did not consent to sending mail",
    "access_denied": "the person or the administrator said no",
    "unsupported_grant_type": "this is not the token URL of the provider, or it does not offer this grant",
}
_ENTRA: Final = (
    ("AADSTS7000215", "the client secret is wrong: use its value, not its ID"),
    ("AADSTS7000222", "the client secret has expired: make a new one in the app registration"),
    ("AADSTS700016", "no app with this client_id in this tenant: check client_id and options.tenant"),
    ("AADSTS90002", "there is no such tenant: check options.tenant or the token URL"),
    ("AADSTS900023", "there is no such tenant: check options.tenant or the token URL"),
    ("AADSTS50194", "a single-tenant app needs its tenant: set options.tenant"),
    ("AADSTS65001", "nobody consented yet: log in again, or let an administrator grant consent"),
    ("AADSTS50076", "multi-factor authentication is due: log in again"),
    ("AADSTS50079", "multi-factor authentication is due: log in again"),
    ("AADSTS50173", "the password was changed: log in again"),
    ("AADSTS700082", "the refresh token was not used for 90 days: log in again"),
    ("AADSTS70043", "the refresh token has expired by policy: log in again"),
    ("AADSTS53003", "conditional access forbids it: ask the administrator"),
    ("AADSTS700027", "the certificate does not fit the one uploaded to the app registration"),
    ("AADSTS7000218", "the app is no public client: give client_secret, or allow public client flows"),
    ("AADSTS1002012", "app-only tokens are asked for with one scope that ends in /.default"),
)


def next_step(error: str, description: str, *, name: str | None, personal: bool) -> str:
    """What to do about a refusal.

    Args:
        error: The server's code.
        description: Its words.
        name: The saved connection.
        personal: Whether a person can log in again.

    Returns:
        Empty when there is nothing to say.
    """
    meaning = next((text for code, text in _ENTRA if code in description), _NEXT.get(error, ""))
    if personal and error in {"invalid_grant", "scope_lost", "interaction_required", "access_denied"}:
        login = f"run: mailwright auth login {name}" if name else "get a new refresh token"
        return f"{meaning}; {login}" if meaning else login
    return meaning


def without(text: str, secrets: Iterable[str]) -> str:
    """The text without secrets, which some servers repeat: plain, in base64, percent-encoded."""
    for secret in secrets:
        if len(secret) < 4:
            continue
        raw = secret.encode()
        forms = {secret, quote(secret, safe=""), quote_plus(secret), quote(secret)}
        forms |= {coded(raw).decode().rstrip("=") for coded in (base64.b64encode, base64.urlsafe_b64encode)}
        for form in sorted(forms, key=len, reverse=True):
            text = text.replace(form, "[credential]")
    return text
