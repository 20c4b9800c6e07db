"""Every mailer of this process writes into a list: no socket, no login, no saved connection needed."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from attrs import evolve

from mailwright.connections import find_connection
from mailwright.errors import AttachmentError, ConfigurationError
from mailwright.model import Connection, Limits, RecipientStatus, Report
from mailwright.ports import HttpRequest, HttpResponse, HttpStream
from mailwright.rates import Rate
from mailwright.registry import default_registry
from mailwright.routing import author_of, merged_limits
from mailwright.sending import Route
from mailwright.smtp.replies import make_reply
from mailwright.spi import Capabilities, Submission
from mailwright.system import SystemClock
from mailwright.testing.sandbox import InboxMessage
from mailwright.testing.smtp_session import ReceivedMessage

if TYPE_CHECKING:
    from mailwright.registry import Registry

SENDER = "capture@example.org"
"""Author where neither message nor connection names one: nobody logs in here."""


class Capture:
    """What mailers would have sent, composed to the last octet.

    Validation, attachments, hooks and limits are the real ones; only the transport is not.
    """

    def __init__(self) -> None:
        self._messages: list[InboxMessage] = []
        self._refused: dict[str, str] = {}
        self._answers: deque[str | None] = deque()

    @property
    def messages(self) -> Sequence[InboxMessage]:
        """What was sent, in order."""
        return tuple(self._messages)

    def refuse(self, address: str, reply: str = "550 5.1.1 no such user") -> None:
        """Refuse the recipient `address` with `reply` from now on."""
        self._refused[address] = reply

    def fail_next(self, reply: str = "451 4.3.0 try again later") -> None:
        """Refuse the next message with `reply`; said twice, the one after too."""
        self._answers.append(reply)

    def lose_next(self) -> None:
        """Take the next message, and leave its outcome unknown."""
        self._answers.append(None)

    async def open_route(
        self, reference: Connection | Mapping[str, Any] | str, registry: Registry | None, saved: Any
    ) -> Route:
        """What a mailer opens instead of its own route."""
        registry = registry or default_registry()
        try:
            connection = await find_connection(reference, registry=registry, saved=saved)
        except ConfigurationError:
            if not isinstance(reference, str):
                raise
            connection = Connection(name=reference, provider="sandbox", from_=SENDER)
        user = None
        if connection.auth is not None:
            user = registry.auth_method(connection.auth[0]).user(connection.auth[1])
        limits = merged_limits(registry.provider(connection.provider).limits, connection.limits)
        if author_of(connection, user) is None:
            connection = evolve(connection, from_=SENDER)
        return Route(
            connection=connection,
            limits=limits,
            transport=_Shelf(self),
            author=author_of(connection, user),
            http=_Offline(),
            rate=Rate(Limits(), SystemClock()),
        )

    async def take(self, submission: Submission) -> Report:
        """Keep one message, or do as told."""
        envelope = submission.envelope
        statuses = {address: self._refusal(address) for address in envelope.recipients}
        accepted = tuple(address for address, refused in statuses.items() if refused is None)
        if accepted:
            await submission.commit()
            statuses |= self._final(submission, accepted)
        return Report(statuses=tuple(status for status in statuses.values() if status))

    def _refusal(self, address: str) -> RecipientStatus | None:
        if address not in self._refused:
            return None
        return _status(address, self._refused[address], "rcpt")

    def _final(self, submission: Submission, accepted: tuple[str, ...]) -> dict[str, RecipientStatus | None]:
        answer = self._answers.popleft() if self._answers else "250 2.0.0 captured"
        if answer is None or answer.startswith("2"):
            octets = bytes(submission.composed)
            received = ReceivedMessage(raw=octets, mail_from=submission.envelope.sender or "", rcpt_to=accepted)
            self._messages.append(InboxMessage(received))
        return {address: _status(address, answer, "final") for address in accepted}


def _status(address: str, answer: str | None, stage: Any) -> RecipientStatus:
    if answer is None:
        return RecipientStatus(address=address, outcome="unknown", stage=stage)
    reply = make_reply(int(answer[:3]), [answer[4:]])
    if reply.code < 300:
        return RecipientStatus(address=address, outcome="accepted", stage=stage, reply=reply)
    return RecipientStatus(address=address, outcome="rejected", permanent=reply.permanent, stage=stage, reply=reply)


class _Offline:
    """HTTP for attachments: there is none."""

    async def request(self, request: HttpRequest, *, max_bytes: int = 1 << 20) -> HttpResponse:
        raise AttachmentError(f"{request.url}: nothing is fetched while mail is captured; use the sandbox")

    def stream(self, request: HttpRequest, *, max_bytes: int) -> AbstractAsyncContextManager[HttpStream]:
        raise AttachmentError(f"{request.url}: nothing is fetched while mail is captured; use the sandbox")


class _Shelf:
    """The transport of a capture."""

    capabilities = Capabilities()

    def __init__(self, capture: Capture) -> None:
        self._capture = capture

    async def deliver(self, submission: Submission) -> Report:
        return await self._capture.take(submission)

    async def verify(self) -> AsyncIterator[str]:
        yield "captured: nothing is connected"

    async def aclose(self) -> None:
        pass
