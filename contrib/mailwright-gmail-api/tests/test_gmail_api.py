"""The Gmail API as it answers, over TLS on loopback: contracts, upload sessions, faults."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.utils import getaddresses
from typing import Literal

import mailwright_gmail_api
import pytest

from mailwright import Envelope, Mailer, Message, Part, Registry, compose
from mailwright.errors import MessageError
from mailwright.spi import ConnectionInfo, Opening, Report, Submission
from mailwright.testing import Delivered, HttpAnswer, HttpService, ReceivedRequest
from mailwright.testing.contracts import CANARY, ProviderContract, TransportContract

AUTH = {"type": "oauth2", "user": "zoe@example.org", "access_token": CANARY, "expiry_date": 4102444800000}
PREFIX = "/upload/gmail/v1/users/me/messages/send"


class Gmail(HttpService):
    fate: Literal["kept", "lost", "broken", "elsewhere"] = "kept"
    quota = False

    async def answer(self, request: ReceivedRequest) -> HttpAnswer:
        if request.method == "GET":
            return no(403, "insufficientPermissions", "Request had insufficient authentication scopes.")
        if self.quota:
            return no(403, "userRateLimitExceeded", "User-rate limit exceeded.")
        if "uploadType=resumable" in request.url:
            assert request.path == "/resumable" + PREFIX
            host = "elsewhere.example" if self.fate == "elsewhere" else "gmail.googleapis.com"
            return HttpAnswer(headers={"location": f"https://{host}/resumable{PREFIX}?upload_id={CANARY}"})
        if request.headers.get("content-range", "").startswith("bytes */"):
            return HttpAnswer.json({"id": "m1"}) if self.delivered else HttpAnswer(status=308)
        assert request.headers["content-type"] == "message/rfc822"
        if self.fate == "broken":
            return HttpAnswer(status=504)
        mail = message_from_bytes(request.body)
        pairs = getaddresses([str(mail[name]) for name in ("to", "cc", "bcc") if mail[name]])
        told = tuple(dict.fromkeys(address for _, address in pairs))
        if self.refused & set(told):
            return no(400, "invalidArgument", "Invalid To header")
        answer = HttpAnswer(status=504) if self.fate == "lost" else HttpAnswer.json({"id": "m1", "labelIds": ["SENT"]})
        return self.take(Delivered(sender=mail["from"], recipients=told, raw=request.body), answer)

    def submits(self, request: ReceivedRequest) -> bool:
        return request.method != "GET"


def no(status: int, reason: str, message: str) -> HttpAnswer:
    error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
    return HttpAnswer.json({"error": error}, status=status)


class TestProvider(ProviderContract):
    plugin = mailwright_gmail_api


class TestTransport(TransportContract):
    plugin = mailwright_gmail_api
    document = {"auth": AUTH}
    service = Gmail


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return 0.0


async def deliver(service: Gmail, *, size: int = 10, envelope: tuple[str, ...] | None = None) -> Report:
    async def nothing(*_: object) -> str:
        return ""

    message = Message(
        from_="zoe@example.org", to="ann@example.org", bcc="bo@example.org", message_id="<1@example.org>",
        text="x", attachments=[Part(content=b"\0" * size, filename="a.bin")],
    )  # fmt: skip
    info = ConnectionInfo(name=None, provider="gmail-api", sender=None)
    opening = Opening(connection=info, http=service.http, clock=Clock(), reveal=nothing)
    [provider] = mailwright_gmail_api.mailwright_providers()
    composed = Octets(bytes(compose(message)).replace(b"To: ann", b"Bcc: bo@example.org\r\nTo: ann", 1))
    submission = Submission(
        composed=composed,
        message=message,
        envelope=Envelope(sender="zoe@example.org", recipients=envelope or ("ann@example.org", "bo@example.org")),
        idempotency_key="1",
        deadline=30.0,
        commit=nothing,
    )
    return await provider.open(provider.settings(), opening).deliver(submission)


class Octets:
    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.size = len(raw)

    def __iter__(self):
        yield self.raw

    async def __aiter__(self):
        yield self.raw


def outcomes(report: Report) -> set[tuple[str, bool | None]]:
    return {(status.outcome, status.permanent) for status in report.statuses}


async def test_a_large_message_goes_through_a_session() -> None:
    async with Gmail() as service:
        report = await deliver(service, size=6_000_000)
    assert outcomes(report) == {("accepted", None)}
    assert report.server_id == "m1"
    assert [request.method for request in service.requests] == ["POST", "PUT"]
    assert service.requests[0].headers["x-upload-content-length"] == str(len(service.delivered[0].raw or b""))
    assert sorted(service.delivered[0].recipients) == ["ann@example.org", "bo@example.org"]


@pytest.mark.parametrize(
    ("fate", "outcome", "asked"),
    [
        ("lost", ("accepted", None), ["POST", "PUT", "PUT"]),
        ("broken", ("rejected", False), ["POST", "PUT", "PUT"]),
        ("elsewhere", ("rejected", False), ["POST"]),
    ],
)
async def test_the_session_knows_what_became_of_it(
    fate: str, outcome: tuple[str, bool | None], asked: list[str]
) -> None:
    async with Gmail() as service:
        service.fate = fate
        report = await deliver(service, size=6_000_000)
    assert outcomes(report) == {outcome}
    assert [request.method for request in service.requests] == asked
    assert CANARY not in f"{report} {report.error}"


async def test_a_small_message_whose_answer_was_lost_is_unknown() -> None:
    async with Gmail() as service:
        service.fate = "lost"
        assert outcomes(await deliver(service)) == {("unknown", None)}


async def test_a_quota_is_for_the_moment() -> None:
    async with Gmail() as service:
        service.quota = True
        assert outcomes(await deliver(service)) == {("rejected", False)}


async def test_an_envelope_that_the_header_contradicts_is_not_sent() -> None:
    async with Gmail() as service:
        report = await deliver(service, envelope=("ann@example.org",))
    assert outcomes(report) == {("rejected", True)}
    assert not service.requests


async def test_what_is_too_large_is_not_sent() -> None:
    async with Gmail() as service:
        report = await deliver(service, size=30_000_000)
    assert outcomes(report) == {("rejected", True)}
    assert not service.requests


async def test_more_recipients_than_gmail_takes_are_refused_before_anything_is_sent() -> None:
    connection = {"provider": "gmail-api", "auth": {"type": "oauth2", "user": "zoe@example.org", "access_token": "x"}}
    registry = Registry([mailwright_gmail_api], installed=False)
    crowd = [f"r{number}@example.org" for number in range(101)]
    async with Mailer(connection, registry=registry) as mailer:
        with pytest.raises(MessageError, match="101 recipients, the provider takes 100"):
            await mailer.send(Message(to=crowd, text="Hi"))
