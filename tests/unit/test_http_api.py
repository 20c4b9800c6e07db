"""What transports over HTTP share: every answer, and none, has its outcome. Over TLS, against a server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from attrs import evolve

from mailwright import Envelope, Message, compose
from mailwright.errors import ApiError, AuthError, HttpError, LeaseLost
from mailwright.http_api import MailApi, retry_after_s, says
from mailwright.net import ConfiguredHttp
from mailwright.spi import (
    ConnectionInfo,
    HttpRequest,
    HttpResponse,
    Opening,
    RecipientStatus,
    Reply,
    Report,
    Submission,
)
from mailwright.system import SystemClock
from mailwright.testing import HttpAnswer, HttpService, ReceivedRequest

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
REQUEST = HttpRequest(method="POST", url="https://api.example.org/send?x=1", body=b"{}")
TOKEN = "canary-credential"


class Credential:
    """Renewed once."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.refusals: list[Reply] = []

    async def sign(self, request: HttpRequest) -> HttpRequest:
        return evolve(request, headers={**request.headers, "Authorization": f"Bearer {self.tokens[0]}"})

    async def refused(self, reply: Reply, challenge: bytes | None) -> bool:
        self.refusals.append(reply)
        self.tokens.pop(0)
        return bool(self.tokens)


class Api(HttpService):
    """Answers one after the other; the last one for good."""

    def __init__(self, *answers: HttpAnswer) -> None:
        super().__init__()
        self.answers = list(answers)

    async def answer(self, request: ReceivedRequest) -> HttpAnswer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def opening(api: HttpService, credential: object = None) -> Opening:
    async def reveal(secret: object) -> str:
        raise AssertionError

    info = ConnectionInfo(name=None, provider="x", sender=None)
    return Opening(connection=info, http=api.http, clock=SystemClock(), reveal=reveal, authenticator=credential)


def submission(*, seconds: float = 20.0, commit: object = None) -> Submission:
    async def nothing() -> None:
        return

    message = Message(from_="zoe@example.org", to="ann@example.org, bo@example.org", text="x")
    return Submission(
        composed=compose(message),
        message=message,
        envelope=Envelope(sender="zoe@example.org", recipients=("ann@example.org", "bo@example.org")),
        idempotency_key="1",
        deadline=SystemClock().monotonic() + seconds,
        commit=commit or nothing,
    )


@pytest.mark.parametrize(
    ("status", "outcome", "permanent"),
    [
        (200, "accepted", None),
        (202, "accepted", None),
        (301, "rejected", True),
        (400, "rejected", True),
        (403, "rejected", True),
        (404, "rejected", True),
        (408, "rejected", False),
        (413, "rejected", True),
        (422, "rejected", True),
        (425, "rejected", False),
        (429, "rejected", False),
        (500, "rejected", False),
        (502, "unknown", None),
        (503, "rejected", False),
        (504, "unknown", None),
    ],
)
async def test_every_status_has_its_outcome(status: int, outcome: str, permanent: bool | None) -> None:
    async with Api(HttpAnswer.json({"error": {"code": "Why", "message": "so\r\n\x1b[31m"}}, status=status)) as api:
        report = await MailApi(opening(api)).submit(submission(), REQUEST)
    assert [(s.outcome, s.permanent) for s in report.statuses] == [(outcome, permanent)] * 2
    assert report.final is not None
    assert report.final.code == status
    if outcome != "accepted":
        assert report.final.text == "Why: so\\x0d \\x1b[31m"


async def test_a_401_is_renewed_once_and_committed_once() -> None:
    commits: list[int] = []

    async def commit() -> None:
        commits.append(len(api.requests))

    credential = Credential("old", "new")
    async with Api(HttpAnswer(status=401), HttpAnswer(status=202)) as api:
        report = await MailApi(opening(api, credential)).submit(submission(commit=commit), REQUEST)
    assert [s.outcome for s in report.statuses] == ["accepted"] * 2
    assert [request.headers["authorization"] for request in api.requests] == ["Bearer old", "Bearer new"]
    assert commits == [0]


async def test_a_second_401_is_permanent_and_the_credential_stays_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    answer = HttpAnswer.json({"message": f"no such token: {TOKEN}"}, status=401)
    async with Api(answer) as api:
        report = await MailApi(opening(api, Credential(TOKEN, TOKEN))).submit(submission(), REQUEST)
    assert len(api.requests) == 2
    assert [(s.outcome, s.permanent, s.stage) for s in report.statuses] == [("rejected", True, "auth")] * 2
    assert isinstance(report.error, AuthError)
    assert TOKEN not in f"{report} {report.error} {report.final} {caplog.text}"
    assert "no such token: ***" in report.error.message


async def test_an_answer_that_never_comes_is_unknown() -> None:
    for trouble in ("lost", "cut", "hang"):
        async with Api(HttpAnswer(body=b"ok")) as api:
            await api.make(trouble)
            seconds = 0.5 if trouble == "hang" else 20
            report = await MailApi(opening(api)).submit(submission(seconds=seconds), REQUEST)
        assert [(s.outcome, s.permanent) for s in report.statuses] == [("unknown", None)] * 2, trouble


