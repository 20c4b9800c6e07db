"""Microsoft Graph's sendMail in MIME mode: the way out where SMTP AUTH is closed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Final, Literal
from urllib.parse import quote

from attrs import evolve, field, frozen

from mailwright import hookimpl
from mailwright.errors import ApiError, ConfigurationError, HttpError, LeaseLost, MailwrightError, MessageError
from mailwright.http_api import MailApi, misaddressed, undelivered
from mailwright.spi import (
    AuthTarget,
    Capabilities,
    Composed,
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
from mailwright_graph import large

MAILWRIGHT_SPI_VERSION = 1
WHOLE: Final = 3_000_000  # octets; in base64 that is the 4 MB Graph takes in one request
MAX_SIZE: Final = 150_000_000  # a tenant's own limit is lower: 35 MB unless its administrator raised it
RANGE: Final = 12 * 320 * 1024  # octets of one upload, at most 4 MB
AT_ONCE: Final = 4  # requests of one app for one mailbox
_CLOUDS: Final = {
    "worldwide": ("graph.microsoft.com", "login.microsoftonline.com"),
    "us-gov": ("graph.microsoft.us", "login.microsoftonline.us"),
    "us-dod": ("dod-graph.microsoft.us", "login.microsoftonline.us"),
    "china": ("microsoftgraph.chinacloudapi.cn", "login.partner.microsoftonline.cn"),
}
_TENANT: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_MAILBOX: Final = re.compile(r"[!-~]{1,320}")


@frozen(kw_only=True)
class GraphSettings(Settings):
    """Which directory, in which cloud, which mailbox."""

    tenant: str = field(
        default="organizations",
        metadata={"title": "Tenant", "description": "Directory (tenant) ID or domain; app-only login needs it."},
    )
    cloud: Literal["worldwide", "us-gov", "us-dod", "china"] = field(
        default="worldwide",
        metadata={"title": "Cloud", "description": "us-gov is GCC High, us-dod is DoD, china is 21Vianet."},
    )
    mailbox: str = field(
        default="",
        metadata={
            "title": "Mailbox",
            "description": "Address or user ID. Default: that of the person who logged in; app-only login needs it.",
        },
    )
    large_messages: bool = field(
        default=False,
        metadata={
            "title": "Large messages",
            "description": "Send what is over 3 MB through a draft; needs the permission Mail.ReadWrite, too.",
        },
    )

    def __attrs_post_init__(self) -> None:
        if not _TENANT.fullmatch(self.tenant):
            raise ConfigurationError("tenant: an ID, a domain, or organizations")
        if self.mailbox and not _MAILBOX.fullmatch(self.mailbox):
            raise ConfigurationError("mailbox: an address or a user ID, in ASCII without blanks")


class GraphTransport:
    """One request for each message, at most four messages at one time; a draft and uploads where it is large."""

    capabilities = Capabilities(recipients="headers", per_recipient=False)

    def __init__(self, settings: GraphSettings, opening: Opening) -> None:
        who = f"users/{quote(settings.mailbox, safe='@')}" if settings.mailbox else "me"
        self._base = f"https://{_CLOUDS[settings.cloud][0]}/v1.0/{who}"
        self._api = MailApi(opening)
        self._uploads = MailApi(evolve(opening, authenticator=None))  # their URLs are the credential
        self._large = settings.large_messages
        self._places = asyncio.Semaphore(AT_ONCE)

    async def deliver(self, submission: Submission) -> Report:
        """Try once."""
        composed = submission.composed
        if error := misaddressed(submission):
            return undelivered(submission.envelope, error)
        if composed.size > WHOLE and not self._large:
            msg = (
                f"the message has {composed.size} bytes, Graph takes {WHOLE} in one request; "
                "$.options.large_messages = true sends it through a draft (permission Mail.ReadWrite)"
            )
            return undelivered(submission.envelope, MessageError(msg))
        async with self._places:
            if composed.size > WHOLE:
                return await self._in_pieces(submission)
            request = self._mime("/sendMail", lambda: _base64(composed), size=-(-composed.size // 3) * 4)
            return await self._api.submit(submission, request)

    def _mime(self, path: str, body: bytes | Callable[[], AsyncIterator[bytes]], *, size: int) -> HttpRequest:
        headers = {"Content-Type": "text/plain"}
        return HttpRequest(method="POST", url=self._base + path, headers=headers, body=body, size=size)

    def _json(self, path: str, value: dict[str, Any]) -> HttpRequest:
        headers = {"Content-Type": "application/json"}
        return HttpRequest(method="POST", url=self._base + path, headers=headers, body=json.dumps(value).encode())

    # -- large messages: a draft, its attachments, and only then the request that delivers

    async def _in_pieces(self, submission: Submission) -> Report:
        until, composed = submission.deadline, submission.composed
        draft = ""
        try:
            taken = _heaviest(await large.pieces_of(composed), composed.size)
            rest = base64.b64encode(await large.without(composed, taken))
            answer = await self._api.ask(self._mime("/messages", rest, size=len(rest)), until=until)
            draft = f"/messages/{quote(_text(answer, 'id'), safe='')}"
            for piece in taken:
                await self._attach(draft, composed, piece, until=until)
            request = HttpRequest(method="POST", url=f"{self._base}{draft}/send", headers={"Content-Length": "0"})
            report = await self._api.submit(submission, request)
        except LeaseLost:
            await self._forget(draft)
            raise
        except MailwrightError as error:
            report = undelivered(submission.envelope, error)
        if all(status.outcome == "rejected" for status in report.statuses):
            await self._forget(draft)
        return evolve(report, wire_size=composed.size)

    async def _attach(self, draft: str, composed: Composed, piece: large.Piece, *, until: float) -> None:
        name, kind = piece.head.get_filename() or "attachment", piece.head.get_content_type()
        if piece.size < WHOLE:  # an upload session refuses less than 3 MB
            octets = b"".join([chunk async for chunk in large.content(composed, piece)])
            value = {
                "@odata.type": "#microsoft.graph.fileAttachment",
                "name": name,
                "contentType": kind,
                "contentBytes": base64.b64encode(octets).decode(),
            }
            await self._api.ask(self._json(f"{draft}/attachments", value), until=until)
            return
        item = {"attachmentType": "file", "name": name, "contentType": kind, "size": piece.size}
        session = self._json(f"{draft}/attachments/createUploadSession", {"AttachmentItem": item})
        url = _text(await self._api.ask(session, until=until), "uploadUrl")
        start = 0
        async for octets in _ranges(large.content(composed, piece)):
            end = start + len(octets) - 1
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"bytes {start}-{end}/{piece.size}",
            }
            await self._uploads.ask(HttpRequest(method="PUT", url=url, headers=headers, body=octets), until=until)
            start = end + 1

    async def _forget(self, draft: str) -> None:
        """Nothing was sent: the draft is no use to anybody."""
        if draft:
            with contextlib.suppress(MailwrightError):
                await self._api.ask(HttpRequest(method="DELETE", url=self._base + draft))

    async def verify(self) -> AsyncIterator[str]:
        """Whether Graph takes the token. Looking at the mailbox needs more than sending does: no harm if it is forbidden."""
        try:
            await self._api.ask(HttpRequest(method="GET", url=f"{self._base}?$select=id"))
        except ApiError as error:
            if error.reply is None or error.reply.code != 403:
                raise
            yield "Graph takes the token; whether it may send shows when it sends"
        else:
            yield "Graph takes the token and knows the mailbox"

    async def aclose(self) -> None:
        """Nothing is kept open between messages."""


async def _base64(composed: Composed) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in composed:
        data = rest + chunk
        cut = len(data) // 3 * 3
        rest = data[cut:]
        yield base64.b64encode(data[:cut])
    yield base64.b64encode(rest)


async def _ranges(octets: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    data = bytearray()
    async for chunk in octets:
        data += chunk
        while len(data) >= RANGE:
            yield bytes(data[:RANGE])
            del data[:RANGE]
    if data:
        yield bytes(data)


def _heaviest(pieces: Sequence[large.Piece], size: int) -> list[large.Piece]:
    """The attachments that must travel by themselves, so that the rest fits into one request."""
    taken = []
    for piece in sorted((one for one in pieces if one.travels and one.size), key=lambda one: one.start - one.end):
        if size <= WHOLE:
            break
        size -= piece.end - piece.start
        taken.append(piece)
    if size > WHOLE or len(taken) == len(pieces):
        msg = (
            f"without the attachments that can be uploaded, {size} bytes are left, and Graph takes {WHOLE}: inline images, "
            "attached messages, and whatever is signed or encrypted cannot be uploaded; use an SMTP connection"
        )
        raise MessageError(msg)
    return sorted(taken, key=lambda one: one.start)


def _text(answer: HttpResponse, key: str) -> str:
    try:
        value = json.loads(answer.body)[key]
    except (ValueError, LookupError, TypeError):
        value = None
    if not isinstance(value, str) or not value:
        raise HttpError(f"Graph's answer has no {key}")
    return value


_MEANINGS: Final = (
    (401, "", "the token does not fit: it must be for Microsoft Graph; a token for SMTP is another one"),
    (400, "delegated authentication", "an app's own token has no mailbox: set options.mailbox"),
    (403, "sendasdenied", "this account may not send with that From address: grant Send As, or leave from away"),
    (
        403,
        "accessdenied",
        "the app lacks Mail.Send, or may not use this mailbox: consent to it, check its access policy",
    ),
    (404, "", "there is no such mailbox: check options.mailbox"),
    (413, "", "the message is too large for Graph"),
    (429, "", "Microsoft slows this sender down: lower limits.rate (30 messages a minute)"),
)


def _explain(reply: Reply) -> str | None:
    text = reply.text.lower()
    return next((why for code, words, why in _MEANINGS if reply.code == code and words in text), None)


def _target(settings: GraphSettings) -> AuthTarget:
    host, login = _CLOUDS[settings.cloud]
    base = f"https://{login}/{settings.tenant}/oauth2/v2.0"
    more = (f"https://{host}/Mail.ReadWrite",) if settings.large_messages else ()
    return AuthTarget(
        protocol="http",
        host=host,
        scopes=(f"https://{host}/Mail.Send", *more, "offline_access"),
        app_scopes=(f"https://{host}/.default",),
        oauth_urls={"token": f"{base}/token", "authorize": f"{base}/authorize", "device": f"{base}/devicecode"},
        login={"redirect_host": "localhost"},
    )


def _advise(settings: GraphSettings, pairing: Pairing) -> Iterable[str]:
    if pairing.auth is None:
        yield "$.auth: Graph lets nobody send without a token: use oauth2 or oauth2_client_credentials"
    if pairing.auth in {"oauth2_client_credentials", "entra_certificate"} and not settings.mailbox:
        yield "$.options.mailbox: an app's own token has no mailbox: name the one mail is sent from"


@hookimpl
def mailwright_providers() -> Iterable[Provider[Any]]:
    """One provider."""
    yield Provider(
        name="microsoft-graph",
        title="Microsoft 365 over Graph",
        note="For tenants where SMTP is closed. Messages over 3 MB need options.large_messages; every one is kept in Sent Items.",
        settings=GraphSettings,
        auth=("oauth2_client_credentials", "oauth2", "entra_certificate", "external_token"),
        target=_target,
        open=GraphTransport,
        limits=Limits(connections=AT_ONCE, rate=0.5, recipients=1000, size=MAX_SIZE),
        explain=_explain,
        advise=_advise,
        sources=("MicrosoftDocs user-sendmail: MIME mode", "request size of 4 MB and clouds: not confirmed by a test"),
    )
