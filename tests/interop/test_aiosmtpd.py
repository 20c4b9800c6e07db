"""aiosmtpd, the server that Python projects test against: another reading of the same RFCs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword

from mailwright import Mailer, Message, SendError

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")


class Inbox:
    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: Any) -> str:  # noqa: N802
        if address.startswith("nobody"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802
        self.envelopes.append(envelope)
        return "250 2.0.0 kept"


def authenticator(server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    assert isinstance(data, LoginPassword)
    return AuthResult(success=data == LoginPassword(b"ann", b"not-a-real-password"), handled=False)


@pytest.fixture
async def server() -> AsyncIterator[tuple[dict[str, Any], Inbox]]:
    inbox = Inbox()
    loop = asyncio.get_running_loop()

    def session() -> SMTP:
        return SMTP(
            inbox, loop=loop, hostname="localhost", auth_required=True, auth_require_tls=False,
            authenticator=authenticator, enable_SMTPUTF8=True, data_size_limit=1_000_000,
        )  # fmt: skip

    listening = await loop.create_server(session, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        auth = {"type": "basic", "username": "ann", "password": "not-a-real-password"}
        yield {"provider": "smtp", "host": "127.0.0.1", "port": port, "tls": "none", "auth": auth}, inbox


def letter(number: int = 0, **changes: Any) -> Message:
    return Message(**{"from_": "me@x.org", "to": "ann@x.org", "subject": f"n{number}", "text": ".\n..\n"} | changes)


async def test_many_over_few_sessions(server: Any) -> None:
    connection, inbox = server
    async with Mailer(connection | {"limits": {"connections": 2}}) as mailer:
        receipts = [receipt async for receipt in mailer.send_many(map(letter, range(25)))]
    assert {receipt.status for receipt in receipts} == {"sent"}
    assert len(inbox.envelopes) == 25
    assert {bytes(envelope.content).partition(b"\r\n\r\n")[2] for envelope in inbox.envelopes} == {b".\r\n..\r\n"}


async def test_each_recipient_has_an_outcome(server: Any) -> None:
    connection, inbox = server
    async with Mailer(connection) as mailer:
        receipt = await mailer.send(letter(to="ann@x.org, nobody@x.org, jörg@x.org"))
    assert [status.outcome for status in receipt.statuses] == ["accepted", "rejected", "accepted"]
    assert sorted(address for envelope in inbox.envelopes for address in envelope.rcpt_tos) == [
        "ann@x.org",
        "jörg@x.org",
    ]


async def test_too_large_is_refused_before_mail(server: Any) -> None:
    connection, inbox = server
    async with Mailer(connection) as mailer:
        with pytest.raises(SendError, match="SIZE"):
            await mailer.send(letter(text="x" * 70 + "\n" + ("y" * 70 + "\n") * 20_000))
    assert not inbox.envelopes


async def test_a_wrong_password_is_one_attempt(server: Any) -> None:
    connection, _ = server
    connection["auth"] = connection["auth"] | {"password": "wrong"}
    async with Mailer(connection) as mailer:
        with pytest.raises(SendError) as refused:
            await mailer.send(letter())
    assert refused.value.code == "EAUTH"
