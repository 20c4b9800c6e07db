"""Graph as it answers, over TLS on loopback: contracts, octets, faults."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from email.utils import getaddresses
from typing import Any
from urllib.parse import parse_qs

import mailwright_graph
import pytest
from attrs import evolve
from mailwright_graph import large

from mailwright import Envelope, Message, Part, compose
from mailwright.spi import Provider, Reply, Report, Submission
from mailwright.testing import Delivered, HttpAnswer, HttpService, ReceivedRequest
from mailwright.testing.contracts import CANARY, ProviderContract, TransportContract, run

AUTH = {"type": "oauth2", "user": "zoe@example.org", "access_token": CANARY, "expiry_date": 4102444800000}


class Graph(HttpService):
    async def answer(self, request: ReceivedRequest) -> HttpAnswer:
        assert request.headers["authorization"] == f"Bearer {CANARY}"
        if request.method == "GET":
            return no(403, "ErrorAccessDenied", "Access is denied.")
        assert request.path == "/v1.0/users/zoe@example.org/sendMail"
        assert request.headers["content-type"] == "text/plain"
        try:
            raw = base64.b64decode(request.body, validate=True)
        except binascii.Error:
            return no(400, "ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content.")
        mail = message_from_bytes(raw)
        pairs = getaddresses([str(mail[name]) for name in ("to", "cc", "bcc") if mail[name]])
        told = tuple(dict.fromkeys(address for _, address in pairs))
        if self.refused & set(told):
            return no(400, "ErrorInvalidRecipients", "At least one recipient isn't valid.")
        return self.take(Delivered(sender=mail["from"], recipients=told, raw=raw), HttpAnswer(status=202))

    def submits(self, request: ReceivedRequest) -> bool:
        return request.method == "POST"


def no(status: int, code: str, message: str) -> HttpAnswer:
    return HttpAnswer.json({"error": {"code": code, "message": message}}, status=status)


class TestProvider(ProviderContract):
    plugin = mailwright_graph
    document = {"tenant": "contoso.example", "mailbox": "zoe@example.org"}


class TestTransport(TransportContract):
    plugin = mailwright_graph
    document = {"auth": AUTH, "options": {"mailbox": "zoe@example.org"}}
    service = Graph


class Entra(Graph):
    """Refuses the first token, and hands out another one."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[dict[str, list[str]]] = []

    async def answer(self, request: ReceivedRequest) -> HttpAnswer:
        if request.path.endswith("/token"):
            assert request.url == "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token"
            self.asked.append(parse_qs(request.body.decode()))
            return HttpAnswer.json({"access_token": "fresh", "token_type": "Bearer", "expires_in": 3600})
        if request.headers["authorization"] != "Bearer fresh":
            return no(401, "InvalidAuthenticationToken", f"Not a token: {CANARY}")
        headers = {**request.headers, "authorization": f"Bearer {CANARY}"}
        return await super().answer(evolve(request, headers=headers))

    def submits(self, request: ReceivedRequest) -> bool:
        return request.path.endswith("/sendMail")


class TestTokens(TransportContract):
    """One more law: the token is Graph's own, and renewed once."""

    plugin = mailwright_graph
    document = {
        "auth": {**AUTH, "client_id": "app", "refresh_token": CANARY, "rotates": False},
        "options": {"mailbox": "zoe@example.org", "tenant": "contoso.example"},
    }
    service = Entra
    examples = 2

    def test_a_refused_token_is_renewed_for_graph(self, record: Provider[Any]) -> None:
        async def law() -> None:
            async with self.opened(record) as opened:
                message = Message(from_="zoe@example.org", to="ann@example.org", text="x")
                report = await opened.transport.deliver(submission(message))
                assert [status.outcome for status in report.statuses] == ["accepted"], report
                assert opened.service.asked[0]["scope"] == ["https://graph.microsoft.com/Mail.Send offline_access"]
                assert len(opened.service.asked) == 1

        run(law())

    def test_what_graph_cannot_do_is_refused_unsent(self, record: Provider[Any]) -> None:
        async def law() -> None:
            async with self.opened(record) as opened:
                message = Message(from_="zoe@example.org", to="ann@example.org", text="x")
                redirected = Envelope(sender="zoe@example.org", recipients=("staging@example.org",))
                large = message.replace(attachments=[Part(content=b"\0" * 2_500_000, filename="a.bin")])
                for refused in (submission(message, redirected), submission(large)):
                    report = await opened.transport.deliver(refused)
                    assert [(s.outcome, s.permanent) for s in report.statuses] == [("rejected", True)]
                assert not opened.service.requests

        run(law())


