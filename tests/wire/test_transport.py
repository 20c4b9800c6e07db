"""The SMTP transport against the scripted server: outcomes, faults at every stage, TLS and credentials."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve

from mailwright import Connection, Envelope, Message
from mailwright.errors import LeaseLost
from mailwright.mime import compose
from mailwright.model import Limits, Report, SmtpEndpoint, Timeouts
from mailwright.sasl import passwords, tokens
from mailwright.spi import SaslMechanism, SaslOffer, Settings, Submission
from mailwright.system import SystemClock
from mailwright.testing import Fault, ScriptedServer
from mailwright.transport import SmtpTransport

PATIENT = Timeouts(connect=30, command=30, data=30, reply=30, total=60)
IMPATIENT = Timeouts(connect=2, command=1, data=1, reply=1, total=60)  # where the server says nothing
SECRET = "canary-0123456789"


class Password:
    """A given user and password."""

    def __init__(self, user: str = "ann", password: str = SECRET, *, token: bool = False) -> None:
        self.user, self.password, self.token = user, password, token
        self.refusals: list[tuple[Any, Any]] = []
        self.renewed: str | None = None

    async def sasl(self, offer: SaslOffer) -> SaslMechanism:
        return (tokens if self.token else passwords)(self.user, self.password, offer)

    async def sign(self, request: Any) -> Any:
        raise NotImplementedError

    async def refused(self, reply: Any, challenge: bytes | None) -> bool:
        self.refusals.append((reply, challenge))
        if self.renewed is None:
            return False
        self.password = self.renewed
        return True

    async def aclose(self) -> None:
        pass


def submission(*recipients: str, text: str = "Hello\r\n.dot\r\n", **changes: Any) -> Submission:
    message = Message(
        from_="me@x.org",
        to=recipients or ("a@x.org",),
        subject="s",
        text=text,
        message_id="<1@x.org>",
        date=datetime(2026, 1, 2, tzinfo=UTC),
    )
    found = Submission(
        composed=compose(message, token=lambda: "0" * 32),
        message=message,
        envelope=Envelope(sender="me@x.org", recipients=recipients or ("a@x.org",)),
        idempotency_key="1",
        deadline=SystemClock().monotonic() + 60,
    )
    return evolve(found, **changes)


def transport(
    server: ScriptedServer, auth: Any = None, *, timeouts: Timeouts = PATIENT, **options: Any
) -> SmtpTransport:
    host = options.pop("host", server.host)
    limits = options.pop("limits", Limits())
    connection = Connection(
        provider="smtp",
        settings=Settings(),
        timeouts=timeouts,
        ca_file=str(server.ca_file) if server.ca_file else None,
        **options,
    )
    endpoint = SmtpEndpoint(host=host, port=server.port, tls=server.tls)
    return SmtpTransport(endpoint, connection, limits=limits, authenticator=auth, clock=SystemClock())


async def once(server: ScriptedServer, job: Submission | None = None, auth: Any = None, **options: Any) -> Report:
    sender = transport(server, auth, **options)
    try:
        return await sender.deliver(job or submission())
    finally:
        await sender.aclose()


def outcomes(report: Report) -> list[str]:
    return [status.outcome for status in report.statuses]


PIPELINING = pytest.mark.parametrize("extensions", [("PIPELINING", "SMTPUTF8"), ()], ids=["pipelining", "one-by-one"])


@PIPELINING
@pytest.mark.parametrize("deliver", ["blob", "line", "byte"])
@pytest.mark.parametrize("tls", ["none", "starttls", "tls"])
async def test_a_letter_arrives_octet_for_octet(extensions: Any, deliver: Any, tls: Any) -> None:
    async with ScriptedServer(extensions=extensions, deliver=deliver, tls=tls) as server:
        job = submission("a@x.org", "b@x.org")
        report = await once(server, job)
        assert outcomes(report) == ["accepted", "accepted"]
        assert server.messages[0].raw == bytes(job.composed)
        assert server.messages[0].rcpt_to == ("a@x.org", "b@x.org")
        assert server.messages[0].encrypted is (tls != "none")
        assert not server.messages[0].bare


@PIPELINING
async def test_each_recipient_has_its_own_outcome(extensions: Any) -> None:
    def rcpt(address: str) -> str | None:
        return {"b@x.org": "550 5.1.1 no such user", "c@x.org": "451 4.7.1 later"}.get(address)

    async with ScriptedServer(extensions=extensions, replies={"rcpt": rcpt}) as server:
        report = await once(server, submission("a@x.org", "b@x.org", "c@x.org"))
        assert outcomes(report) == ["accepted", "rejected", "rejected"]
        assert [status.permanent for status in report.statuses] == [None, True, False]
        assert report.statuses[1].reply is not None
        assert report.statuses[1].reply.enhanced == "5.1.1"
        assert server.messages[0].rcpt_to == ("a@x.org",)


@pytest.mark.parametrize("lenient", [True, False], ids=["354 anyway", "503"])
@PIPELINING
async def test_all_rejected_sends_nothing_and_the_session_goes_on(extensions: Any, lenient: bool) -> None:
    def rcpt(address: str) -> str | None:
        return "550 5.1.1 no" if address == "bad@x.org" else None

    async with ScriptedServer(extensions=extensions, replies={"rcpt": rcpt}, data_without_recipients=lenient) as server:
        sender = transport(server)
        assert outcomes(await sender.deliver(submission("bad@x.org"))) == ["rejected"]
        assert outcomes(await sender.deliver(submission("good@x.org"))) == ["accepted"]
        await sender.aclose()
        assert len(server.sessions) == 1
        assert [message.rcpt_to for message in server.messages] == [("good@x.org",)]


STAGES = ["greeting", "ehlo", "mail", "rcpt", "data", "final"]
BREAKS = ["drop", "reset", "hang", "flood", "garbage", "long-line", "bad-code", "mixed-codes", "421"]


@PIPELINING
@pytest.mark.parametrize("kind", BREAKS)
@pytest.mark.parametrize("stage", STAGES)
async def test_faults_never_count_as_sent_nor_as_permanent(stage: Any, kind: Any, extensions: Any) -> None:
    async with ScriptedServer(extensions=extensions, faults=[Fault(stage=stage, kind=kind)]) as server:
        report = await once(server, timeouts=IMPATIENT if kind == "hang" else PATIENT)
        [status] = report.statuses
        if stage == "ehlo" and kind in {"bad-code", "mixed-codes"}:
            return  # aiosmtplib reads the last line's code there; nothing of a message has been said yet
        if stage == "final" and kind != "421":
            assert status.outcome == "unknown"
        else:
            assert (status.outcome, status.permanent) == ("rejected", False)


@pytest.mark.parametrize("kind", ["accept-drop", "accept-hang"])
async def test_lost_after_the_final_dot_is_unknown(kind: Any) -> None:
    async with ScriptedServer(faults=[Fault(stage="final", kind=kind)]) as server:
        report = await once(server, timeouts=IMPATIENT if kind == "accept-hang" else PATIENT)
        assert outcomes(report) == ["unknown"]
        assert len(server.messages) == 1


@pytest.mark.parametrize("kind", ["drop", "reset", "early-reply"])
async def test_lost_within_the_body_is_not_sent(kind: Any) -> None:
    async with ScriptedServer(extensions=["PIPELINING"], faults=[Fault(stage="body", kind=kind)]) as server:
        report = await once(server, submission(text="x" * 70 + "\r\n" + "line of text\r\n" * 2_000_000))
        [status] = report.statuses
        assert status.outcome == "rejected"
        assert status.permanent is (kind == "early-reply" and status.reply is not None)
        assert server.messages == []


@pytest.mark.parametrize(("code", "permanent"), [("451 4.3.0 later", False), ("554 5.6.0 never", True)])
@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "final"])
async def test_refusals_are_classed_by_their_code(stage: Any, code: str, permanent: bool) -> None:
    async with ScriptedServer(replies={stage: code}) as server:
        [status] = (await once(server)).statuses
        assert (status.outcome, status.permanent, status.stage) == ("rejected", permanent, stage)
        assert server.messages == []


async def test_a_session_serves_many_messages_and_a_dead_one_is_replaced() -> None:
    async with ScriptedServer() as server:
        sender = transport(server, limits=Limits(messages_per_session=3))
        for _ in range(7):
            assert outcomes(await sender.deliver(submission())) == ["accepted"]
        assert len(server.sessions) == 3
        sender._lanes._idle[0]._protocol.abort()
        assert outcomes(await sender.deliver(submission())) == ["accepted"]
        await sender.aclose()
        await sender.aclose()


async def test_an_idle_session_that_was_closed_by_the_server_costs_nothing() -> None:
    async with ScriptedServer() as server:
        sender = transport(server)
        await sender.deliver(submission())
        server.sessions[0]._writer.transport.abort()
        assert outcomes(await sender.deliver(submission())) == ["accepted"]
        assert len(server.sessions) == 2
        await sender.aclose()


async def test_concurrent_messages_share_the_sessions_allowed() -> None:
    async with ScriptedServer() as server:
        sender = transport(server, limits=Limits(connections=3))
        reports = await asyncio.gather(*(sender.deliver(submission(f"u{i}@x.org")) for i in range(20)))
        await sender.aclose()
        assert all(outcomes(report) == ["accepted"] for report in reports)
        assert len(server.sessions) <= 3
        assert sorted(message.rcpt_to[0] for message in server.messages) == sorted(f"u{i}@x.org" for i in range(20))


async def test_size_is_checked_before_mail() -> None:
    async with ScriptedServer(size=100) as server:
        report = await once(server)
        assert outcomes(report) == ["rejected"]
        assert "the server takes 100" in str(report.error)
        assert not any(line.startswith("MAIL") for line in server.commands[0])


async def test_without_smtputf8_only_those_who_need_it_are_refused() -> None:
    async with ScriptedServer(extensions=()) as server:
        report = await once(server, _mixed())
        assert outcomes(report) == ["rejected", "accepted"]
        assert report.statuses[0].permanent is True


def _mixed() -> Submission:
    return evolve(submission("b@x.org"), envelope=Envelope(sender="me@x.org", recipients=("jörg@x.org", "b@x.org")))


async def test_commit_is_awaited_before_the_dot_and_can_stop_it() -> None:
    async def lost() -> None:
        raise LeaseLost("somebody else has it")

    async with ScriptedServer() as server:
        report = await once(server, submission(commit=lost))
        assert outcomes(report) == ["rejected"]
        assert server.messages == []


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
async def test_passwords_log_in(mechanism: str) -> None:
    async with ScriptedServer(tls="starttls", users={"ann": SECRET}, mechanisms=[mechanism]) as server:
        assert outcomes(await once(server, auth=Password())) == ["accepted"]
        assert server.messages[0].user == "ann"


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
async def test_tokens_log_in_and_a_refusal_keeps_its_challenge(mechanism: str) -> None:
    async with ScriptedServer(tls="starttls", tokens={"ann": SECRET}, mechanisms=[mechanism]) as server:
        assert outcomes(await once(server, auth=Password(token=True))) == ["accepted"]
        wrong = Password(password="expired", token=True)
        report = await once(server, auth=wrong)
        assert report.error is not None
        assert (report.error.code, report.error.command) == ("EAUTH", f"AUTH {mechanism}")
        assert b'"status":"401"' in wrong.refusals[0][1]
        renewing = Password(password="expired", token=True)
        renewing.renewed = SECRET
        assert outcomes(await once(server, auth=renewing)) == ["accepted"]
        assert len(renewing.refusals) == 1


async def test_one_failed_login_is_one_attempt_and_shows_no_secret() -> None:
    async with ScriptedServer(
        tls="starttls", users={"ann": "other"}, mechanisms=["PLAIN", "LOGIN", "CRAM-MD5"]
    ) as server:
        report = await once(server, auth=Password())
        assert [line for line in server.commands[0] if line == "AUTH"] == ["AUTH"]
        assert report.statuses[0].permanent is True
        assert SECRET not in repr(report) + str(report.error)


async def test_no_credential_crosses_a_stripped_link() -> None:
    async with ScriptedServer(tls="none", users={"ann": SECRET}) as server:
        sender = transport(server, Password())
        sender._opener._endpoint = evolve(sender._opener._endpoint, tls="starttls")
        report = await sender.deliver(submission())
        await sender.aclose()
        assert report.error is not None
        assert (report.error.code, report.error.permanent) == ("ETLS", True)
        assert "AUTH" not in server.commands[0]


async def test_what_was_said_before_tls_is_not_believed() -> None:
    faults = [Fault(stage="starttls", kind="inject")]
    async with ScriptedServer(tls="starttls", users={"ann": SECRET}, faults=faults) as server:
        report = await once(server, auth=Password())
        assert outcomes(report) in (["accepted"], ["rejected"])
        if server.messages:
            assert server.messages[0].encrypted
            assert server.commands[0].count("EHLO [127.0.0.1]") == 2


@pytest.mark.parametrize("tls", ["starttls", "tls"])
@pytest.mark.parametrize(
    ("certificate", "reason"),
    [("wrong-name", "another name"), ("expired", "expired"), ("self-signed", "authority")],
)
async def test_bad_certificates_are_refused_in_words(certificate: Any, reason: str, tls: Any) -> None:
    async with ScriptedServer(tls=tls, certificate=certificate, users={"ann": SECRET}) as server:
        report = await once(server, auth=Password())
        assert report.error is not None
        assert report.error.code == "ETLS"
        assert reason in report.error.message
        assert server.messages == []


async def test_nobody_listens_and_no_such_host() -> None:
    async with ScriptedServer() as server:
        pass
    report = await once(server)
    assert report.error is not None
    assert (report.error.code, report.error.command, report.error.permanent) == ("ESOCKET", "CONN", False)
    report = await once(server, host="no-such-host.invalid")
    assert report.error is not None
    assert report.error.code == "EDNS"


async def test_helo_only_servers_are_served() -> None:
    async with ScriptedServer(helo_only=True) as server:
        assert outcomes(await once(server)) == ["accepted"]


async def test_verify_tells_each_step() -> None:
    async with ScriptedServer(tls="starttls", users={"ann": SECRET}) as server:
        sender = transport(server, Password())
        steps = [step async for step in sender.verify()]
        assert [step.split()[0] for step in steps] == ["connected", "encrypted", "authenticated"]
        await sender.aclose()


@pytest.mark.parametrize("after", range(1, 12))
async def test_cancelling_leaves_nothing_behind(after: int) -> None:
    async with ScriptedServer(deliver="byte", tls="none") as server:
        sender = transport(server)
        task = asyncio.create_task(sender.deliver(submission()))
        for _ in range(after * 7):
            await asyncio.sleep(0)
        task.cancel()
        done = (await asyncio.gather(task, return_exceptions=True))[0]
        assert isinstance(done, (asyncio.CancelledError, Report))
        assert outcomes(await sender.deliver(submission())) == ["accepted"]
        await sender.aclose()
