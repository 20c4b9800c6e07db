"""Postmark: a JSON API that composes by itself, so it is handed the message, not its octets."""

from __future__ import annotations

import json
import re
from asyncio import to_thread
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from attrs import evolve, field, frozen

from mailwright import hookimpl
from mailwright.errors import AuthError, ConfigurationError, MailwrightError
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
    RecipientStatus,
    Reply,
    Report,
    SaslMechanism,
    SaslOffer,
    Secret,
    Settings,
    Submission,
)
from mailwright_postmark.mail import mail

MAILWRIGHT_SPI_VERSION = 1
HOST: Final = "api.postmarkapp.com"
_STREAM: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,29}")
_INACTIVE: Final = re.compile(r"inactive addresses: (\S+@\S+?(?:, \S+@\S+?)*)\.?(?:\s|$)")
_JSON: Final = {"Accept": "application/json", "Content-Type": "application/json"}
_WHY: Final = {
    300: "Postmark refuses the message as it is; the reply says which field",
    400: "the sender is no confirmed signature: confirm it, or its domain, in Postmark under Sender Signatures",
    401: "the sender's signature is not confirmed yet: follow the link that Postmark mailed",
    405: "the account may not send: see its credits and its approval in Postmark",
    406: "the address bounced or complained before: reactivate it in Postmark if that was a mistake",
    412: "the account is pending approval: until then it sends to addresses of its own domain only",
    1235: "there is no such message stream: see the server's streams in Postmark",
}


@frozen(kw_only=True)
class PostmarkSettings(Settings):
    """What a connection or a message may say under ``options``."""

    message_stream: str = field(default="outbound", metadata={"title": "Message stream"})
    track_opens: bool = field(default=False, metadata={"title": "Track opens"})
    tag: str | None = field(default=None, metadata={"title": "Tag, for Postmark's statistics"})

    def __attrs_post_init__(self) -> None:
        if not _STREAM.fullmatch(self.message_stream):
            raise ConfigurationError(f"message_stream: {self.message_stream!r} is not a stream's ID such as outbound")
        if self.tag is not None and not 1 <= len(self.tag) <= 1000:
            raise ConfigurationError("tag: 1 to 1000 characters")


@frozen(kw_only=True)
class PostmarkTokenSettings(Settings):
    """What stands beside ``type`` in a connection's ``auth``."""

    token: Secret = field(metadata={"title": "Server API token", "secret": True})


@frozen
class PostmarkToken:
    """The server's token: revealed when it is needed, kept nowhere."""

    _settings: PostmarkTokenSettings
    _opening: Opening = field(repr=False)

    async def sasl(self, offer: SaslOffer) -> SaslMechanism:
        """Not over SMTP."""
        raise AuthError(
            "$.auth.type: a Postmark token is for Postmark's API; over SMTP it is user and password of basic"
        )

    async def sign(self, request: HttpRequest) -> HttpRequest:
        """Add the token."""
        token = await self._opening.reveal(self._settings.token)
        return evolve(request, headers={**request.headers, "X-Postmark-Server-Token": token})

    async def refused(self, reply: Reply, challenge: bytes | None) -> bool:
        """A wrong token stays wrong."""
        return False

    async def aclose(self) -> None:
        """Nothing is held."""


class PostmarkTransport:
    """One request for each message."""

    capabilities = Capabilities(content="message")

    def __init__(self, settings: PostmarkSettings, opening: Opening) -> None:
        self._settings = settings
        self._api = MailApi(opening)

    async def deliver(self, submission: Submission) -> Report:
        """Try once."""
        settings = dict(submission.message.options).get("postmark-api", self._settings)
        assert isinstance(settings, PostmarkSettings)
        options = {"MessageStream": settings.message_stream, "TrackOpens": settings.track_opens, "Tag": settings.tag}
        try:
            body = await to_thread(_encoded, submission, {name: value for name, value in options.items() if value})
        except MailwrightError as error:
            return undelivered(submission.envelope, error)
        request = HttpRequest(method="POST", url=f"https://{HOST}/email", headers=_JSON, body=body)
        return await self._api.submit(submission, request, read=lambda answer: _taken(submission, answer))

    async def verify(self) -> AsyncIterator[str]:
        """Whether Postmark takes the token."""
        answer = await self._api.ask(HttpRequest(method="GET", url=f"https://{HOST}/server", headers=_JSON))
        try:
            name = json.loads(answer.body)["Name"]
        except (ValueError, LookupError, TypeError):
            name = "server"
        yield f"Postmark takes the token of {name!r}"

    async def aclose(self) -> None:
        """Nothing is held."""


def _encoded(submission: Submission, options: dict[str, Any]) -> bytes:
    return json.dumps({**mail(submission.message, submission.envelope), **options}).encode()


def _taken(submission: Submission, answer: HttpResponse) -> Report:
    """200: accepted, less the inactive addresses, which only the answer's text names, in lower case."""
    found = json.loads(answer.body)
    text, code = str(found["Message"]), int(found["ErrorCode"])
    reply = Reply(protocol="http", code=answer.status, text=text)
    if code:
        raise ValueError(code)
    inactive = _inactive(text)
    statuses = tuple(
        RecipientStatus(address=address, outcome="rejected", permanent=True, stage="http", reply=reply)
        if address.lower() in inactive
        else RecipientStatus(address=address, outcome="accepted", stage="http", reply=reply)
        for address in submission.envelope.recipients
    )
    return Report(statuses=statuses, final=reply, server_id=str(found["MessageID"]))


def _inactive(text: str) -> set[str]:
    found = _INACTIVE.search(text)
    return set(found.group(1).lower().split(", ")) if found else set()


def explain(reply: Reply) -> str | None:
    """Cause and fix of Postmark's error codes."""
    found = re.match(r"(\d{3,4}): ", reply.text)
    return _WHY.get(int(found.group(1))) if found else None


@hookimpl
def mailwright_auth_methods() -> Iterable[AuthMethod[Any]]:
    """The token of a Postmark server."""
    yield AuthMethod(
        name="postmark-token",
        title="Postmark server token",
        settings=PostmarkTokenSettings,
        protocols=frozenset({"http"}),
        open=lambda settings, target, opening: PostmarkToken(settings, opening),
    )


@hookimpl
def mailwright_providers() -> Iterable[Provider[Any]]:
    """One provider."""
    yield Provider(
        name="postmark-api",
        title="Postmark (API)",
        settings=PostmarkSettings,
        auth=("postmark-token",),
        target=lambda settings: AuthTarget(protocol="http", host=HOST),
        limits=Limits(recipients=50, size=10_000_000),
        open=PostmarkTransport,
        explain=explain,
        sources=("https://postmarkapp.com/developer/api/email-api",),
    )
