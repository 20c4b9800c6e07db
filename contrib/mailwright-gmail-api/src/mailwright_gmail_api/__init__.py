"""The Gmail API: mail with the permission to send (gmail.send), without that to read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import evolve, frozen

from mailwright import hookimpl
from mailwright.errors import ApiError, HttpError, MailwrightError, MessageError
from mailwright.http_api import MailApi, misaddressed, undelivered
from mailwright.spi import (
    AuthTarget,
    Capabilities,
    HttpRequest,
    HttpResponse,
    Limits,
    Opening,
    Pairing,
    Provider,
    Reply,
    Report,
    Settings,
    Submission,
)

MAILWRIGHT_SPI_VERSION = 1
MAX_SIZE: Final = 36_700_160
WHOLE: Final = 5_000_000  # octets; larger messages go through an upload session, which can be asked what became of it
_HOST: Final = "gmail.googleapis.com"
_UPLOAD: Final = f"https://{_HOST}/upload/gmail/v1/users/me/messages/send"
_SESSION: Final = f"https://{_HOST}/resumable/upload/gmail/v1/users/me/messages/send"
_QUOTAS: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded"})


@frozen(kw_only=True)
class GmailApiSettings(Settings):
    """Nothing to set."""


class GmailTransport:
    """One request for each message; two where it is large."""

    capabilities = Capabilities(recipients="headers", per_recipient=False)

    def __init__(self, settings: GmailApiSettings, opening: Opening) -> None:
        self._api = MailApi(opening, wording=_wording, transient=lambda answer: bool(_reasons(answer) & _QUOTAS))

    async def deliver(self, submission: Submission) -> Report:
        """Try once."""
        size = submission.composed.size
        if error := misaddressed(submission):
            return undelivered(submission.envelope, error)
        if size > MAX_SIZE:
            msg = f"the message has {size} bytes, the Gmail API takes {MAX_SIZE}"
            return undelivered(submission.envelope, MessageError(msg))
        request = HttpRequest(
            method="POST",
            url=f"{_UPLOAD}?uploadType=media",
            headers={"Content-Type": "message/rfc822"},
            body=lambda: aiter(submission.composed),
            size=size,
        )
        if size <= WHOLE:
            return await self._api.submit(submission, request, read=_taken(submission))
        return await self._in_session(submission, request)

    async def _in_session(self, submission: Submission, request: HttpRequest) -> Report:
        try:
            url = await self._session(submission)
        except MailwrightError as error:
            return undelivered(submission.envelope, error)
        report = await self._api.submit(submission, evolve(request, method="PUT", url=url), read=_taken(submission))
        if any(status.outcome == "unknown" for status in report.statuses):
            report = await self._asked(submission, url, report)
        return report

    async def _session(self, submission: Submission) -> str:
        """Its URL is a credential: it stays out of errors."""
        headers = {
            "X-Upload-Content-Type": "message/rfc822",
            "X-Upload-Content-Length": str(submission.composed.size),
            "Content-Length": "0",
        }
        request = HttpRequest(method="POST", url=f"{_SESSION}?uploadType=resumable", headers=headers)
        answer = await self._api.ask(request, until=submission.deadline)
        url = answer.headers.get("location", "")
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.hostname != _HOST:
            raise HttpError(f"{_HOST} names no upload session of its own")
        return url

    async def _asked(self, submission: Submission, url: str, report: Report) -> Report:
        """The session knows what became of an upload whose answer was lost."""
        headers = {"Content-Range": f"bytes */{submission.composed.size}", "Content-Length": "0"}
        try:
            answer = await self._api.ask(HttpRequest(method="PUT", url=url, headers=headers), until=submission.deadline)
            return _taken(submission)(answer)
        except ApiError as error:
            if error.reply is not None and error.reply.code == 308:
                broken = HttpError(f"{_HOST}: the connection broke before the message was there")
                return undelivered(submission.envelope, broken)
        except (MailwrightError, ValueError, LookupError, TypeError):
            pass
        return report

    async def verify(self) -> AsyncIterator[str]:
        """Whether Google takes the token. Looking at the mailbox needs more than gmail.send: no harm if it is forbidden."""
        try:
            await self._api.ask(HttpRequest(method="GET", url=f"https://{_HOST}/gmail/v1/users/me/profile"))
        except ApiError as error:
            if error.reply is None or error.reply.code != 403:
                raise
            yield "Google takes the token; it may not look at the mailbox, which sending does not need"
        else:
            yield "Google takes the token and knows the mailbox"

    async def aclose(self) -> None:
        """Nothing is kept open between messages."""


def _taken(submission: Submission) -> Callable[[HttpResponse], Report]:
    def read(response: HttpResponse) -> Report:
        reply = Reply(protocol="http", code=response.status)
        report = Report.all(submission.envelope, "accepted", stage="http", reply=reply)
        return evolve(report, server_id=str(json.loads(response.body)["id"])[:100])

    return read


def _error(answer: HttpResponse) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    error = found.get("error") if isinstance(found, dict) else None
    return error if isinstance(error, dict) else {}


def _reasons(answer: HttpResponse) -> set[str]:
    entries = _error(answer).get("errors")
    return (
        {str(entry.get("reason")) for entry in entries if isinstance(entry, dict)}
        if isinstance(entries, list)
        else set()
    )


def _wording(answer: HttpResponse) -> str:
    pieces = (*sorted(_reasons(answer)), str(_error(answer).get("message") or ""))
    return ": ".join(piece for piece in pieces if piece)


_MEANINGS: Final = (
    (401, "", "the token does not fit: it must be for this mailbox, with the scope gmail.send"),
    (403, "insufficient", "the token lacks the scope https://www.googleapis.com/auth/gmail.send: log in again"),
    (403, "accessnotconfigured", "the Gmail API is not enabled in the Google Cloud project: enable it"),
    (403, "limit", "Google's quota is used up: lower limits.rate"),
    (429, "", "too much mail in a short time: lower limits.rate"),
    (413, "", "the message is too large for Gmail"),
)


def _explain(reply: Reply) -> str | None:
    text = reply.text.lower()
    return next((why for code, words, why in _MEANINGS if reply.code == code and words in text), None)


def _target(settings: GmailApiSettings) -> AuthTarget:
    return AuthTarget(
        protocol="http",
        host=_HOST,
        scopes=("https://www.googleapis.com/auth/gmail.send",),
        oauth_urls={
            "token": "https://oauth2.googleapis.com/token",
            "authorize": "https://accounts.google.com/o/oauth2/v2/auth",
            "revoke": "https://oauth2.googleapis.com/revoke",
        },
        login={"access_type": "offline", "prompt": "consent"},
        rotates=False,
    )


def _advise(settings: GmailApiSettings, pairing: Pairing) -> Iterable[str]:
    if pairing.auth is None:
        yield "$.auth: the Gmail API lets nobody send without a token: use oauth2"
    if pairing.sender and pairing.user and pairing.sender.lower() != pairing.user.lower():
        yield f"$.from: Gmail replaces {pairing.sender} by {pairing.user}, unless it is a verified alias"


@hookimpl
def mailwright_providers() -> Iterable[Provider[Any]]:
    """One provider."""
    yield Provider(
        name="gmail-api",
        title="Gmail over its API",
        note="Needs the scope gmail.send only. 35 MB and 100 recipients a message, 60 messages a minute in new projects.",
        settings=GmailApiSettings,
        auth=("oauth2", "google_service_account", "external_token"),
        target=_target,
        open=GmailTransport,
        limits=Limits(rate=1.0, recipients=100, size=MAX_SIZE),
        explain=_explain,
        advise=_advise,
        sources=(
            "Gmail API discovery document, 20260907",
            "developers.google.com, Gmail API uploads",
            "support.google.com/a/answer/166852: 100 recipients a message by SMTP or API",
        ),
    )
