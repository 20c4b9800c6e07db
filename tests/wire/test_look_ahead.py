"""The next message's commands ride behind a final dot: what each neighbour is told stays true, whatever breaks."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailwright import Connection, Envelope, Message
from mailwright.mime import compose
from mailwright.model import Limits, Report, SmtpEndpoint, Timeouts
from mailwright.smtp import Transaction
from mailwright.spi import Settings, Submission, no_commit
from mailwright.system import SystemClock
from mailwright.testing import Fault, ScriptedServer
from mailwright.transport import SmtpTransport

PATIENT = Timeouts(connect=30, command=30, data=30, reply=30, total=60)
IMPATIENT = Timeouts(connect=30, command=0.5, data=0.5, reply=0.5, total=60)  # where the server says nothing


def letter(number: int, *recipients: str, size: int = 10) -> Submission:
    told = recipients or (f"r{number}@x.org",)
    message = Message(
        from_="me@x.org", to=told, subject=f"n{number}", text="x" * size, message_id=f"<{number}@x.org>",
        date=datetime(2026, 1, 2, tzinfo=UTC),
    )  # fmt: skip

    async def commit() -> None:
        pass

    return Submission(
        composed=compose(message, token=lambda: "0" * 32),
        message=message,
        envelope=Envelope(sender="me@x.org", recipients=told),
        idempotency_key=str(number),
        deadline=SystemClock().monotonic() + 60,
        commit=no_commit if number % 3 else commit,  # the body is written by the protocol, or by the message's task
    )


def transport(
    server: ScriptedServer, *, sessions: int = 1, timeouts: Timeouts = PATIENT, per_session: int = 100
) -> Any:
    connection = Connection(provider="smtp", settings=Settings(), timeouts=timeouts)
    endpoint = SmtpEndpoint(host=server.host, port=server.port, tls="none")
    limits = Limits(connections=sessions, messages_per_session=per_session)
    return SmtpTransport(endpoint, connection, limits=limits, authenticator=None, clock=SystemClock())


def numbers(server: ScriptedServer) -> Counter[str]:
    return Counter(message.raw.split(b"Subject: ")[1].split(b"\r\n")[0].decode() for message in server.messages)


def outcome(report: Report) -> str:
    [found] = {status.outcome for status in report.statuses}
    return found


async def all_of(sender: SmtpTransport, letters: list[Submission]) -> list[Report]:
    try:
        return await asyncio.gather(*(sender.deliver(each) for each in letters))
    finally:
        await sender.aclose()


async def test_one_round_trip_a_message() -> None:
    async with ScriptedServer() as server:
        sender = transport(server)
        reports = await all_of(sender, [letter(number) for number in range(20)])
        assert {outcome(report) for report in reports} == {"accepted"}
        assert (sender.counters.sessions, sender.counters.messages, sender.counters.ahead) == (1, 20, 19)
        assert b"\r\n.\r\nMAIL FROM:<me@x.org>" in bytes(server.sessions[0].received)
        assert [message.rcpt_to for message in server.messages] == [(f"r{number}@x.org",) for number in range(20)]


async def test_whoever_comes_while_an_answer_is_awaited_need_not_wait_for_it() -> None:
    """Too late to ride behind the final dot, its commands still go out before the answer: a round trip is saved."""
    async with ScriptedServer(faults=[Fault(stage="final", kind="accept-hang", times=1)]) as server:
        sender = transport(server, timeouts=IMPATIENT)
        first = asyncio.create_task(sender.deliver(letter(1)))
        async with asyncio.timeout(10):
            while not server.sessions or b"\r\n.\r\n" not in server.sessions[0].received:
                await asyncio.sleep(0)
            second = asyncio.create_task(sender.deliver(letter(2)))
            while b"RCPT TO:<r2@x.org>" not in server.sessions[0].received:
                await asyncio.sleep(0)
        assert not first.done()
        assert [outcome(await task) for task in (first, second)] == ["unknown", "accepted"]
        assert (sender.counters.sessions, sender.counters.ahead) == (2, 1)
        await sender.aclose()
        assert numbers(server) == {"n1": 1, "n2": 1}


async def test_without_pipelining_nothing_rides() -> None:
    async with ScriptedServer(extensions=()) as server:
        sender = transport(server)
        await all_of(sender, [letter(number) for number in range(5)])
        assert sender.counters.ahead == 0
        assert len(server.messages) == 5


async def test_a_session_is_left_when_it_is_spent() -> None:
    async with ScriptedServer() as server:
        sender = transport(server, per_session=3)
        await all_of(sender, [letter(number) for number in range(7)])
        assert sender.counters.sessions == 3
        assert sorted(numbers(server).values()) == [1] * 7


@pytest.mark.parametrize("kind", ["drop", "reset", "hang", "garbage", "421", "bad-code", "flood", "long-line"])
async def test_a_dot_that_breaks_takes_nobody_with_it(kind: Any) -> None:
    """The first is unknown (421: rejected for the moment); the neighbour whose commands were on the wire goes elsewhere."""
    async with ScriptedServer(faults=[Fault(stage="final", kind=kind, times=1)]) as server:
        sender = transport(server, timeouts=IMPATIENT if kind in {"hang", "flood"} else PATIENT)
        first, *others = await all_of(sender, [letter(number) for number in range(4)])
        assert outcome(first) == ("rejected" if kind == "421" else "unknown")
        assert [outcome(report) for report in others] == ["accepted"] * 3
        assert numbers(server) == {"n1": 1, "n2": 1, "n3": 1}


@pytest.mark.parametrize("reply", ["550 5.7.1 spam", "451 4.3.0 later"])
async def test_a_dot_that_is_refused_does_not_undo_the_next(reply: str) -> None:
    answers = [reply]
    async with ScriptedServer(replies={"final": lambda about: answers.pop() if answers else None}) as server:
        sender = transport(server)
        first, *others = await all_of(sender, [letter(number) for number in range(3)])
        assert outcome(first) == "rejected"
        assert [outcome(report) for report in others] == ["accepted"] * 2
        assert sender.counters.sessions == 1


@pytest.mark.parametrize("lenient", [True, False])
async def test_a_neighbour_without_recipients_leaves_the_session_in_step(lenient: bool) -> None:
    refused = {"r1@x.org": "550 5.1.1 nobody"}
    async with ScriptedServer(replies={"rcpt": refused.get}, data_without_recipients=lenient) as server:
        sender = transport(server)
        reports = await all_of(sender, [letter(number) for number in range(4)])
        assert [outcome(report) for report in reports] == ["accepted", "rejected", "accepted", "accepted"]
        assert numbers(server) == {"n0": 1, "n2": 1, "n3": 1}


async def test_one_recipient_too_many_comes_before_the_neighbour() -> None:
    async with ScriptedServer(recipients=1) as server:
        sender = transport(server)
        first = letter(0, "a@x.org", "b@x.org")
        reports = await all_of(sender, [first, letter(1)])
        assert [outcome(report) for report in reports] == ["accepted", "accepted"]
        assert sorted(message.rcpt_to for message in server.messages) == [("a@x.org",), ("b@x.org",), ("r1@x.org",)]


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0)


async def test_a_cancelled_neighbour_is_not_delivered() -> None:
    """Its commands are on the wire, its body never follows."""
    async with ScriptedServer(faults=[Fault(stage="final", kind="hang", times=1)]) as server:
        sender = transport(server)
        first, second, third = (asyncio.create_task(sender.deliver(letter(number))) for number in range(3))
        await until(lambda: sender.counters.ahead >= 1)
        second.cancel()
        first.cancel()
        assert outcome(await third) == "accepted"
        await sender.aclose()
        assert numbers(server) == {"n2": 1}
        assert second.cancelled()


async def test_whoever_is_cancelled_at_the_dot_frees_its_neighbour() -> None:
    async with ScriptedServer(faults=[Fault(stage="final", kind="hang", times=1)]) as server:
        sender = transport(server)
        first, second = (asyncio.create_task(sender.deliver(letter(number))) for number in range(2))
        await until(lambda: sender.counters.ahead >= 1)
        first.cancel()
        assert outcome(await second) == "accepted"
        await sender.aclose()
        assert numbers(server) == {"n1": 1}
        assert sender.counters.sessions == 2


async def test_a_neighbour_cancelled_after_the_dot_is_answered() -> None:
    """The first is accepted; the session is closed, since the neighbour's answers would be somebody else's."""
    async with ScriptedServer(deliver="byte") as server:
        sender = transport(server)
        first, second, third = (asyncio.create_task(sender.deliver(letter(number))) for number in range(3))
        await until(lambda: sender.counters.ahead >= 1)
        second.cancel()
        assert outcome(await first) == "accepted"
        assert outcome(await third) == "accepted"
        await sender.aclose()
        assert numbers(server) == {"n0": 1, "n2": 1}
        assert sender.counters.sessions == 2


faults = st.lists(
    st.builds(
        Fault,
        stage=st.sampled_from(["mail", "rcpt", "data", "final"]),
        kind=st.sampled_from(["drop", "reset", "421", "garbage", "bad-code"]),
        times=st.just(1),
    ),
    max_size=3,
)
answers = st.lists(st.sampled_from([None, "550 5.7.1 no", "451 4.3.0 later"]), max_size=6)


@given(
    faults=faults,
    finals=answers,
    refused=st.sets(st.integers(0, 7)),
    cancelled=st.sets(st.integers(0, 7), max_size=2),
    sessions=st.integers(1, 3),
    deliver=st.sampled_from(["blob", "line", "byte"]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_told_is_what_happened(
    faults: Any, finals: Any, refused: Any, cancelled: Any, sessions: Any, deliver: Any
) -> None:
    """Accepted: there once. Rejected: not there. Cancelled or unknown: at most once. Nobody waits for ever."""

    async def run() -> None:
        said = list(finals)
        nobody = {f"r{number}@x.org": "550 5.1.1 nobody" for number in refused}
        replies: Any = {"rcpt": nobody.get, "final": lambda about: said.pop() if said else None}
        async with ScriptedServer(faults=faults, replies=replies, deliver=deliver) as server:
            sender = transport(server, sessions=sessions)
            tasks = [asyncio.create_task(sender.deliver(letter(number))) for number in range(8)]
            await asyncio.sleep(0)
            for number in cancelled:
                tasks[number].cancel()
            reports = await asyncio.gather(*tasks, return_exceptions=True)
            await sender.aclose()
            there = numbers(server)
        for number, report in enumerate(reports):
            count = there[f"n{number}"]
            if isinstance(report, asyncio.CancelledError):
                assert count <= 1
                continue
            assert isinstance(report, Report)
            wanted = {"accepted": {1}, "rejected": {0}, "unknown": {0, 1}}
            assert count in wanted[outcome(report)], (number, report)

    asyncio.run(run())


def test_a_transaction_knows_who_was_one_too_many() -> None:
    transaction = Transaction(Envelope(sender=None, recipients=("a@x.org",)), pipelining=True)
    assert not transaction.one_too_many


@pytest.mark.parametrize("tls", ["none", "starttls", "tls"])
def test_on_uvloop_too(tls: Any) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def run() -> None:
        async with ScriptedServer(tls=tls) as server:
            connection = Connection(
                provider="smtp", settings=Settings(), ca_file=str(server.ca_file) if server.ca_file else None
            )
            endpoint = SmtpEndpoint(host="localhost" if server.ca_file else server.host, port=server.port, tls=tls)
            limits = Limits(connections=2)
            sender = SmtpTransport(endpoint, connection, limits=limits, authenticator=None, clock=SystemClock())
            reports = await all_of(sender, [letter(number, size=100_000) for number in range(6)])
            assert {outcome(report) for report in reports} == {"accepted"}
            assert sorted(numbers(server).values()) == [1] * 6

    uvloop.run(run())
