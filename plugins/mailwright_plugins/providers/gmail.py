"""Gmail and Google Workspace over SMTP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from attrs import frozen

from mailwright import hookimpl
from mailwright.spi import AuthTarget, Limits, Pairing, Provider, Reply, Settings, SmtpEndpoint

_HOST: Final = "smtp.gmail.com"
_PERSONAL: Final = ("gmail.com", "googlemail.com")


@frozen(kw_only=True)
class GmailSettings(Settings):
    """Nothing to set."""


_MEANINGS: Final = (
    ("5.7.8", "", "Gmail takes OAuth2 or an app password, never the account's own password: make one at myaccount.google.com/apppasswords"),
    ("5.7.9", "", "Gmail takes OAuth2 or an app password, never the account's own password: make one at myaccount.google.com/apppasswords"),
    ("5.7.14", "", "Google wants to see the person: log in with a browser, then try again; OAuth2 is not asked this"),
    ("5.7.0", "authentication required", "the connection did not log in: give it auth"),
    ("5.4.5", "", "the daily sending limit is reached (500 recipients for gmail.com, 2,000 messages for Workspace); it is lifted within 24 hours"),
    ("4.7.0", "ehlo", "Google does not like the EHLO name: set local_hostname to a name that resolves"),
    ("4.2.1", "", "too much mail in a short time: lower limits.rate"),
    ("5.7.1", "limit", "the relay's limit of the organisation is reached; it is lifted within 24 hours"),
    ("5.7.26", "", "the receiver wants SPF or DKIM of the From domain to pass: publish them, or send as the account itself"),
)  # fmt: skip


def _explain(reply: Reply) -> str | None:
    text = reply.text.lower()
    return next((why for code, words, why in _MEANINGS if reply.enhanced == code and words in text), None)


def _target(settings: GmailSettings) -> AuthTarget:
    return AuthTarget(
        protocol="smtp",
        host=_HOST,
        scopes=("https://mail.google.com/",),
        oauth_urls={
            "token": "https://oauth2.googleapis.com/token",
            "authorize": "https://accounts.google.com/o/oauth2/v2/auth",
            "revoke": "https://oauth2.googleapis.com/revoke",
        },
        login={"access_type": "offline", "prompt": "consent"},  # else no refresh token after the first consent
        rotates=False,
    )


def _endpoints(settings: GmailSettings) -> tuple[SmtpEndpoint, ...]:
    return SmtpEndpoint(host=_HOST, port=465, tls="tls"), SmtpEndpoint(host=_HOST, port=587, tls="starttls")


def _advise(settings: GmailSettings, pairing: Pairing) -> Iterable[str]:
    if pairing.auth is None:
        yield "$.auth: Gmail lets nobody send without a login: use oauth2, or basic with an app password"
    if pairing.sender and pairing.user and pairing.sender.lower() != pairing.user.lower():
        yield (
            f"$.from: Gmail replaces {pairing.sender} by {pairing.user}, unless it is a verified alias "
            "(Gmail settings, Accounts, Send mail as)"
        )


@hookimpl
def mailwright_providers() -> Iterable[Provider[Any]]:
    """One provider."""
    yield Provider(
        name="gmail",
        title="Gmail and Google Workspace",
        note=(
            "Takes OAuth2, a service account (Workspace), or an app password (2-Step Verification). 100 recipients a message; "
            "500 (gmail.com) or 2,000 messages (Workspace) a day. A From that is not the account's is replaced."
        ),
        settings=GmailSettings,
        auth=("oauth2", "google_service_account", "basic", "external_token"),
        target=_target,
        endpoint=lambda settings: _endpoints(settings)[0],
        offers=_endpoints,
        limits=Limits(recipients=100, size=35_882_577),
        explain=_explain,
        advise=_advise,
        aliases=("googlemail", "google-workspace", "workspace"),
        domains=_PERSONAL,
        sources=(
            "ISPDB thunderbird/autoconfig@c6ad7965 (2026-03-12): googlemail.com",
            "nodemailer services.json@2f667f42 (2026-08-07): Gmail",
            "developers.google.com xoauth2-protocol (2026)",
            "support.google.com/a/answer/166852 (undated)",
        ),
    )