async def test_a_message_that_has_no_time_left_is_not_sent() -> None:
    async with Api(HttpAnswer()) as api:
        report = await MailApi(opening(api)).submit(submission(seconds=-1), REQUEST)
    assert [(s.outcome, s.permanent) for s in report.statuses] == [("rejected", False)] * 2
    assert not api.requests


async def test_a_lost_lease_is_raised_and_nothing_asked() -> None:
    async def commit() -> None:
        raise LeaseLost("another worker has it")

    async with Api(HttpAnswer()) as api:
        with pytest.raises(LeaseLost):
            await MailApi(opening(api)).submit(submission(commit=commit), REQUEST)
    assert not api.requests


async def test_a_credential_that_cannot_be_had_is_no_delivery() -> None:
    class Broken(Credential):
        async def sign(self, request: HttpRequest) -> HttpRequest:
            raise AuthError("the token cannot be renewed", permanent=False)

    async with Api(HttpAnswer()) as api:
        report = await MailApi(opening(api, Broken())).submit(submission(), REQUEST)
    assert [(s.outcome, s.permanent, s.stage) for s in report.statuses] == [("rejected", False, "auth")] * 2


async def test_retry_after_is_handed_on() -> None:
    async with Api(HttpAnswer(status=429, headers={"Retry-After": "7"})) as api:
        report = await MailApi(opening(api)).submit(submission(), REQUEST)
    assert report.retry_after_s == 7


async def test_a_quota_told_as_403_is_for_the_moment_where_the_api_says_so() -> None:
    async with Api(HttpAnswer(status=403, body=b"quota")) as api:
        mail = MailApi(opening(api), transient=lambda response: response.body == b"quota")
        report = await mail.submit(submission(), REQUEST)
    assert [s.permanent for s in report.statuses] == [False, False]


async def test_an_answer_is_read_per_recipient_and_nonsense_is_unknown() -> None:
    def read(response: HttpResponse) -> Report:
        refused = response.body.decode("ascii").split()
        return Report(
            statuses=tuple(
                RecipientStatus(address=a, outcome="rejected", permanent=True, stage="http")
                if a in refused
                else RecipientStatus(address=a, outcome="accepted", stage="http")
                for a in ("ann@example.org", "bo@example.org")
            )
        )

    async with Api(HttpAnswer(body=b"bo@example.org"), HttpAnswer(body=b"\xff")) as api:
        mail = MailApi(opening(api))
        first = await mail.submit(submission(), REQUEST, read=read)
        second = await mail.submit(submission(), REQUEST, read=read)
    assert [s.outcome for s in first.statuses] == ["accepted", "rejected"]
    assert [s.outcome for s in second.statuses] == ["unknown", "unknown"]


async def test_asking_raises_what_is_no_answer() -> None:
    async with Api(HttpAnswer(body=b"yes"), HttpAnswer.json({"error": "no"}, status=503)) as api:
        mail = MailApi(opening(api))
        assert (await mail.ask(REQUEST)).body == b"yes"
        with pytest.raises(ApiError, match="503 no") as caught:
            await mail.ask(REQUEST)
    assert caught.value.permanent is False
    assert caught.value.reply.code == 503


async def test_a_body_that_streams_has_its_length() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"cd"

    async with Api(HttpAnswer()) as api:
        await MailApi(opening(api)).ask(evolve(REQUEST, body=body, size=4))
    assert api.requests[0].body == b"abcd"
    assert api.requests[0].headers["content-length"] == "4"
    assert "transfer-encoding" not in api.requests[0].headers


async def test_a_server_that_does_not_finish_the_handshake_was_sent_nothing() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.transport.abort()
        gone.set()

    gone = asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(HttpError) as caught:
        await ConfiguredHttp(timeout_s=0.3).request(HttpRequest(method="GET", url=f"https://127.0.0.1:{port}/"))
    await gone.wait()
    server.close()
    assert caught.value.request_sent is False


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60.0),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0.0),
        ("999999999", 86400.0),
        ("soon", None),
        ("-3", None),
        ("٣", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(said: str, seconds: float | None) -> None:
    assert retry_after_s({"Retry-After": said}, now=NOW) == seconds


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (b'{"error": {"code": 403, "status": "DENIED", "message": "no"}}', "application/json", "DENIED: no"),
        (b'{"error": "invalid"}', "application/json", "invalid"),
        (b'{"ErrorCode": 406, "Message": "inactive"}', "application/json", "406: inactive"),
        (b'{"message": ["x"]}', "application/json", ""),
        (b"[1]", "application/json", ""),
        (b"busy\n", "text/plain; charset=utf-8", "busy"),
        (b"<html>busy</html>", "text/html", ""),
        (b"[" * 100000, "application/json", ""),
    ],
)
def test_words_are_found_in_the_usual_shapes(body: bytes, kind: str, text: str) -> None:
    assert says(HttpResponse(status=400, headers={"content-type": kind}, body=body)) == text
