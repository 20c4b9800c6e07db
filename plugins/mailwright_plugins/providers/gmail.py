"""Gmail and Google Workspace over SMTP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import frozen

from mailwright import hookimpl
from mailwright.spi import AuthTarget, Limits, Provider, Reply, Settings, SmtpEndpoint


@frozen(kw_only=True)
class GmailSettings(Settings):
    """Nothing to set."""


def _target(settings: GmailSettings) -> AuthTarget:
    return AuthTarget(
        protocol="smtp",
        host="smtp.gmail.com",
        scopes=("https://mail.google.com/",),
        oauth_urls={
            "token": "https://oauth2.googleapis.com/token",
            "authorize": "https://accounts.google.com/o/oauth2/v2/auth",
        },
    )


def _endpoint(settings: GmailSettings) -> SmtpEndpoint:
    return SmtpEndpoint(host="smtp.gmail.com", port=465, tls="tls")


def _explain(reply: Reply) -> str | None:
    if reply.enhanced in {"5.7.8", "5.7.9"}:
        return "Gmail takes OAuth2 or an app password, never the account's own password"
    if reply.enhanced == "5.4.5":
        return "the daily sending limit is reached; it is lifted within 24 hours"
    return None


@hookimpl
def mailwright_providers() -> Iterable[Provider[Any]]:
    """One provider."""
    yield Provider(
        name="gmail",
        title="Gmail",
        note="Needs OAuth2, or an app password (2-Step Verification). 500 messages a day; 100 recipients a message.",
        settings=GmailSettings,
        auth=("oauth2", "basic"),
        target=_target,
        endpoint=_endpoint,
        limits=Limits(recipients=100, size=35_882_577),
        explain=_explain,
    )