BIG, SMALL = bytes(range(256)) * 16_384, b"0123456789" * 120_000
ORDER = ["/messages", "/createUploadSession", "/upload", "/upload", "/attachments", "/send"]


class Drafts(Graph):
    """Drafts, uploads, and the request that delivers."""

    broken = ""

    def __init__(self) -> None:
        super().__init__()
        self.mime = b""
        self.attached: dict[str, bytes] = {}
        self.uploading: tuple[str, int] = ("", 0)
        self.deleted = False

    async def answer(self, request: ReceivedRequest) -> HttpAnswer:
        if self.broken and request.path.endswith(self.broken):
            return no(503, "ServiceUnavailable", "later")
        if request.url.startswith("https://outlook.example/upload"):
            return self.uploaded(request)
        assert request.headers["authorization"] == f"Bearer {CANARY}"
        assert request.path.startswith("/v1.0/users/zoe@example.org/messages")
        if request.method == "DELETE":
            self.deleted = True
            return HttpAnswer(status=204)
        if request.path.endswith("/messages"):
            self.mime = base64.b64decode(request.body, validate=True)
            return HttpAnswer.json({"id": "AAMk=/+"}, status=201)
        assert "/messages/AAMk%3D%2F%2B/" in request.path
        if request.path.endswith("/createUploadSession"):
            item = request.json()["AttachmentItem"]
            assert item["size"] >= 3_000_000
            self.uploading = item["name"], item["size"]
            return HttpAnswer.json({"uploadUrl": "https://outlook.example/upload?authtoken=" + CANARY}, status=201)
        if request.path.endswith("/attachments"):
            self.attached[request.json()["name"]] = base64.b64decode(request.json()["contentBytes"])
            return HttpAnswer.json({}, status=201)
        return self.take(Delivered(recipients=("ann@example.org",), raw=self.mime), HttpAnswer(status=202))

    def uploaded(self, request: ReceivedRequest) -> HttpAnswer:
        name, size = self.uploading
        assert "authorization" not in request.headers
        assert len(request.body) <= 4 * 1024 * 1024
        have = self.attached.get(name, b"")
        end = len(have) + len(request.body)
        assert request.headers["content-range"] == f"bytes {len(have)}-{end - 1}/{size}"
        self.attached[name] = have + request.body
        return HttpAnswer(status=201 if end == size else 200)

    def submits(self, request: ReceivedRequest) -> bool:
        return request.path.endswith("/send")


