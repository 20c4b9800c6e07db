"""Against moto's server, behind TLS; the contracts, and what is SES's own."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import mailwright_ses
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from mailwright_ses.credentials import AwsSettings, AwsSigner
from moto.server import ThreadedMotoServer

from mailwright import Envelope, Mailer, Message, Registry
from mailwright.errors import AuthError, ConfigurationError, DocumentError
from mailwright.spi import AuthTarget, HttpRequest, Reply, Report, Submission
from mailwright.testing import Delivered, HttpAnswer, HttpService, ReceivedRequest
from mailwright.testing.contracts import CANARY, AuthContract, ProviderContract, TransportContract
from mailwright.testing.laws import composed

AUTH = {"type": "aws", "access_key_id": "AKIDEXAMPLE", "secret_access_key": CANARY}
TARGET = AuthTarget(protocol="http", host="email.us-east-1.amazonaws.com")


class Moto:
    """One server for all tests of this module."""

    url: ClassVar[str] = ""

    @classmethod
    def ask(cls, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> HttpAnswer:
        request = urllib.request.Request(f"{cls.url}{path}", data=body, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return HttpAnswer(status=answer.status, body=answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return HttpAnswer(status=error.code, body=error.read())


@pytest.fixture(autouse=True, scope="module")
def _moto() -> Iterator[None]:
    logging.getLogger("werkzeug").setLevel("ERROR")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    Moto.url = f"http://{host}:{port}"
    try:
        yield
    finally:
        server.stop()


class Ses(HttpService):
    """TLS in front of moto, and what moto leaves out: refusals, the account, the signature's form."""

    async def answer(self, request: ReceivedRequest) -> HttpAnswer:
        assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
        assert "/us-east-1/ses/aws4_request" in request.headers["authorization"]
        if request.path == "/v2/email/account":
            quota = {"Max24HourSend": 200.0, "MaxSendRate": 1.0, "SentLast24Hours": 0.0}
            return HttpAnswer.json({"ProductionAccessEnabled": False, "SendQuota": quota, "SendingEnabled": True})
        mail = request.json()
        told = mail["Destination"]["ToAddresses"]
        if self.refused & set(told):
            return aws(400, "MessageRejected", "Email address is not verified.")
        headers = {name: request.headers[name] for name in ("authorization", "x-amz-date", "content-type", "host")}
        identity = json.dumps({"EmailIdentity": mail["FromEmailAddress"]}).encode()
        await asyncio.to_thread(Moto.ask, "POST", "/v2/email/identities", identity, headers)
        answer = await asyncio.to_thread(Moto.ask, request.method, request.path, request.body, headers)
        if answer.status != 200:
            return answer
        raw = base64.b64decode(mail["Content"]["Raw"]["Data"])
        return self.take(Delivered(sender=mail["FromEmailAddress"], recipients=tuple(told), raw=raw), answer)

    def submits(self, request: ReceivedRequest) -> bool:
        return request.path == "/v2/email/outbound-emails"


def aws(status: int, kind: str, message: str) -> HttpAnswer:
    return HttpAnswer.json({"message": message}, status=status, headers={"x-amzn-errortype": f"{kind}:http://internal"})


class TestProvider(ProviderContract):
    plugin = mailwright_ses


class TestAuth(AuthContract):
    plugin = mailwright_ses
    document: ClassVar[dict[str, Any]] = {key: value for key, value in AUTH.items() if key != "type"}


class TestTransport(TransportContract):
    plugin = mailwright_ses
    service = Ses
    document: ClassVar[dict[str, Any]] = {"auth": AUTH}


class Answering(Ses):
    said: ClassVar[HttpAnswer]

    async def answer(self, request: ReceivedRequest) -> HttpAnswer:
        return self.said


async def delivered(message: Message, said: HttpAnswer | None = None, **options: Any) -> tuple[Report, list[Any]]:
    contract = TestTransport()
    service = type("Said", (Answering,), {"said": said}) if said else Ses
    contract = type(
        "Contract", (TestTransport,), {"service": service, "document": {"auth": AUTH, "options": options}}
    )()
    [record] = mailwright_ses.mailwright_providers()

    async def commit() -> None:
        """No books."""

    async with contract.opened(record) as opened:
        submission = Submission(
            composed=composed(message),
            message=message,
            envelope=Envelope(sender=message.from_, recipients=message.recipients),
            idempotency_key="<1@example.org>",
            deadline=1e12,
            commit=commit,
        )
        return await opened.transport.deliver(submission), opened.service.requests


def message(**changes: Any) -> Message:
    usual: dict[str, Any] = {
        "from_": "zoe@example.org", "to": "ann@example.org", "bcc": "bo@example.org", "subject": "Grüße", "text": "Hello",
        "message_id": "<1@example.org>", "date": datetime(2026, 11, 2, tzinfo=UTC),
    }  # fmt: skip
    return Message(**{**usual, **changes})


