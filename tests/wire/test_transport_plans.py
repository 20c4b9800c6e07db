"""Several transactions for one message, notifications, sessions that end, and what a used session may do."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve

from mailwright import Connection, Envelope, Message
from mailwright.errors import AuthError, MailwrightError
from mailwright.mime import compose
from mailwright.model import Dsn, Limits, Report, SmtpEndpoint, Timeouts
from mailwright.sasl import passwords
from mailwright.spi import SaslMechanism, SaslOffer, Settings, Submission, no_commit
from mailwright.system import SystemClock
from mailwright.testing import Fault, ScriptedServer
from mailwright.testing.smtp_session import ServerSession
from mailwright.transport import SmtpTransport, session

PATIENT = Timeouts(connect=30, command=30, data=30, reply=30, total=60)
IMPATIENT = Timeouts(connect=30, command=1, data=1, reply=1, total=60)  # where the server says nothing
SECRET = "canary-0123456789"


class Password:
    def __init__(self, password: str = SECRET, *, renewed: str | None = None) -> None:
        self.password, self.renewed = password, renewed
        self.offers: list[SaslOffer] = []
        self.refusals = 0

    async def sasl(self, offer: SaslOffer) -> SaslMechanism:
        self.offers.append(offer)
        return passwords("ann", self.password, offer)

    async def sign(self, request: Any) -> Any:
        raise NotImplementedError

    async def refused(self, reply: Any, challenge: bytes | None) -> bool:
        self.refusals += 1
        if self.renewed is None:
            return False
        self.password = self.renewed
        return True

    async def aclose(self) -> None:
        pass


def submission(*recipients: str, commits: list[int] | None = None, **options: Any) -> Submission:
    message = Message(
        from_="me@x.org", to="a@x.org", subject="s", text="Hello", message_id="<1@x.org>",
        date=datetime(2026, 1, 2, tzinfo=UTC), **options,
    )  # fmt: skip

    async def commit() -> None:
        assert commits is not None
        commits.append(1)

    return Submission(
        composed=compose(message, token=lambda: "0" * 32),
        message=message,
        envelope=Envelope(sender="me@x.org", recipients=recipients or ("a@x.org",)),
        idempotency_key="1",
        deadline=SystemClock().monotonic() + 60,
        commit=no_commit if commits is None else commit,
    )


def transport(
    server: ScriptedServer, auth: Any = None, *, limits: Limits | None = None, **options: Any
) -> SmtpTransport:
    connection = Connection(
        provider="smtp",
        settings=Settings(),
        ca_file=str(server.ca_file) if server.ca_file else None,
        **{"timeouts": PATIENT, **options},
    )
    endpoint = SmtpEndpoint(host=server.host, port=server.port, tls=server.tls)
    return SmtpTransport(endpoint, connection, limits=limits or Limits(), authenticator=auth, clock=SystemClock())


async def once(server: ScriptedServer, job: Submission | None = None, auth: Any = None, **options: Any) -> Report:
    sender = transport(server, auth, **options)
    try:
        return await sender.deliver(job or submission())
    finally:
        await sender.aclose()


def outcomes(report: Report) -> list[str]:
    return [status.outcome for status in report.statuses]


PIPELINING = pytest.mark.parametrize("extensions", [("PIPELINING", "SMTPUTF8", "DSN"), ("SMTPUTF8", "DSN")])


@PIPELINING
async def test_more_recipients_than_the_server_takes_go_in_further_transactions(extensions: Any) -> None:
    people = [f"u{n}@x.org" for n in range(7)]
    commits: list[int] = []
    async with ScriptedServer(extensions=extensions, recipients=3) as server:
        report = await once(server, submission(*people, commits=commits), mask=frozenset({"LIMITS"}))
        assert outcomes(report) == ["accepted"] * 7
        assert [status.address for status in report.statuses] == people
        assert [len(message.rcpt_to) for message in server.messages] == [3, 3, 1]
        assert len(commits) == 1
        assert len(server.sessions) == 1
    async with ScriptedServer(extensions=extensions, recipients=3) as server:
        assert outcomes(await once(server, submission(*people))) == ["accepted"] * 7
        assert not any(line.startswith("S: 452") for line in server.sessions[0].dialogue)


async def test_a_session_lost_between_transactions_leaves_the_rest_for_later() -> None:
    def rcpt(address: str) -> str | None:
        return "421 4.3.2 closing" if address == "u3@x.org" else None

    async with ScriptedServer(extensions=(), recipients=2, replies={"rcpt": rcpt}) as server:
        report = await once(server, submission(*(f"u{n}@x.org" for n in range(6))))
        assert outcomes(report) == ["accepted"] * 2 + ["rejected"] * 4
        assert [status.permanent for status in report.statuses[2:]] == [False] * 4


async def test_smtputf8_recipients_have_a_transaction_of_their_own() -> None:
    async with ScriptedServer() as server:
        report = await once(server, submission("jörg@x.org", "b@x.org"))
        assert outcomes(report) == ["accepted", "accepted"]
        assert [(message.rcpt_to, "SMTPUTF8" in message.mail_options) for message in server.messages] == [
            (("b@x.org",), False),
            (("jörg@x.org",), True),
        ]


async def test_dsn_is_asked_for() -> None:
    wanted = Dsn(notify=frozenset({"success", "failure"}), ret="full", envid="id=1")
    async with ScriptedServer() as server:
        assert outcomes(await once(server, submission(dsn=wanted))) == ["accepted"]
        [message] = server.messages
        assert message.mail_options == ("RET=FULL", "ENVID=id+3D1")
        assert message.rcpt_options == (("NOTIFY=FAILURE,SUCCESS", "ORCPT=rfc822;a@x.org"),)
    async with ScriptedServer(extensions=()) as server:
        report = await once(server, submission(dsn=wanted))
        assert report.error is not None
        assert "DSN" in report.error.message


@PIPELINING
async def test_421_to_mail_on_a_used_session_costs_no_attempt(extensions: Any) -> None:
    async with ScriptedServer(extensions=extensions) as server:
        sender = transport(server)
        assert outcomes(await sender.deliver(submission())) == ["accepted"]
        server._faults.append(Fault(stage="mail", kind="421", times=1))
        server._used.append(0)
        assert outcomes(await sender.deliver(submission())) == ["accepted"]
        assert len(server.sessions) == 2
        await sender.aclose()


async def test_421_to_mail_on_a_fresh_session_is_an_attempt() -> None:
    async with ScriptedServer(faults=[Fault(stage="mail", kind="421")]) as server:
        report = await once(server)
        assert (report.statuses[0].outcome, report.statuses[0].permanent) == ("rejected", False)
        assert len(server.sessions) == 1


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "final"])
@PIPELINING
async def test_a_second_reply_never_answers_the_next_message(stage: Any, extensions: Any) -> None:
    async with ScriptedServer(
        extensions=extensions,
        replies={stage: lambda about: None} if stage in {"mail", "rcpt"} else {},
        faults=[Fault(stage=stage, kind="two-replies", times=1)],
    ) as server:
        sender = transport(server)
        first = await sender.deliver(submission())
        second = await sender.deliver(submission())
        await sender.aclose()
        assert outcomes(second) == ["accepted"]
        assert first.statuses[0].outcome in ({"accepted"} if stage == "final" else {"rejected", "unknown"})
        assert first.statuses[0].permanent is not True


async def test_a_refused_rset_closes_the_session() -> None:
    def rcpt(address: str) -> str | None:
        return "550 5.1.1 no" if address == "bad@x.org" else None

    async with ScriptedServer(replies={"rcpt": rcpt, "rset": "500 what"}) as server:
        sender = transport(server)
        report = await sender.deliver(submission("bad@x.org"))
        assert (report.statuses[0].permanent, report.error) == (True, None)
        assert outcomes(await sender.deliver(submission("good@x.org"))) == ["accepted"]
        assert len(server.sessions) == 2
        await sender.aclose()


@pytest.mark.parametrize("kind", ["drop", "reset", "hang", "flood", "garbage", "long-line", "bad-code", "421"])
async def test_nothing_at_quit_changes_the_outcome(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "QUIT_S", 0.1)
    async with ScriptedServer(faults=[Fault(stage="quit", kind=kind)]) as server:
        assert outcomes(await once(server, limits=Limits(messages_per_session=1))) == ["accepted"]
        assert len(server.messages) == 1


async def test_an_idle_session_is_closed_in_time() -> None:
    async with ScriptedServer() as server:
        sender = transport(server, limits=Limits(idle=0.001))
        await sender.deliver(submission())
        async with asyncio.timeout(5):
            while "QUIT" not in server.commands[0]:
                await asyncio.sleep(0)
        assert outcomes(await sender.deliver(submission())) == ["accepted"]
        assert len(server.sessions) == 2
        await sender.aclose()


async def test_a_message_waits_for_a_session_no_longer_than_it_may() -> None:
    async with ScriptedServer(faults=[Fault(stage="final", kind="hang")]) as server:
        sender = transport(server, limits=Limits(connections=1), timeouts=IMPATIENT)
        first = asyncio.create_task(sender.deliver(submission()))
        await asyncio.sleep(0)
        late = await sender.deliver(evolve(submission(), deadline=SystemClock().monotonic()))
        assert late.error is not None
        assert late.error.code == "ETIMEDOUT"
        assert outcomes(await first) == ["unknown"]
        await sender.aclose()


# -- SCRAM and what follows from a refusal


def scram_server(monkeypatch: pytest.MonkeyPatch, *, prove: bool = True, wrong: bool = False) -> list[bytes]:
    """Teach the scripted server SCRAM-SHA-256; the gs2 headers it hears are collected."""
    headers: list[bytes] = []

    async def verify(self: ServerSession, initial: bytes | None) -> str | None:
        first = (initial if initial is not None else await self._ask(b"")).decode()
        flag, authzid, bare = first.split(",", 2)
        user = re.match(r"n=([^,]*)", bare)
        nonce = bare.partition("r=")[2] + "server"
        salt, count = b"salt", 4096
        server_first = f"r={nonce},s={base64.b64encode(salt).decode()},i={count}"
        last = (await self._ask(server_first.encode())).decode()
        without, _, proof = last.rpartition(",p=")
        headers.append(base64.b64decode(without[2:].partition(",")[0]))
        assert headers[-1].startswith(f"{flag},{authzid},".encode())
        assert user is not None
        salted = hashlib.pbkdf2_hmac("sha256", self.server.users[user.group(1)].encode(), salt, count)
        signed = f"{bare},{server_first},{without}".encode()
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        if bytes(a ^ b for a, b in zip(key, signature, strict=True)) != base64.b64decode(proof):
            return None
        if prove:
            server_key = hmac.digest(b"x" if wrong else salted, b"Server Key", "sha256")
            await self._ask(b"v=" + base64.b64encode(hmac.digest(server_key, signed, "sha256")))
        return user.group(1)

    for name in ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"):
        monkeypatch.setitem(ServerSession._MECHANISMS, name, verify)
    return headers


@pytest.mark.parametrize("tls", ["starttls", "tls"])
@pytest.mark.parametrize(
    ("offered", "mask", "header"),
    [
        (("SCRAM-SHA-256", "PLAIN"), (), b"y,,"),
        (("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "PLAIN"), (), b"p=tls-server-end-point,,"),
        (("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"), ("SCRAM-SHA-256-PLUS",), b"n,,"),
    ],
)
async def test_scram_logs_in(tls: Any, offered: Any, mask: Any, header: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = scram_server(monkeypatch)
    async with ScriptedServer(tls=tls, users={"ann": SECRET}, mechanisms=offered) as server:
        auth = Password()
        assert outcomes(await once(server, auth=auth, mask=frozenset(mask))) == ["accepted"]
        assert headers[0].startswith(header)
        if header.startswith(b"p"):
            assert headers[0].removeprefix(header) == auth.offers[0].channel_bindings["tls-server-end-point"]
        assert SECRET.encode() not in bytes(server.sessions[0].received)


@pytest.mark.parametrize("options", [{"prove": False}, {"wrong": True}], ids=["no proof", "wrong proof"])
async def test_a_server_that_cannot_prove_itself_gets_no_message(options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scram_server(monkeypatch, **options)
    async with ScriptedServer(tls="starttls", users={"ann": SECRET}, mechanisms=["SCRAM-SHA-256"]) as server:
        report = await once(server, auth=Password())
        assert isinstance(report.error, AuthError)
        assert server.messages == []


async def test_a_renewed_credential_is_tried_on_a_new_session_when_the_server_hangs_up() -> None:
    faults = [Fault(stage="auth", kind="421", times=1)]
    async with ScriptedServer(tls="starttls", users={"ann": SECRET}, faults=faults) as server:
        auth = Password("old", renewed=SECRET)
        assert outcomes(await once(server, auth=auth)) == ["accepted"]
        assert (auth.refusals, len(server.sessions)) == (1, 2)


async def test_a_renewed_credential_is_tried_once_only() -> None:
    async with ScriptedServer(tls="starttls", users={"ann": SECRET}) as server:
        auth = Password("old", renewed="older")
        report = await once(server, auth=auth)
        assert isinstance(report.error, AuthError)
        assert (auth.refusals, sum(line == "AUTH" for line in server.commands[0])) == (1, 2)


async def test_a_server_that_repeats_the_credential_does_not_leak_it(caplog: pytest.LogCaptureFixture) -> None:
    blob = base64.b64encode(f"\0ann\0{SECRET}".encode()).decode()
    caplog.set_level(logging.DEBUG)
    async with ScriptedServer(
        tls="starttls", users={"ann": SECRET}, mechanisms=["PLAIN"], replies={"auth": f"535 5.7.8 what is {blob}?"}
    ) as server:
        report = await once(server, auth=Password())
        shown = repr(report) + str(report.error) + caplog.text
        assert "[credential]" in shown
        assert blob not in shown
        assert SECRET not in shown


async def test_a_server_that_never_stops_asking_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(self: ServerSession, initial: bytes | None) -> str | None:
        while True:
            await self._ask(b"again")

    monkeypatch.setitem(ServerSession._MECHANISMS, "PLAIN", ask)
    async with ScriptedServer(tls="starttls", users={"ann": SECRET}, mechanisms=["PLAIN"]) as server:
        report = await once(server, auth=Password())
        assert report.error is not None
        assert report.error.code == "EPROTOCOL"


async def test_verify_stops_where_it_stops() -> None:
    async with ScriptedServer(tls="starttls", users={"ann": "other"}) as server:
        sender = transport(server, Password())
        steps: list[str] = []

        async def verify() -> None:
            async for step in sender.verify():
                steps.append(step.split()[0])  # noqa: PERF401 - what came before the error counts

        with pytest.raises(AuthError):
            await verify()
        assert steps == ["connected", "encrypted"]
        await sender.aclose()


@pytest.mark.parametrize("host", ["a\r\nb", "a b", "", "a/b", "u@h"])
async def test_no_host_can_smuggle_anything(host: str) -> None:
    from mailwright.transport.dial import dial

    for proxy in (None, "http://127.0.0.1:1"):
        with pytest.raises(MailwrightError, match="not a host name"):
            await dial(host, 25, proxy=proxy, limit_s=1)


async def test_the_wire_trace_has_stages_and_codes_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="mailwright.wire")
    async with ScriptedServer(tls="starttls", users={"ann": SECRET}) as server:
        await once(server, auth=Password())
    text = " ".join(record.getMessage() for record in caplog.records)
    assert "C: AUTH PLAIN" in text
    assert "S: 235" in text
    assert "C: MAIL RCPT DATA" in text
    for hidden in (SECRET, "x.org", "Hello", base64.b64encode(f"\0ann\0{SECRET}".encode()).decode()):
        assert hidden not in text
