"""Outlook.com and Microsoft 365 over SMTP: tenants and sovereign clouds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, Literal

from attrs import field, frozen

from mailwright import hookimpl
from mailwright.errors import ConfigurationError
from mailwright.spi import AuthTarget, Limits, Pairing, Provider, Reply, Settings, SmtpEndpoint

Cloud = Literal["worldwide", "us-gov", "china"]
_CLOUDS: Final = {
    "worldwide": ("smtp.office365.com", "login.microsoftonline.com", "outlook.office.com", "outlook.office365.com"),
    "us-gov": ("smtp.office365.us", "login.microsoftonline.us", "outlook.office365.us", "outlook.office365.us"),
    "china": (
        "smtp.partner.outlook.cn",
        "login.partner.microsoftonline.cn",
        "partner.outlook.cn",
        "partner.outlook.cn",
    ),
}
"""SMTP host, login host, audience of people's tokens, audience of applications' tokens."""
_TENANT: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_PASSWORDS_END: Final = "Microsoft turns passwords off by default at the end of December 2026 (MC786329): use oauth2 or oauth2_client_credentials"


@frozen(kw_only=True)
class OutlookSettings(Settings):
    """Nothing to set."""


@frozen(kw_only=True)
class Microsoft365Settings(Settings):
    """Which directory, in which cloud."""

    tenant: str = field(
        default="organizations",
        metadata={
            "title": "Tenant",
            "description": "Directory (tenant) ID or domain; single-tenant apps and app-only login need it.",
        },
    )
    cloud: Cloud = field(
        default="worldwide",
        metadata={"title": "Cloud", "description": "us-gov is GCC High and DoD, china is 21Vianet."},
    )

    def __attrs_post_init__(self) -> None:
        if not _TENANT.fullmatch(self.tenant):
            msg = "tenant: an ID, a domain, or organizations"
            raise ConfigurationError(msg)


_MEANINGS: Final = (
    (
        "5.7.139",
        "smtpclientauthentication",
        "SMTP AUTH is off for this mailbox or tenant: its administrator enables it (Set-CASMailbox -SmtpClientAuthenticationDisabled $false)",
    ),
    ("5.7.139", "criteria", "conditional access or security defaults forbid this login: ask the administrator"),
    ("5.7.139", "credentials were incorrect", "the user or password is wrong"),
    ("5.7.139", "", "Microsoft takes no password here: use auth.type = oauth2"),
    ("5.7.30", "", "Microsoft takes no password here: use auth.type = oauth2"),
    (
        "5.7.3",
        "",
        (
            "the token does not fit: it needs SMTP.Send (or SMTP.SendAsApp and a service principal with access to the mailbox), "
            "and must belong to auth.user"
        ),
    ),
    ("5.7.57", "", "the connection did not log in: give it auth, and enable SMTP AUTH for the mailbox"),
    ("5.7.60", "", "this account may not send with that From address: grant Send As"),
    ("5.2.252", "", "this account may not send with that From address: grant Send As"),
    ("5.2.2", "full", "the mailbox is full: sent mail is stored there; empty it"),
    ("5.2.0", "submissionquotaexceeded", "the daily limit of 10,000 recipients is reached"),
    ("4.3.2", "concurrent", "too many sessions at one time: set limits.connections to 3 or less"),
    ("4.7.500", "", "Microsoft slows this sender down: lower limits.rate (30 messages a minute)"),
    ("5.7.515", "", "the receiver wants SPF, DKIM and DMARC of the From domain to pass"),
)
"""Enhanced code, words in the text (Microsoft reuses codes), cause and fix; the first that fits counts."""


def _explain(reply: Reply) -> str | None:
    text = reply.text.lower()
    return next((why for code, words, why in _MEANINGS if reply.enhanced == code and words in text), None)


def _oauth_target(host: str, login: str, tenant: str, audience: str, app_audience: str) -> AuthTarget:
    base = f"https://{login}/{tenant}/oauth2/v2.0"
    return AuthTarget(
        protocol="smtp",
        host=host,
        scopes=(f"https://{audience}/SMTP.Send", "offline_access"),
        app_scopes=(f"https://{app_audience}/.default",),
        oauth_urls={"token": f"{base}/token", "authorize": f"{base}/authorize", "device": f"{base}/devicecode"},
        login={"redirect_host": "localhost"},  # Entra ignores the port of localhost only
    )


def _outlook_target(settings: OutlookSettings) -> AuthTarget:
    _, login, audience, app_audience = _CLOUDS["worldwide"]
    return _oauth_target("smtp-mail.outlook.com", login, "consumers", audience, app_audience)


def _outlook_endpoints(settings: OutlookSettings) -> tuple[SmtpEndpoint, ...]:
    return (SmtpEndpoint(host="smtp-mail.outlook.com", port=587, tls="starttls"),)


def _target(settings: Microsoft365Settings) -> AuthTarget:
    host, login, audience, app_audience = _CLOUDS[settings.cloud]
    return _oauth_target(host, login, settings.tenant, audience, app_audience)


def _endpoints(settings: Microsoft365Settings) -> tuple[SmtpEndpoint, ...]:
    return (SmtpEndpoint(host=_CLOUDS[settings.cloud][0], port=587, tls="starttls"),)


def _advise(settings: object, pairing: Pairing) -> Iterable[str]:
    if pairing.auth is None:
        yield "$.auth: Microsoft lets nobody send without a login: use oauth2"
    if pairing.auth == "basic" and isinstance(settings, OutlookSettings):
        yield "$.auth.type: Outlook.com takes no passwords since September 2024, app passwords included: use oauth2"
    elif pairing.auth == "basic":
        yield f"$.auth.type: {_PASSWORDS_END}"
    if pairing.sender and pairing.user and pairing.sender.lower() != pairing.user.lower():
        yield (
            f"$.from: Microsoft refuses {pairing.sender} for the login {pairing.user} unless it may Send As: "
            "leave from away, or have the right granted"
        )


@hookimpl
def mailwright_providers() -> Iterable[Provider[Any]]:
    """Two providers."""
    yield Provider(
        name="outlook",
        title="Outlook.com",
        note="Needs OAuth2: Microsoft no longer takes passwords of personal accounts.",
        settings=OutlookSettings,
        auth=("oauth2", "basic", "external_token"),
        target=_outlook_target,
        endpoint=lambda settings: _outlook_endpoints(settings)[0],
        offers=_outlook_endpoints,
        limits=Limits(connections=3, rate=0.5, recipients=500),
        explain=_explain,
        advise=_advise,
        aliases=("hotmail", "live", "msn"),
        domains=("outlook.com", "hotmail.com", "live.com", "msn.com", "windowslive.com"),
        sources=(
            "ISPDB thunderbird/autoconfig@c6ad7965 (2026-03-12): hotmail.com",
            "nodemailer services.json@2f667f42 (2026-08-07): Hotmail",
            "press on Microsoft's notice: passwords ended 2024-09-16",
            "daily limits: not confirmed",
        ),
    )
    yield Provider(
        name="microsoft365",
        title="Microsoft 365",
        note=(
            "Use OAuth2: passwords end in December 2026. SMTP AUTH must be on for the mailbox, for OAuth2 too. 30 messages a "
            "minute, 3 sessions, 10,000 recipients a day."
        ),
        settings=Microsoft365Settings,
        auth=("oauth2_client_credentials", "oauth2", "entra_certificate", "basic", "external_token"),
        target=_target,
        endpoint=lambda settings: _endpoints(settings)[0],
        offers=_endpoints,
        limits=Limits(connections=3, rate=0.5, recipients=1000),
        explain=_explain,
        advise=_advise,
        aliases=("office365", "outlook365", "exchange-online", "m365"),
        domains=("onmicrosoft.com", "office365.com"),
        sources=(
            "ISPDB thunderbird/autoconfig@c6ad7965 (2026-03-12): office365.com",
            "nodemailer services.json@2f667f42 (2026-08-07): Outlook365",
            "MicrosoftDocs, concurrent connections (2025-06-12)",
            "MC786329 (2026-01-27): end of passwords",
            "emailengine (2026-08-22): sovereign clouds",
        ),
    )
