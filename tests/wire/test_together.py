"""Several whole messages on one session before the first is answered: only those that may repeat, and told truly."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailwright import Connection, Envelope, Mailer, Message
from mailwright.errors import LeaseLost
from mailwright.mime import compose
from mailwright.model import Limits, Report, SmtpEndpoint, Timeouts
from mailwright.spi import Settings, Submission
from mailwright.system import SystemClock
from mailwright.testing import Fault, ScriptedServer
from mailwright.transport import SmtpTransport
from mailwright.transport.lanes import TOGETHER

PATIENT = Timeouts(connect=30, command=30, data=30, reply=30, total=60)
IMPATIENT = Timeouts(connect=30, command=0.5, data=0.5, reply=0.5, total=60)


def letter(number: int, *recipients: str, size: int = 10, may_repeat: bool = True, **changes: Any) -> Submission:
    told = recipients or (f"r{number}@x.org",)
    message = Message(
        from_="me@x.org", to=told, subject=f"n{number}", text=("x" * 60 + "\n") * (size // 62 + 1),
        message_id=f"<{number}@x.org>", date=datetime(2026, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    submission = Submission(
        composed=compose(message, token=lambda: "0" * 32),
        message=message,
        envelope=Envelope(sender="me@x.org", recipients=told),
        idempotency_key=str(number),
        deadline=SystemClock().monotonic() + 60,
        may_repeat=may_repeat,
    )
    return evolve(submission, **changes)


def transport(server: ScriptedServer, *, timeouts: Timeouts = PATIENT, mask: Any = (), **limits: int) -> SmtpTransport:
    connection = Connection(provider="smtp", settings=Settings(), timeouts=timeouts, mask=frozenset(mask))
    endpoint = SmtpEndpoint(host=server.host, port=server.port, tls="none")
    most = Limits(**{"connections": 1, **limits})
    return SmtpTransport(endpoint, connection, limits=most, authenticator=None, clock=SystemClock())


async def all_of(sender: SmtpTransport, letters: list[Submission]) -> list[Report]:
    reports = await asyncio.gather(*map(sender.deliver, letters))
    await sender.aclose()
    return reports


def outcomes(reports: list[Report]) -> list[str]:
    return [status.outcome for report in reports for status in report.statuses]


def numbers(server: ScriptedServer) -> Counter[str]:
    return Counter(message.raw.split(b"Subject: ")[1].split(b"\r\n")[0].decode() for message in server.messages)


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0)


def verbs(server: ScriptedServer, session: int = 0) -> list[str]:
    return [line.split(" ")[0] for line in server.commands[session] if not line.startswith("[")]


async def test_the_first_one_asks_the_others_come_whole() -> None:
    async with ScriptedServer() as server:
        sender = transport(server)
        reports = await all_of(sender, [letter(number) for number in range(20)])
        assert outcomes(reports) == ["accepted"] * 20
        assert sorted(numbers(server).values()) == [1] * 20
        assert not any(message.bare for message in server.messages)
        assert verbs(server)[:9] == ["EHLO", "MAIL", "RCPT", "DATA", "MAIL", "RCPT", "BDAT", "RSET", "MAIL"]
        assert sender.counters.ahead == 19


async def test_the_trace_shows_what_was_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="mailwright.wire")
    async with ScriptedServer() as server:
        await all_of(transport(server), [letter(1), letter(2)])
    said = [re.sub(r"\d+", "n", text) for record in caplog.records if (text := record.getMessage()).startswith("C: ")]
    assert said[-4:] == ["C: MAIL RCPT DATA", "C: [n octets]", "C: MAIL RCPT", "C: [n octets] RSET"]


@pytest.mark.parametrize("change", [{"mask": ["CHUNKING"]}, {"mask": ["PIPELINING"]}, {"may_repeat": False}])
async def test_who_may_not_repeat_or_cannot_goes_one_by_one(change: dict[str, Any]) -> None:
    may_repeat = change.pop("may_repeat", True)
    async with ScriptedServer() as server:
        sender = transport(server, **change)
        reports = await all_of(sender, [letter(number, may_repeat=may_repeat) for number in range(8)])
        assert outcomes(reports) == ["accepted"] * 8
        assert "BDAT" not in verbs(server)
        assert sender.counters.sessions == 1


@pytest.mark.parametrize("size", [10, 100_000, 500_000])
async def test_what_is_without_an_answer_is_bounded(size: int) -> None:
    """The server says nothing to a last octet: eight are begun, and four megabytes."""
    async with ScriptedServer(faults=[Fault(stage="final", kind="hang")], record_limit=1 << 24) as server:
        sender = transport(server)
        tasks = [asyncio.create_task(sender.deliver(letter(number, size=size))) for number in range(20)]
        await until(lambda: sender.counters.ahead == TOGETHER - 1)
        await until(lambda: len(server.sessions[0].received) > TOGETHER * size)
        for _ in range(200):
            await asyncio.sleep(0)
        begun = bytes(server.sessions[0].received)
        assert begun.count(b"MAIL FROM") == TOGETHER
        assert len(begun) < (1 << 22) + 10_000
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await sender.aclose()


@pytest.mark.parametrize("answered", range(6))
@pytest.mark.parametrize("kind", ["drop", "reset", "hang", "garbage", "bad-code", "421", "accept-drop"])
async def test_the_session_ends_after_some_answers(kind: Any, answered: int) -> None:
    """What was answered is as told; what was written is unknown, and may be there; the rest goes on a new session."""
    faults = [Fault(stage="final", kind=kind, times=1, after=answered)]
    async with ScriptedServer(faults=faults) as server:
        sender = transport(server, timeouts=IMPATIENT if kind == "hang" else PATIENT)
        reports = await all_of(sender, [letter(number) for number in range(24)])
        there = numbers(server)
        assert sender.counters.sessions == 2
    told = Counter(outcomes(reports))
    assert 0 < told["unknown"] + told["rejected"] <= TOGETHER
    assert told["rejected"] == (1 if kind == "421" else 0)
    for number, outcome in enumerate(outcomes(reports)):
        assert there[f"n{number}"] in {"accepted": {1}, "rejected": {0}, "unknown": {0, 1}}[outcome]


@pytest.mark.parametrize("stage", ["mail", "rcpt", "final", "rset"])
@pytest.mark.parametrize("refusal", ["rcpt", "final"])
async def test_one_answer_too_many_is_not_believed(stage: Any, refusal: Any) -> None:
    """Every answer then belongs to the command before; RSET shows it as soon as it matters."""
    for place in range(6):
        said = iter([*[None] * place, "550 5.7.1 no"])
        faults = [Fault(stage=stage, kind="two-replies", times=1, after=2)]
        async with ScriptedServer(faults=faults, replies={refusal: lambda about: next(said, None)}) as server:  # noqa: B023
            sender = transport(server, timeouts=IMPATIENT)
            reports = await all_of(sender, [letter(number) for number in range(12)])
            there = numbers(server)
        for number, outcome in enumerate(outcomes(reports)):
            assert there[f"n{number}"] in {"accepted": {1}, "rejected": {0}, "unknown": {0, 1}}[outcome], (
                place,
                number,
            )


@pytest.mark.parametrize("kind", ["drop", "reset", "421", "garbage"])
@pytest.mark.parametrize("stage", ["rset", "mail", "rcpt"])
async def test_the_session_ends_between_messages(stage: Any, kind: Any) -> None:
    async with ScriptedServer(faults=[Fault(stage=stage, kind=kind, times=1, after=3)]) as server:
        sender = transport(server)
        reports = await all_of(sender, [letter(number) for number in range(24)])
        there = numbers(server)
    told = Counter(outcomes(reports))
    assert 0 < told["unknown"] + told["rejected"] <= TOGETHER
    for number, outcome in enumerate(outcomes(reports)):
        assert there[f"n{number}"] in {"accepted": {1}, "rejected": {0}, "unknown": {0, 1}}[outcome]


@pytest.mark.parametrize("stage", ["mail", "rcpt", "final"])
@pytest.mark.parametrize("reply", ["451 4.3.0 later", "550 5.7.1 no"])
async def test_a_refusal_in_the_middle_is_its_own_message_s(stage: Any, reply: str) -> None:
    said = iter([None, None, reply, None, reply])
    async with ScriptedServer(replies={stage: lambda about: next(said, None)}) as server:
        sender = transport(server)
        reports = await all_of(sender, [letter(number) for number in range(12)])
        assert [outcomes([report])[0] for report in reports].count("rejected") == 2
        assert sorted(numbers(server)) == sorted(
            f"n{number}" for number, report in enumerate(reports) if outcomes([report]) == ["accepted"]
        )
        assert sender.counters.sessions == 1
        for report in reports:
            [status] = report.statuses
            assert status.outcome == "accepted" or (status.stage, status.permanent) == (stage, reply[0] == "5")


async def test_several_recipients_take_turns_with_those_who_come_at_once() -> None:
    refused = {"no@x.org": "550 5.1.1 nobody", "later@x.org": "450 4.2.1 later"}
    async with ScriptedServer(replies={"rcpt": refused.get}) as server:
        sender = transport(server)
        told = ("no@x.org", "later@x.org")
        letters = [letter(number, f"a{number}@x.org", *(told if number % 4 == 3 else ())) for number in range(12)]
        reports = await all_of(sender, [*letters, letter(12, "no@x.org"), letter(13)])
        one_by_four = [*["accepted"] * 4, "rejected", "rejected"]
        assert outcomes(reports) == [*one_by_four * 3, "rejected", "accepted"]
        assert sorted(numbers(server).values()) == [1] * 13
        assert sender.counters.sessions == 1
        assert verbs(server).count("DATA") >= 3


async def test_one_recipient_too_many_gets_a_further_transaction() -> None:
    told: Counter[str] = Counter()

    def rcpt(address: str) -> str | None:
        told[address] += 1
        return "452 4.5.3 too many" if address.startswith("b") and told[address] == 1 else None

    async with ScriptedServer(replies={"rcpt": rcpt}) as server:
        sender = transport(server)
        letters = [letter(number, f"a{number}@x.org", f"b{number}@x.org") for number in range(6)]
        reports = await all_of(sender, letters)
        assert outcomes(reports) == ["accepted"] * 12
        assert len(server.messages) == 12


async def test_a_message_that_may_not_repeat_is_alone_without_an_answer() -> None:
    """Whoever holds an unknown outcome shares no session: it waits, and the others wait for it."""
    for fails_after in range(12):
        faults = [Fault(stage="final", kind="drop", times=1, after=fails_after)]
        async with ScriptedServer(faults=faults) as server:
            sender = transport(server)
            letters = [letter(number, may_repeat=number % 5 != 2) for number in range(12)]
            reports = await all_of(sender, letters)
        unknown = [number for number, outcome in enumerate(outcomes(reports)) if outcome == "unknown"]
        assert unknown
        assert len(unknown) == 1 or all(letters[number].may_repeat for number in unknown)


async def test_a_commit_that_fails_stops_its_own_message_before_it_is_written() -> None:
    async def lost() -> None:
        await asyncio.sleep(0)
        raise LeaseLost("no longer ours")

    committed: list[int] = []

    async def fine() -> None:
        await asyncio.sleep(0)
        committed.append(1)

    async with ScriptedServer() as server:
        sender = transport(server)
        letters = [letter(number, commit=lost if number == 3 else fine) for number in range(8)]
        reports = await all_of(sender, letters)
        assert [number for number, outcome in enumerate(outcomes(reports)) if outcome != "accepted"] == [3]
        assert numbers(server)["n3"] == 0
        assert len(committed) == 7


async def test_what_was_not_committed_goes_elsewhere_when_the_session_is_lost() -> None:
    """Invited to a session that ends before the commit is through: nothing was written, so nothing is unknown."""
    async with ScriptedServer(faults=[Fault(stage="final", kind="drop", times=1)]) as server:
        sender = transport(server)
        commits: list[int] = []

        async def slow() -> None:
            commits.append(1)
            for session in sender._lanes._users:
                await until(lambda session=session: not session.alive)

        letters = [letter(0), *(letter(number, commit=slow) for number in range(1, 5))]
        reports = await all_of(sender, letters)
        assert outcomes(reports) == ["unknown", *["accepted"] * 4]
        assert sorted(numbers(server)) == ["n1", "n2", "n3", "n4"]
        assert len(commits) == 4


async def test_a_session_that_rested_is_asked_before_whole_messages_follow() -> None:
    """The server closed it meanwhile: that costs no message an attempt, let alone an unknown outcome."""
    async with ScriptedServer() as server:
        sender = transport(server)
        await asyncio.gather(*(sender.deliver(letter(number)) for number in range(4)))
        server.sessions[0].abort()
        reports = await all_of(sender, [letter(number) for number in range(4, 12)])
        assert outcomes(reports) == ["accepted"] * 8
        assert sender.counters.sessions == 2
        assert sorted(numbers(server).values()) == [1] * 12


@pytest.mark.parametrize("at", range(8))
async def test_whoever_is_cancelled_leaves_the_others_alone(at: int) -> None:
    async with ScriptedServer(deliver="line") as server:
        sender = transport(server)
        tasks = [asyncio.create_task(sender.deliver(letter(number))) for number in range(12)]
        await until(lambda: sender.counters.ahead >= 7)
        tasks[at].cancel()
        reports = await asyncio.gather(*tasks, return_exceptions=True)
        await sender.aclose()
        there = numbers(server)
    assert isinstance(reports.pop(at), asyncio.CancelledError)
    assert {status.outcome for report in reports for status in report.statuses} == {"accepted"}  # type: ignore[union-attr]
    assert there.pop(f"n{at}", 0) <= 1
    assert sorted(there.values()) == [1] * 11


async def test_total_time_holds_for_each() -> None:
    async with ScriptedServer(faults=[Fault(stage="final", kind="hang", after=2)]) as server:
        sender = transport(server)
        due = SystemClock().monotonic() + 0.5
        reports = await all_of(sender, [letter(number, deadline=due) for number in range(12)])
        told = Counter(outcomes(reports))
        assert told["accepted"] == 2
        assert told["unknown"] <= TOGETHER
        assert {report.error.code for report in reports if report.error is not None} == {"ETIMEDOUT"}


async def test_the_mailer_sends_again_what_stayed_unknown() -> None:
    async with ScriptedServer(faults=[Fault(stage="final", kind="accept-drop", times=1, after=4)]) as server:
        connection = {
            "provider": "smtp", "host": server.host, "port": server.port, "tls": "none", "limits": {"connections": 1},
        }  # fmt: skip
        letters = [Message(from_="me@x.org", to=f"r{n}@x.org", subject=f"n{n}", text="Hello") for n in range(24)]
        async with Mailer(connection, on_unknown="retry") as mailer:
            receipts = [receipt async for receipt in mailer.send_many(letters)]
        assert {receipt.status for receipt in receipts} == {"sent"}
        again = [receipt for receipt in receipts if receipt.attempts > 1]
        assert 0 < len(again) <= TOGETHER
        held = Counter(
            (message.raw.split(b"Message-ID: ")[1].split(b"\r\n")[0], message.rcpt_to) for message in server.messages
        )
        assert len(held) == 24, "one Message-ID for all attempts of a message"
        assert sum(held.values()) == 25, "what the server took and did not answer is there twice"


async def test_messages_of_a_session_are_counted() -> None:
    async with ScriptedServer() as server:
        sender = transport(server, messages_per_session=5)
        reports = await all_of(sender, [letter(number) for number in range(20)])
        assert outcomes(reports) == ["accepted"] * 20
        assert [len([m for m in server.messages if m.session == n]) for n in range(len(server.sessions))] == [5] * 4


faults = st.lists(
    st.builds(
        Fault,
        stage=st.sampled_from(["rset", "mail", "rcpt", "data", "final"]),
        kind=st.sampled_from(["drop", "reset", "421", "garbage", "bad-code", "accept-drop"]),
        times=st.just(1),
        after=st.integers(0, 9),
    ),
    max_size=3,
)
answers = st.lists(st.sampled_from([None, None, "550 5.7.1 no", "451 4.3.0 later"]), max_size=8)


@given(
    faults=faults,
    finals=answers,
    refused=st.sets(st.integers(0, 11), max_size=4),
    holding=st.sets(st.integers(0, 11), max_size=4),
    cancelled=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 40)), max_size=3),
    sessions=st.integers(1, 3),
    deliver=st.sampled_from(["blob", "line", "byte"]),
    slow=st.sets(st.integers(0, 11)),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_told_is_what_happened(
    faults: Any, finals: Any, refused: Any, holding: Any, cancelled: Any, sessions: Any, deliver: Any, slow: Any
) -> None:
    """Accepted: there once. Rejected: not there. Cancelled or unknown: at most once, and who holds is unknown alone."""

    async def wait() -> None:
        await asyncio.sleep(0)

    async def run() -> None:
        said = list(finals)
        nobody = {f"r{number}@x.org": "550 5.1.1 nobody" for number in refused}
        replies: Any = {"rcpt": nobody.get, "final": lambda about: said.pop() if said else None}
        async with ScriptedServer(faults=faults, replies=replies, deliver=deliver) as server:
            sender = transport(server, connections=sessions)
            tasks = [
                asyncio.create_task(
                    sender.deliver(letter(n, may_repeat=n not in holding, **({"commit": wait} if n in slow else {})))
                )
                for n in range(12)
            ]
            for number, turns in cancelled:
                for _ in range(turns):
                    await asyncio.sleep(0)
                tasks[number].cancel()
            reports = await asyncio.gather(*tasks, return_exceptions=True)
            await sender.aclose()
            there = numbers(server)
        unknown = 0
        for number, report in enumerate(reports):
            count = there[f"n{number}"]
            if isinstance(report, asyncio.CancelledError):
                assert count <= 1
                continue
            assert isinstance(report, Report), report
            [outcome] = outcomes([report])
            assert count in {"accepted": {1}, "rejected": {0}, "unknown": {0, 1}}[outcome], (number, report)
            unknown += outcome == "unknown" and number in holding
        assert unknown <= len(faults) + len(cancelled)

    asyncio.run(run())


async def test_closing_waits_for_those_who_turn_to_another_session() -> None:
    """Between the lost session and the next one they hold none; their sender is not closed under them."""
    async with ScriptedServer(faults=[Fault(stage="final", kind="drop", times=1)]) as server:
        sender = transport(server)

        async def slow() -> None:
            await until(first.done)

        first = asyncio.create_task(sender.deliver(letter(0)))
        second = asyncio.create_task(sender.deliver(letter(1, commit=slow)))
        await until(lambda: sender.counters.ahead == 1)
        await sender.aclose()
        assert second.done()
        assert outcomes([await first, await second]) == ["unknown", "accepted"]


@pytest.mark.parametrize("tls", ["none", "starttls", "tls"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_over_tls_and_on_both_loops(tls: Any, loop: str) -> None:
    async def run() -> None:
        async with ScriptedServer(tls=tls, record_limit=1 << 24) as server:
            document = {
                "provider": "smtp", "host": "localhost" if server.ca_file else server.host, "port": server.port,
                "tls": server.tls, "limits": {"connections": 2},
            }  # fmt: skip
            if server.ca_file:
                document["ca_file"] = str(server.ca_file)
            letters = [
                Message(
                    from_="me@x.org", to=f"r{n}@x.org", subject=f"n{n}", text="x" * 70 + "\n" + "y" * (n % 3 * 60_000)
                )
                for n in range(40)
            ]
            async with Mailer(document, on_unknown="retry") as mailer:
                receipts = [receipt async for receipt in mailer.send_many(letters, concurrency=30)]
            assert {(receipt.status, receipt.attempts) for receipt in receipts} == {("sent", 1)}
            assert sorted(numbers(server).values()) == [1] * 40
            assert any("BDAT" in verbs(server, session) for session in range(len(server.sessions)))

    if loop == "uvloop":
        pytest.importorskip("uvloop").run(run())
    else:
        asyncio.run(run())
