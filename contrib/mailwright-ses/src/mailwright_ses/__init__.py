"""Amazon SES over its v2 API: raw messages, Signature Version 4."""

from __future__ import annotations

import json
import re
from asyncio import to_thread
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final

from attrs import field, frozen

from mailwright import hookimpl
from mailwright.errors import ConfigurationError, MessageError
from mailwright.http_api import MailApi, undelivered
from mailwright.spi import (
    AuthMethod,
    AuthTarget,
    Capabilities,
    HttpRequest,
    HttpResponse,
    Limits,
    Opening,
    Provider,
    Reply,
    Report,
    Settings,
    Submission,
)
from mailwright_ses.credentials import AwsSettings, AwsSigner

MAILWRIGHT_SPI_VERSION = 1
MAX_SIZE: Final = 29_000_000
"""Octets of a message: 40 MB after base64, less what stands around it."""
_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TRANSIENT: Final = frozenset({
    "TooManyRequestsException", "ThrottlingException", "LimitExceededException", "ConcurrentModificationException",
    "SendingPausedException", "RequestTimeoutException",
})  # fmt: skip
_MEANINGS: Final = (
    (
        "TooManyRequestsException",
        "the account's rate or daily quota is used up: lower limits.rate, or ask AWS for more",
    ),
    ("MailFromDomainNotVerifiedException", "the MAIL FROM domain is not verified: see SES, Identities"),
    ("AccountSuspendedException", "AWS has suspended the account's sending: see SES, Reputation metrics"),
    ("SendingPausedException", "sending is paused for the account or the configuration set: switch it on in SES"),
    ("NotFoundException", "there is no such configuration set in this region"),
    ("InvalidClientTokenId", "AWS does not know the access key"),
    ("UnrecognizedClientException", "AWS does not know the access key"),
    ("SignatureDoesNotMatch", "the secret access key does not fit, or this machine's clock is wrong"),
    ("ExpiredToken", "the temporary credentials have run out"),
    ("AccessDenied", "the credentials lack the permission ses:SendRawEmail"),
    ("not verified", "the sender is not verified in this region; in the sandbox, recipients must be, too"),
)


@frozen(kw_only=True)
class SesSettings(Settings):
    """What a connection may say under ``options``."""

    region: str = field(default="us-east-1", metadata={"title": "Region"})
    configuration_set: str | None = field(default=None, metadata={"title": "Configuration set"})

    def __attrs_post_init__(self) -> None:
        if not _REGION.fullmatch(self.region):
            raise ConfigurationError(f"region: {self.region!r} is not a region such as eu-west-1")
        if self.configuration_set is not None and not _NAME.fullmatch(self.configuration_set):
            raise ConfigurationError("configuration_set: 1 to 64 letters, digits, hyphens and underscores")

    @property
    def host(self) -> str:
        """Of the API in this region."""
        return f"email.{self.region}.amazonaws.com"


class SesTransport:
    """One request for each message."""

    capabilities = Capabilities(per_recipient=False)

    def __init__(self, settings: SesSettings, opening: Opening) -> None:
        self._settings = settings
        self._api = MailApi(opening, wording=_wording, transient=lambda answer: _kind(answer) in _TRANSIENT)

    async def deliver(self, submission: Submission) -> Report:
        """Try once."""
        if error := _refused(submission):
            return undelivered(submission.envelope, error)
        request = HttpRequest(
            method="POST",
            url=f"https://{self._settings.host}/v2/email/outbound-emails",
            headers={"Content-Type": "application/json"},
            body=await to_thread(_body, submission, self._settings),
        )
        return await self._api.submit(submission, request, read=_taken(submission))

    async def verify(self) -> AsyncIterator[str]:
        """Whether AWS takes the credentials, and what the account may do."""
        answer = await self._api.ask(HttpRequest(method="GET", url=f"https://{self._settings.host}/v2/email/account"))
        yield f"AWS takes the credentials in {self._settings.region}"
        try:
            found = json.loads(answer.body)
            quota = found["SendQuota"]
            told = f"{quota['MaxSendRate']:g} messages a second, {quota['Max24HourSend']:g} a day"
        except (ValueError, LookupError, TypeError):
            return
        yield told if found.get("ProductionAccessEnabled") else f"in the sandbox, to verified addresses only; {told}"

    async def aclose(self) -> None:
        """Nothing is held."""


def _refused(submission: Submission) -> MessageError | None:
    if submission.composed.size > MAX_SIZE:
        return MessageError(f"the message has {submission.composed.size} bytes, SES takes {MAX_SIZE}")
    if "smtputf8" in submission.composed.needs or not all(map(str.isascii, submission.envelope.recipients)):
        return MessageError("SES takes no address with a local part outside ASCII")
    return None


def _body(submission: Submission, settings: SesSettings) -> bytes:
    found: dict[str, Any] = {
        "Destination": {"ToAddresses": list(submission.envelope.recipients)},  # beats the header
        "Content": {"Raw": {"Data": b64encode(bytes(submission.composed)).decode()}},
    }
    if submission.message.from_ is not None:
        found["FromEmailAddress"] = submission.message.from_.email
    if settings.configuration_set is not None:
        found["ConfigurationSetName"] = settings.configuration_set
    return json.dumps(found).encode()


def _taken(submission: Submission) -> Callable[[HttpResponse], Report]:
    def read(answer: HttpResponse) -> Report:
        name = str(json.loads(answer.body)["MessageId"])
        reply = Reply(protocol="http", code=answer.status, text=name)
        report = Report.all(submission.envelope, "accepted", stage="http", reply=reply)
        return Report(statuses=report.statuses, final=reply, server_id=name[:100])

    return read


def _kind(answer: HttpResponse) -> str:
    """AWS names the error in a header, ``TooManyRequestsException:http://…``, or in the body."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    named = headers.get("x-amzn-errortype", "")
    if not named:
        try:
            named = str(json.loads(answer.body)["__type"])
        except (ValueError, LookupError, TypeError):
            return ""
    return named.partition(":")[0].rpartition("#")[2]


def _wording(answer: HttpResponse) -> str:
    try:
        found = json.loads(answer.body)
        text = str(found.get("message") or found.get("Message") or "")
    except (ValueError, AttributeError):
        text = ""
    return ": ".join(piece for piece in (_kind(answer), text) if piece)


def explain(reply: Reply) -> str | None:
    """Cause and fix of what AWS answers."""
    return next((why for words, why in _MEANINGS if words in reply.text), None)


@hookimpl
def mailwright_auth_methods() -> Iterable[AuthMethod[Any]]:
    """AWS credentials."""
    yield AuthMethod(
        name="aws",
        title="AWS credentials",
        note="Without keys: what the machine has (environment, profile, the role of its instance or container).",
        settings=AwsSettings,
        protocols=frozenset({"http"}),
        open=AwsSigner,
    )


@hookimpl
def mailwright_providers() -> Iterable[Provider[Any]]:
    """One provider."""
    yield Provider(
        name="ses-api",
        title="Amazon SES (API)",
        settings=SesSettings,
        auth=("aws",),
        target=lambda settings: AuthTarget(protocol="http", host=settings.host),
        limits=Limits(recipients=50, size=MAX_SIZE),
        open=SesTransport,
        explain=explain,
        sources=("docs.aws.amazon.com, SES API v2 reference, SendEmail",),
    )
