"""A delivery is cancelled at its n-th await, for every n there is."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Coroutine, Generator
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve

from mailwright import Connection, Envelope, Message
from mailwright.mime import compose
from mailwright.model import Limits, Report, SmtpEndpoint, Timeouts
from mailwright.spi import Settings, Submission, no_commit
from mailwright.system import SystemClock
from mailwright.testing import ScriptedServer
from mailwright.transport import SmtpTransport
from mailwright.transport.dial import dial


class CancelAt:
    """Awaits a coroutine; the task is cancelled while it waits for the n-th time."""

    def __init__(self, work: Coroutine[Any, Any, Report], at: int) -> None:
        self.work, self.at, self.waited = work, at, 0

    def __await__(self) -> Generator[Any, Any, Report]:
        steps = self.work.__await__()
        sent: Any = None
        thrown: BaseException | None = None
        while True:
            try:
                waits_for = steps.throw(thrown) if thrown is not None else steps.send(sent)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self.waited += 1
            if self.waited == self.at:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            thrown = None
            try:
                sent = yield waits_for
            except BaseException as error:
                thrown = error


def letter(subject: str, size: int, *, committed: bool = True) -> Submission:
    message = Message(
        from_="me@x.org", to="a@x.org", subject=subject, text="x" * 60 + "\n" + "line of text\n" * (size // 13),
        message_id=f"<{subject}@x.org>", date=datetime(2026, 1, 2, tzinfo=UTC),
    )  # fmt: skip

    async def commit() -> None:
        await asyncio.sleep(0)

    return Submission(
        composed=compose(message, token=lambda: "0" * 32),
        message=message,
        envelope=Envelope(sender="me@x.org", recipients=("a@x.org",)),
        idempotency_key=subject,
        deadline=SystemClock().monotonic() + 60,
        commit=commit if committed else no_commit,
    )


def one_session(server: ScriptedServer) -> SmtpTransport:
    return SmtpTransport(
        SmtpEndpoint(host=server.host, port=server.port, tls="none"),
        Connection(provider="smtp", settings=Settings()),
        limits=Limits(connections=1),
        authenticator=None,
        clock=SystemClock(),
    )


def subjects(server: ScriptedServer) -> list[str]:
    return [message.raw.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode() for message in server.messages]


@pytest.mark.parametrize("tls", ["none", "starttls", "tls"])
@pytest.mark.parametrize("size", [100, 700_000], ids=["one write", "chunks"])
@pytest.mark.parametrize("committed", [True, False])
async def test_S21_cancelled_at_each_await(tls: Any, size: int, committed: bool) -> None:  # noqa: N802
    before = asyncio.all_tasks()
    async with ScriptedServer(tls=tls, deliver="line") as server:
        connection = Connection(
            provider="smtp",
            settings=Settings(),
            ca_file=str(server.ca_file) if server.ca_file else None,
            timeouts=Timeouts(connect=30, command=30, data=30, reply=30, total=60),
        )
        at, cancelled = 0, True
        while cancelled:
            at += 1
            endpoint = SmtpEndpoint(host=server.host, port=server.port, tls=server.tls)
            sender = SmtpTransport(endpoint, connection, limits=Limits(), authenticator=None, clock=SystemClock())

            delivery = CancelAt(sender.deliver(letter(f"first{at}", size, committed=committed)), at)

            async def work(delivery: CancelAt = delivery) -> Report:
                return await delivery

            [first] = await asyncio.gather(asyncio.create_task(work()), return_exceptions=True)
            cancelled = delivery.waited >= at
            assert isinstance(first, asyncio.CancelledError if cancelled else Report)
            second = await sender.deliver(letter(f"second{at}", 100))
            assert [status.outcome for status in second.statuses] == ["accepted"]
            await sender.aclose()
        held = subjects(server)
    assert at > 5
    assert all(held.count(f"first{number}") <= 1 and held.count(f"second{number}") == 1 for number in range(1, at + 1))
    assert held.count(f"first{at}") == 1
    for _ in range(5):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    gc.collect()  # a socket left open would warn, and warnings are errors


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize(("may_repeat", "committed"), [(True, True), (False, True), (False, False)])
async def test_S21_cancelled_at_each_await_among_others(place: int, may_repeat: bool, committed: bool) -> None:  # noqa: N802
    """Several messages of one session are without an answer, whole or begun: whoever is cancelled harms no other."""
    before = asyncio.all_tasks()
    async with ScriptedServer(deliver="line") as server:
        at, cancelled = 0, True
        while cancelled:
            at += 1
            sender = one_session(server)
            letters = [
                evolve(letter(f"{number}-{at}", 100, committed=committed), may_repeat=may_repeat) for number in range(5)
            ]
            victim = CancelAt(sender.deliver(letters[place]), at)

            async def work(victim: CancelAt = victim) -> Report:
                return await victim

            tasks = [
                asyncio.create_task(work() if number == place else sender.deliver(one))
                for number, one in enumerate(letters)
            ]
            reports = await asyncio.gather(*tasks, return_exceptions=True)
            cancelled = victim.waited >= at
            assert isinstance(reports.pop(place), asyncio.CancelledError if cancelled else Report)
            assert [status.outcome for report in reports for status in report.statuses] == ["accepted"] * 4  # type: ignore[union-attr]
            await sender.aclose()
        held = subjects(server)
    assert at > 1
    for number in range(5):
        counts = [held.count(f"{number}-{turn}") for turn in range(1, at + 1)]
        assert max(counts) == 1 if number == place else counts == [1] * at
    for _ in range(5):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    gc.collect()  # a socket left open would warn, and warnings are errors


@pytest.mark.parametrize("place", [0, 1, 3])
async def test_S21_cancelled_at_each_turn_of_the_loop(place: int) -> None:  # noqa: N802
    """Bodies are written without waking their tasks: between any two things that happen somebody may be cancelled."""
    async with ScriptedServer() as server:
        turns, over = 0, False
        while not over:
            turns += 1
            sender = one_session(server)
            letters = [letter(f"{number}-{turns}", 100, committed=False) for number in range(5)]
            tasks = [asyncio.create_task(sender.deliver(one)) for one in letters]
            for _ in range(turns):
                await asyncio.sleep(0)
            over = tasks[place].done()
            tasks[place].cancel()
            reports = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(reports.pop(place), Report if over else asyncio.CancelledError)
            assert [status.outcome for report in reports for status in report.statuses] == ["accepted"] * 4  # type: ignore[union-attr]
            await sender.aclose()
        held = subjects(server)
    assert turns > 5
    for number in range(5):
        counts = [held.count(f"{number}-{turn}") for turn in range(1, turns + 1)]
        assert max(counts) == 1 if number == place else counts == [1] * turns


@pytest.mark.parametrize("between", [0, 1, 2])
async def test_S21_cancelled_twice_while_it_connects(between: int) -> None:  # noqa: N802
    """The second time while it tidies up after the first: an open socket left over is a ResourceWarning."""
    async with ScriptedServer() as server:
        for turns in range(20):
            dialling = asyncio.create_task(dial(server.host, server.port, limit_s=30))
            for _ in range(turns):
                await asyncio.sleep(0)
            dialling.cancel()
            for _ in range(between):
                await asyncio.sleep(0)
            dialling.cancel()
            [ended] = await asyncio.gather(dialling, return_exceptions=True)
            if isinstance(ended, socket.socket):
                ended.close()
            del dialling, ended
    gc.collect()
