"""Postmark's API as its documentation tells it, on loopback; the contracts, and what is Postmark's own."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mailwright_postmark
import pytest

from mailwright import Address, Envelope, Mailer, Message, Part, RawPart, Registry
from mailwright.errors import DocumentError
from mailwright.spi import Reply, Report, Submission
from mailwright.testing import Delivered, HttpAnswer, HttpService, ReceivedRequest
from mailwright.testing.contracts import CANARY, AuthContract, ProviderContract, TransportContract
from mailwright.testing.laws import composed

REGISTRY = Registry([mailwright_postmark], installed=True)


class PostmarkService(HttpService):
    """``POST /email`` and ``GET /server``."""

    async def answer(self, request: ReceivedRequest) -> HttpAnswer:
        if request.headers.get("x-postmark-server-token") != CANARY:
            return self.refusal(401, 10, "The Server Token you provided in the X-Postmark-Server-Token is invalid.")
        if request.path == "/server":
            return HttpAnswer.json({"ID": 1, "Name": "Production"})
        assert (request.method, request.path) == ("POST", "/email")
        mail = request.json()
        everybody = [found for name in ("To", "Cc", "Bcc") for found in addresses(mail.get(name, ""))]
        if not everybody or len(everybody) > 50:
            return self.refusal(422, 300, "Invalid 'To' address.")
        if not mail.get("HtmlBody") and not mail.get("TextBody"):
            return self.refusal(422, 300, "Provide either email TextBody or HtmlBody or both.")
        inactive = [found.lower() for found in everybody if found in self.refused]
        taken = [found for found in everybody if found not in self.refused]
        listed = ", ".join(inactive)
        if not taken:
            text = f"You tried to send to recipient(s) that have been marked as inactive. Found inactive addresses: {listed}. "
            return self.refusal(422, 406, text + "Inactive recipients are ones that have generated a hard bounce. ")
        text = f"Message OK, but will not deliver to these inactive addresses: {listed}." if inactive else "OK"
        answer = {"To": mail.get("To", ""), "MessageID": "b7bc2f4a", "ErrorCode": 0, "Message": text}
        [sender] = addresses(mail["From"])
        return self.take(Delivered(sender=sender, recipients=tuple(taken)), HttpAnswer.json(answer))

    def refusal(self, status: int, code: int, text: str) -> HttpAnswer:
        return HttpAnswer.json({"ErrorCode": code, "Message": text}, status=status)

    def submits(self, request: ReceivedRequest) -> bool:
        return request.path == "/email"

    @property
    def mail(self) -> Any:
        """The last one."""
        return self.requests[-1].json()


def addresses(text: str) -> list[str]:
    return [found.email for found in Address.parse_list(text)]


class TestProvider(ProviderContract):
    plugin = mailwright_postmark


class TestAuth(AuthContract):
    plugin = mailwright_postmark
    document = {"token": CANARY}


class TestTransport(TransportContract):
    plugin = mailwright_postmark
    service = PostmarkService
    document = {"auth": {"type": "postmark-token", "token": CANARY}}


def message(**changes: Any) -> Message:
    usual: dict[str, Any] = {
        "from_": Address("zoe@example.org", 'Zoë "Z"'), "to": ["Ann <ann@example.org>", "bo@example.org"], "cc": "cy@example.org",
        "bcc": "di@example.org", "subject": "Grüße", "html": "<p>Grüße</p>", "text": "Grüße",
        "message_id": "<1@example.org>",
    }  # fmt: skip
    return Message(**{**usual, **changes})


async def delivered(service: PostmarkService, given: Message, envelope: Envelope | None = None) -> Report:
    contract = TestTransport()
    [record] = mailwright_postmark.mailwright_providers()

    async def commit() -> None:
        """No books."""

    async with contract.opened(record) as opened:
        assert isinstance(opened.service, PostmarkService)
        ready = given.replace(date=datetime(2026, 11, 2, tzinfo=UTC))
        submission = Submission(
            composed=composed(message(date=ready.date)),  # not looked at
            message=ready,
            envelope=envelope or Envelope(sender=ready.from_, recipients=ready.recipients),
            idempotency_key="<1@example.org>",
            deadline=1e12,
            commit=commit,
        )
        report = await opened.transport.deliver(submission)
        service.requests = opened.service.requests
        return report


@pytest.fixture
def service() -> PostmarkService:
    return PostmarkService()


async def test_everything_arrives_where_postmark_looks_for_it(service: PostmarkService, tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7")
    report = await delivered(
        service,
        message(
            attachments=[
                Part(content=tmp_path / "report.pdf"),
                Part(content=b"\x89PNG", filename="logo.png", content_id="logo"),
                Part(content="a,b", filename="data.csv"),
            ],
            priority="high",
            reply_to="help@example.org",
            headers={"X-Order": "7"},
            in_reply_to="<0@example.org>",
            list_unsubscribe="https://example.org/u",
            one_click=True,
        ),
    )
    assert [status.outcome for status in report.statuses] == ["accepted"] * 4
    assert report.server_id == "b7bc2f4a"
    mail = service.mail
    assert mail["From"] == '"Zoë \\"Z\\"" <zoe@example.org>'
    assert mail["To"] == '"Ann" <ann@example.org>, bo@example.org'
    assert (mail["Cc"], mail["Bcc"], mail["ReplyTo"]) == ("cy@example.org", "di@example.org", "help@example.org")
    assert (mail["HtmlBody"], mail["TextBody"], mail["Subject"]) == ("<p>Grüße</p>", "Grüße", "Grüße")
    assert {one["Name"]: one["Value"] for one in mail["Headers"]} == {
        "X-Order": "7", "Message-ID": "<1@example.org>", "X-PM-KeepID": "true", "In-Reply-To": "<0@example.org>",
        "X-Priority": "1 (Highest)", "Importance": "High", "Priority": "urgent", "List-Unsubscribe": "<https://example.org/u>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }  # fmt: skip
    assert mail["Attachments"] == [
        {"Name": "report.pdf", "ContentType": "application/pdf", "Content": base64.b64encode(b"%PDF-1.7").decode()},
        {
            "Name": "logo.png", "ContentType": "image/png", "Content": base64.b64encode(b"\x89PNG").decode(),
            "ContentID": "cid:logo",
        },
        {"Name": "data.csv", "ContentType": "text/csv", "Content": base64.b64encode(b"a,b").decode()},
    ]  # fmt: skip
    assert mail["MessageStream"] == "outbound"


async def test_the_envelope_decides(service: PostmarkService) -> None:
    """Staging rules and suppressions change the envelope, not the header."""
    envelope = Envelope(sender="zoe@example.org", recipients=["bo@example.org", "staging@example.net"])
    report = await delivered(service, message(), envelope)
    assert [status.outcome for status in report.statuses] == ["accepted", "accepted"]
    assert service.mail["To"] == "bo@example.org"
    assert "Cc" not in service.mail
    assert service.mail["Bcc"] == "staging@example.net"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"attachments": [RawPart("Content-Type: text/plain\r\n\r\nx")]}, r"attachments\[0\]"),
        ({"attachments": [Part(content=b"x", content_type="message/rfc822")]}, r"attachments\[0\]\.content_type"),
        ({"attachments": [Part(content=Path("gone.pdf"))]}, r"attachments\[0\]"),
        ({"sender": "bo@example.org"}, "sender"),
        ({"require_tls": True}, "require_tls"),
        ({"to": [Address("zoë@example.org")]}, "zoë@example.org"),
    ],
)
async def test_what_it_cannot_carry_is_refused_by_name(
    changes: dict[str, Any], field: str, service: PostmarkService
) -> None:
    report = await delivered(service, message(**changes))
    assert {(status.outcome, status.permanent) for status in report.statuses} == {("rejected", True)}
    assert re.search(rf"^{field}", report.error.message if report.error else "")
    assert not service.requests


def test_options_are_checked_before_anything_is_sent() -> None:
    document = {"provider": "postmark-api", "auth": {"type": "postmark-token", "token": "env:NOWHERE"}}
    for options, path in (({"message_stream": "No Stream"}, "message_stream"), ({"colour": 1}, "colour")):
        with pytest.raises(DocumentError, match=rf"\$\.options\.{path}"):
            Mailer({**document, "options": options}, registry=REGISTRY).send_sync(message())


def test_a_message_has_options_of_its_own() -> None:
    options = {
        "postmark-api": mailwright_postmark.PostmarkSettings(message_stream="news", tag="weekly", track_opens=True)
    }
    changed = message(options=options)
    assert dict(changed.options)["postmark-api"] == options["postmark-api"]


async def test_and_they_are_used(service: PostmarkService) -> None:
    options = {
        "postmark-api": mailwright_postmark.PostmarkSettings(message_stream="news", tag="weekly", track_opens=True)
    }
    await delivered(service, message(options=options))
    assert (service.mail["MessageStream"], service.mail["Tag"], service.mail["TrackOpens"]) == ("news", "weekly", True)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("406: You tried to send", "bounced or complained"),
        ("405: Not allowed", "may not send"),
        ("412: pending", "pending approval"),
        ("9999: new", None),
        ("nothing", None),
    ],
)
def test_codes_are_explained(text: str, cause: str | None) -> None:
    said = mailwright_postmark.explain(Reply(protocol="http", code=422, text=text))
    assert said is None if cause is None else cause in (said or "")