class TestLargeMessages(TransportContract):
    """Only the laws below: those of the contract are about small messages."""

    plugin = mailwright_graph
    document = {"auth": AUTH, "options": {"mailbox": "zoe@example.org", "large_messages": True}}
    service = Drafts
    message = Message(
        from_="zoe@example.org",
        to="ann@example.org",
        subject="Päckchen",
        html="<p>x</p>",
        attachments=[Part(content=BIG, filename="groß.bin"), Part(content=SMALL, filename="small.bin"),
                     Part(content=SMALL, filename="last.bin")],
    )  # fmt: skip

    def law(
        self, record: Provider[Any], *, trouble: Any = None, broken: str = "", **changes: Any
    ) -> tuple[Report, Any]:
        async def drive() -> tuple[Report, Any]:
            async with self.opened(record, trouble) as opened:
                opened.service.broken = broken
                given = submission(self.message.replace(**changes) if changes else self.message)

                async def commit() -> None:
                    assert not opened.service.submitted.is_set()
                    opened.service.committed = len(opened.service.requests)

                return await opened.transport.deliver(evolve(given, commit=commit)), opened.service

        return run(drive())

    def test_attachments_travel_by_themselves(self, record: Provider[Any]) -> None:
        report, service = self.law(record)
        assert [status.outcome for status in report.statuses] == ["accepted"], report
        paths = [request.path for request in service.requests]
        assert len(paths) == len(ORDER)
        assert all(path.endswith(end) for path, end in zip(paths, ORDER, strict=True))
        assert service.committed == len(ORDER) - 1
        mail = message_from_bytes(service.mime, policy=policy.default)
        assert mail["subject"] == "Päckchen"
        assert [part.get_filename() for part in mail.iter_attachments()] == ["last.bin"]
        assert mail.get_body(("html",)).get_content().strip() == "<p>x</p>"
        assert service.attached == {"groß.bin": BIG, "small.bin": SMALL}
        assert not service.deleted

    @pytest.mark.parametrize("broken", ["/messages", "/attachments", "/createUploadSession", "/upload", "/send"])
    def test_trouble_on_the_way_sends_nothing_and_leaves_no_draft(self, record: Provider[Any], broken: str) -> None:
        report, service = self.law(record, broken=broken)
        assert [(s.outcome, s.permanent) for s in report.statuses] == [("rejected", False)]
        assert service.deleted is (broken != "/messages")
        assert not service.delivered
        assert CANARY not in f"{report} {report.error}"

    def test_a_lost_answer_is_unknown_and_the_draft_stays(self, record: Provider[Any]) -> None:
        report, service = self.law(record, trouble="lost")
        assert [status.outcome for status in report.statuses] == ["unknown"]
        assert not service.deleted

    def test_what_cannot_be_taken_apart_is_refused(self, record: Provider[Any]) -> None:
        report, service = self.law(record, html="<p>" + "x" * 70 + "</p>\n" * 700_000, attachments=[])
        assert [(s.outcome, s.permanent) for s in report.statuses] == [("rejected", True)]
        assert "SMTP connection" in report.error.message
        assert not service.requests


for name in [name for name in vars(TransportContract) if name.startswith("test_")]:
    setattr(TestLargeMessages, name, None)


@pytest.mark.parametrize("step", [1, 7, 64, 4096])
async def test_parts_are_found_however_the_octets_come(step: int) -> None:
    class Chunked:
        def __init__(self, raw: bytes) -> None:
            self.raw, self.size = raw, len(raw)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for start in range(0, self.size, step):
                yield self.raw[start : start + step]

    files = [bytes([number]) * (500 * number + number) for number in range(4)]
    parts = [Part(content=octets, filename=f"{number}.bin") for number, octets in enumerate(files)]
    raw = bytes(compose(Message(from_="zoe@example.org", to="ann@example.org", text="x", attachments=parts)))
    composed = Chunked(raw)
    pieces = await large.pieces_of(composed)
    found = [b"".join([chunk async for chunk in large.content(composed, piece)]) for piece in pieces if piece.travels]
    assert found == files
    mail = message_from_bytes(await large.without(composed, pieces[2:4]), policy=policy.default)
    assert [part.get_filename() for part in mail.iter_attachments()] == ["0.bin", "3.bin"]


def submission(message: Message, envelope: Envelope | None = None) -> Submission:
    async def nothing() -> None:
        return

    return Submission(
        composed=compose(message),
        message=message,
        envelope=envelope or Envelope(sender=message.from_, recipients=message.recipients),
        idempotency_key="1",
        deadline=time.monotonic() + 20,
        commit=nothing,
    )


@pytest.mark.parametrize(
    ("code", "text", "hint"),
    [
        (403, "ErrorSendAsDenied: no", "Send As"),
        (403, "ErrorAccessDenied: no", "Mail.Send"),
        (404, "ErrorInvalidUser: no", "options.mailbox"),
        (400, "/me request is only valid with delegated authentication flow.", "options.mailbox"),
        (429, "ApplicationThrottled", "limits.rate"),
    ],
)
def test_refusals_are_explained(code: int, text: str, hint: str) -> None:
    [provider] = mailwright_graph.mailwright_providers()
    assert hint in (provider.explain(Reply(protocol="http", code=code, text=text)) or "")