async def test_blind_copies_are_in_the_envelope_only() -> None:
    report, [request] = await delivered(message(), configuration_set="news")
    assert [status.outcome for status in report.statuses] == ["accepted", "accepted"]
    assert report.server_id
    mail = request.json()
    assert mail["Destination"] == {"ToAddresses": ["ann@example.org", "bo@example.org"]}
    assert mail["ConfigurationSetName"] == "news"
    assert b"bo@example.org" not in base64.b64decode(mail["Content"]["Raw"]["Data"])


@pytest.mark.parametrize(
    ("status", "kind", "text", "permanent", "why"),
    [
        (429, "TooManyRequestsException", "Maximum sending rate exceeded.", False, "lower limits.rate"),
        (400, "SendingPausedException", "Paused.", False, "switch it on"),
        (400, "MessageRejected", "Email address is not verified.", True, "sender is not verified"),
        (403, "SignatureDoesNotMatch", "The request signature", True, "does not fit"),
        (404, "NotFoundException", "Configuration set", True, "no such configuration set"),
        (500, "InternalFailure", "", False, None),
    ],
)
async def test_aws_errors_have_their_meaning(
    status: int, kind: str, text: str, permanent: bool, why: str | None
) -> None:
    report, _ = await delivered(message(), aws(status, kind, text))
    assert {(one.outcome, one.permanent) for one in report.statuses} == {("rejected", permanent)}
    assert report.final is not None
    assert kind in report.final.text
    said = mailwright_ses.explain(report.final)
    assert said is None if why is None else why in (said or "")


async def test_addresses_outside_ascii_are_refused_before_anything_is_sent() -> None:
    report, requests = await delivered(message(to="zoë@example.org"))
    assert {(one.outcome, one.permanent) for one in report.statuses} == {("rejected", True)}
    assert "outside ASCII" in str(report.error)
    assert not requests


async def test_verify_tells_the_quota() -> None:
    [record] = mailwright_ses.mailwright_providers()
    async with TestTransport().opened(record) as opened:
        steps = [step async for step in opened.transport.verify()]
    assert steps == [
        "AWS takes the credentials in us-east-1",
        "in the sandbox, to verified addresses only; 1 messages a second, 200 a day",
    ]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"options": {"region": "mars"}}, r"\$\.options\.region"),
        ({"options": {"configuration_set": "a b"}}, r"\$\.options"),
        ({"auth": {"type": "aws", "access_key_id": "AKID"}}, r"secret_access_key"),
        ({"auth": {"type": "aws", "session_token": "env:X"}}, r"session_token"),
    ],
)
def test_documents_are_checked_before_anything_is_sent(changes: dict[str, Any], path: str) -> None:
    document = {"provider": "ses-api", "auth": AUTH, **changes}
    with pytest.raises((DocumentError, ConfigurationError), match=path):
        Mailer(document, registry=Registry([mailwright_ses])).send_sync(message())


class Revealing:
    async def reveal(self, secret: Any) -> str:
        return str(secret.reference)


async def test_the_signature_covers_address_headers_and_body() -> None:
    """What AWS would compute from the request that arrives."""
    signer = AwsSigner(AwsSettings(), TARGET, Revealing())  # type: ignore[arg-type]
    request = HttpRequest(
        method="POST", url="https://email.us-east-1.amazonaws.com/v2/email/outbound-emails",
        headers={"Content-Type": "application/json"}, body=b"{}",
    )  # fmt: skip
    signed = signer._signed(request, ("AKID", "secret", "session"))
    assert signed.headers["X-Amz-Security-Token"] == "session"
    for changed in (b"{}", b"{ }"):
        again = AWSRequest(method="POST", url=request.url, headers={**signed.headers}, data=changed)
        moment = signed.headers["X-Amz-Date"]
        del again.headers["Authorization"]
        again.context["timestamp"] = moment
        judge = SigV4Auth(Credentials("AKID", "secret", "session"), "ses", "us-east-1")
        text = judge.string_to_sign(again, judge.canonical_request(again))
        same = signed.headers["Authorization"].endswith(judge.signature(text, again))
        assert same is (changed == b"{}")


async def test_credentials_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    request = HttpRequest(method="GET", url="https://email.us-east-1.amazonaws.com/v2/email/account")
    with pytest.raises(AuthError, match="no AWS credentials"):
        await AwsSigner(AwsSettings(), TARGET, Revealing()).sign(request)  # type: ignore[arg-type]
    (tmp_path / "credentials").write_text("[mail]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = x\n")
    with pytest.raises(AuthError, match="gone"):
        await AwsSigner(AwsSettings(profile="gone"), TARGET, Revealing()).sign(request)  # type: ignore[arg-type]
    found = await AwsSigner(AwsSettings(profile="mail"), TARGET, Revealing()).sign(request)  # type: ignore[arg-type]
    assert "Credential=AKIDPROFILE/" in found.headers["Authorization"]


def test_what_nobody_knows_is_not_explained() -> None:
    assert mailwright_ses.explain(Reply(protocol="http", code=400, text="Odd: thing")) is None
