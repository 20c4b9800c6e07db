"""Outlook.com over SMTP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import frozen

from mailwright import hookimpl
from mailwright.spi import AuthTarget, Limits, Provider, Reply, Settings, SmtpEndpoint


@frozen(kw_only=True)
class OutlookSettings(Settings):
    """Nothing to set."""


_HOST = "smtp-mail.outlook.com"
_LOGIN = "https://login.microsoftonline.com/common/oauth2/v2.0"


_MEANINGS = (
    (
        "5.7.139",
        "smtpclientauthentication",
        "SMTP AUTH is off for this mailbox or tenant: its administrator enables it",
    ),
    ("5.7.139", "criteria", "conditional access or security defaults forbid this login: ask the administrator"),
    ("5.7.139", "credentials were incorrect", "the user or password is wrong"),
    ("5.7.139", "", "Microsoft takes no password here: use auth.type = oauth2"),
    ("5.7.30", "", "Microsoft takes no password here: use auth.type = oauth2"),
    ("5.7.3", "", "the token does not fit: check its scope (SMTP.Send) and that it belongs to auth.user"),
    ("5.7.57", "", "the connection did not log in: give it auth"),
    ("5.2.252", "", "this account may not send with that From address"),
    ("5.2.0", "submissionquotaexceeded", "the daily limit of recipients is reached"),
    ("4.3.2", "concurrent", "too many sessions at one time: set limits.connections to 3 or less"),
)
"""Enhanced code, words in the text (Microsoft reuses codes), cause and fix; the first that fits counts."""


def _target(settings: OutlookSettings) -> AuthTarget:
    return AuthTarget(
        protocol="smtp",
        host=_HOST,
        scopes=("https://outlook.office.com/SMTP.Send", "offline_access"),
        oauth_urls={"token": f"{_LOGIN}/token", "authorize": f"{_LOGIN}/authorize", "device": f"{_LOGIN}/devicecode"},
    )


def _endpoint(settings: OutlookSettings) -> SmtpEndpoint:
    return SmtpEndpoint(host=_HOST, port=587, tls="starttls")


def _explain(reply: Reply) -> str | None:
    text = reply.text.lower()
    for enhanced, words, meaning in _MEANINGS:
        if reply.enhanced == enhanced and words in text:
            return meaning
    return None


@hookimpl
def mailwright_providers() -> Iterable[Provider[Any]]:
    """One provider."""
    yield Provider(
        name="outlook",
        title="Outlook.com",
        note="Needs OAuth2: Microsoft no longer takes passwords.",
        settings=OutlookSettings,
        auth=("oauth2", "basic"),
        target=_target,
        endpoint=_endpoint,
        limits=Limits(connections=3, rate=0.5, recipients=500),
        explain=_explain,
    )
