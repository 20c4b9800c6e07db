"""What servers allow of one session, answers that never end, and leaving with work half done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest

from mailwright import Mailer, Message, Receipt
from mailwright.testing import Fault, ScriptedServer


def document(server: ScriptedServer, *, connections: int = 1, **timeouts: float) -> dict[str, Any]:
    return {
        "provider": "smtp", "host": server.host, "port": server.port, "tls": "none",
        "limits": {"connections": connections}, "timeouts": timeouts,
    }  # fmt: skip


def letter(number: int = 0, *recipients: str) -> Message:
    return Message(from_="me@x.org", to=recipients or "ann@x.org", subject=f"n{number}", text="Hello")


async def into(receipts: list[Receipt], sending: AsyncGenerator[Receipt, None]) -> None:
    """Those before the error are kept."""
    async for receipt in sending:
        receipts.append(receipt)  # noqa: PERF401


@pytest.mark.parametrize("told", [True, False])
async def test_recipients_beyond_a_session_go_over_further_ones(told: bool) -> None:
    """Transactions of two recipients, two a session: by ``LIMITS RCPTMAX``, or by 452 to the third recipient."""
    limits = "LIMITS MAILMAX=2 RCPTMAX=2" if told else "LIMITS MAILMAX=2"
    count = 0

    def mail(about: str) -> None:
        nonlocal count
        count = 0

    def rcpt(about: str) -> str | None:
        nonlocal count
        count += 1
        return "452 4.5.3 too many recipients" if count > 2 else None

    async with ScriptedServer(extensions=["PIPELINING", limits], replies={"mail": mail, "rcpt": rcpt}) as server:
        async with Mailer(document(server)) as mailer:
            receipt = await mailer.send(letter(0, *(f"r{number}@x.org" for number in range(9))))
        assert [status.outcome for status in receipt.statuses] == ["accepted"] * 9
        assert [status.address for status in receipt.statuses] == [f"r{number}@x.org" for number in range(9)]
        assert receipt.attempts == 1
        assert sorted(one for message in server.messages for one in message.rcpt_to) == sorted(
            f"r{number}@x.org" for number in range(9)
        )
        begun = [sum(line.startswith("MAIL") for line in lines) for lines in server.commands]
        assert begun == [2, 2, 1]


async def test_a_session_that_cannot_be_followed_tells_of_every_recipient() -> None:
    limits = "LIMITS MAILMAX=1 RCPTMAX=1"
    async with ScriptedServer(
        extensions=["PIPELINING", limits], faults=[Fault(stage="greeting", kind="drop", after=1)]
    ) as server:
        async with Mailer(document(server)) as mailer:
            receipt = await mailer.send(letter(0, "a@x.org", "b@x.org", "c@x.org"))
        assert [(status.outcome, status.permanent) for status in receipt.statuses] == [
            ("accepted", None), ("rejected", False), ("rejected", False),
        ]  # fmt: skip
        assert [message.rcpt_to for message in server.messages] == [("a@x.org",)]


async def test_reading_that_fails_takes_nothing_back() -> None:
    """What is under way when the stream of messages breaks off ends, and is told, before the error is raised."""

    def letters() -> Iterator[Message]:
        for number in range(12):
            yield letter(number)
        raise ValueError("the file ends here")

    async with ScriptedServer() as server:
        receipts: list[Receipt] = []
        async with Mailer(document(server, connections=3)) as mailer:
            with pytest.raises(ValueError, match="the file ends here"):
                await into(receipts, mailer.send_many(letters(), concurrency=6))
        assert len(server.messages) == len(receipts) == 12
        assert {receipt.status for receipt in receipts} == {"sent"}


async def test_a_commit_that_fails_takes_no_other_message_with_it() -> None:
    async def written_down(index: int) -> None:
        if index == 3:
            raise OSError("disk full")

    async with ScriptedServer() as server:
        receipts: list[Receipt] = []
        async with Mailer(document(server, connections=3)) as mailer:
            sending = mailer.send_many(map(letter, range(12)), concurrency=6, on_commit=written_down)
            with pytest.raises(OSError, match="disk full"):
                await into(receipts, sending)
        assert {receipt.status for receipt in receipts} == {"sent"}
        assert len(server.messages) == len(receipts)


async def test_closing_that_is_broken_off_leaves_no_resting_session() -> None:
    async with ScriptedServer(faults=[Fault(stage="final", kind="hang")]) as server:
        mailer = Mailer(document(server, connections=2))
        await mailer.warm_up()
        sending = asyncio.create_task(mailer.send(letter()))
        async with asyncio.timeout(30):
            while not any("DATA" in lines for lines in server.commands):
                await asyncio.sleep(0)
            closing = asyncio.create_task(mailer.aclose())
            while not any("QUIT" in lines for lines in server.commands):
                await asyncio.sleep(0)
        closing.cancel()
        sending.cancel()
        ended = await asyncio.gather(closing, sending, return_exceptions=True)
        assert [type(one) for one in ended] == [asyncio.CancelledError] * 2
