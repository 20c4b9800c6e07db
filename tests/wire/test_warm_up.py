"""Sessions opened before the first message, and sessions that ended while they rested."""

from __future__ import annotations

import asyncio

import pytest

from mailwright import Mailer, MailwrightError, Message
from mailwright.testing import Fault, ScriptedServer


async def test_sessions_are_opened_ahead() -> None:
    async with ScriptedServer() as server:
        document = {
            "provider": "smtp", "host": server.host, "port": server.port, "tls": "none", "limits": {"connections": 3},
        }  # fmt: skip
        async with Mailer(document) as mailer:
            await mailer.warm_up(2)
            assert len(server.sessions) == 2
            await mailer.warm_up()
            await mailer.warm_up(7)
            assert len(server.sessions) == 3
            messages = [Message(from_="me@x.org", to=f"r{number}@x.org", text="Hello") for number in range(12)]
            receipts = [receipt async for receipt in mailer.send_many(messages)]
            assert {receipt.status for receipt in receipts} == {"sent"}
            assert len(server.sessions) == 3


async def test_a_session_that_does_not_open_ahead_says_why() -> None:
    async with ScriptedServer(faults=[Fault(stage="greeting", kind="drop", after=1)]) as server:
        document = {"provider": "smtp", "host": server.host, "port": server.port, "tls": "none"}
        async with Mailer(document) as mailer:
            with pytest.raises(MailwrightError) as caught:
                await mailer.warm_up(3)
            assert caught.value.stage == "greeting"
            receipt = await mailer.send(Message(from_="me@x.org", to="ann@x.org", text="Hello"))
            assert receipt.status == "sent"


async def test_a_session_closed_while_it_rested_costs_no_attempt() -> None:
    """MAIL, RCPT and DATA are the probe: no octet of a body leaves before the server answers."""
    async with ScriptedServer() as server:
        document = {
            "provider": "smtp", "host": server.host, "port": server.port, "tls": "none", "limits": {"connections": 2},
        }  # fmt: skip
        async with Mailer(document) as mailer:
            await mailer.warm_up()
            for session in server.sessions:
                session.abort()
            messages = [Message(from_="me@x.org", to=f"r{number}@x.org", text="Hello") for number in range(6)]
            receipts = [receipt async for receipt in mailer.send_many(messages)]
            assert {(receipt.status, receipt.attempts) for receipt in receipts} == {("sent", 1)}
            assert len(server.messages) == 6


async def test_what_was_closed_while_it_rested_is_opened_again() -> None:
    async with ScriptedServer() as server:
        document = {
            "provider": "smtp", "host": server.host, "port": server.port, "tls": "none", "limits": {"connections": 2},
        }  # fmt: skip
        async with Mailer(document) as mailer:
            await mailer.warm_up()
            for session in server.sessions:
                session.abort()
            async with asyncio.timeout(30):
                while len(server.sessions) < 4:
                    await mailer.warm_up()
                    await asyncio.sleep(0)
            await mailer.warm_up()
            assert len(server.sessions) == 4


@pytest.mark.parametrize("turns", range(12))
async def test_cancelled_at_each_turn_it_takes_no_lane_with_it(turns: int) -> None:
    async with ScriptedServer() as server:
        document = {
            "provider": "smtp", "host": server.host, "port": server.port, "tls": "none", "limits": {"connections": 1},
        }  # fmt: skip
        async with Mailer(document, retries=0) as mailer:
            warming = asyncio.create_task(mailer.warm_up())

            async def cancel() -> None:
                for _ in range(turns):
                    await asyncio.sleep(0)
                warming.cancel()

            await asyncio.gather(warming, asyncio.create_task(cancel()), return_exceptions=True)
            async with asyncio.timeout(30):
                receipt = await mailer.send(Message(from_="me@x.org", to="ann@x.org", text="Hello"))
            assert receipt.status == "sent"
