"""BDAT (RFC 3030): large bodies in chunks, each answered, a bounded number on the wire."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from mailwright import Connection, Envelope, Message
from mailwright.model import Limits, Report, SmtpEndpoint, Timeouts
from mailwright.spi import Settings, Submission, no_commit
from mailwright.system import SystemClock
from mailwright.testing import Fault, ScriptedServer
from mailwright.transport import SmtpTransport
from mailwright.transport.exchange import CHUNK, IN_FLIGHT

PATIENT = Timeouts(connect=30, command=30, data=30, reply=30, total=60)
IMPATIENT = Timeouts(connect=30, command=1, data=1, reply=1, total=60)
LARGE = 5 * CHUNK + 12345


class Octets:
    """A body as given: lines that begin with dots, and octets that DATA could not carry."""

    message_id = "<1@x.org>"

    def __init__(self, size: int, *, step: int = 70_000, needs: frozenset[Any] = frozenset()) -> None:
        self.size, self.step, self.needs = size, step, needs
        line = b".dots\r\n..\r\n" if not needs else b"\0\n\r.\r\n.\r\n\xff"
        self.data = (b"Subject: s\r\n\r\n" + line * (size // len(line) + 1))[:size]

    def __iter__(self) -> Iterator[bytes]:
        return (self.data[start : start + self.step] for start in range(0, self.size, self.step))

    async def __aiter__(self) -> Any:
        for chunk in self:
            yield chunk

    def __bytes__(self) -> bytes:
        return self.data


def submission(composed: Octets, *recipients: str, commits: list[int] | None = None) -> Submission:
    told = recipients or ("a@x.org",)

    async def commit() -> None:
        assert commits is not None
        commits.append(1)

    return Submission(
        composed=composed,  # type: ignore[arg-type]
        message=Message(from_="me@x.org", to=told, message_id="<1@x.org>", date=datetime(2026, 1, 2, tzinfo=UTC)),
        envelope=Envelope(sender="me@x.org", recipients=told),
        idempotency_key="1",
        deadline=SystemClock().monotonic() + 60,
        commit=no_commit if commits is None else commit,
    )


def transport(server: ScriptedServer, *, timeouts: Timeouts = PATIENT, mask: Any = ()) -> SmtpTransport:
    connection = Connection(provider="smtp", settings=Settings(), timeouts=timeouts, mask=frozenset(mask))
    endpoint = SmtpEndpoint(host=server.host, port=server.port, tls="none")
    limits = Limits(connections=1)
    return SmtpTransport(endpoint, connection, limits=limits, authenticator=None, clock=SystemClock())


async def deliver(server: ScriptedServer, *jobs: Submission, **options: Any) -> list[Report]:
    sender = transport(server, **options)
    try:
        return await asyncio.gather(*map(sender.deliver, jobs))
    finally:
        await sender.aclose()


@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, LARGE, (IN_FLIGHT + 3) * CHUNK])
@pytest.mark.parametrize("pipelining", [True, False])
async def test_octets_arrive_unstuffed(size: int, pipelining: bool) -> None:
    extensions = ["CHUNKING", *(["PIPELINING"] if pipelining else [])]
    commits: list[int] = []
    async with ScriptedServer(extensions=extensions) as server:
        [report] = await deliver(server, submission(Octets(size), commits=commits))
        assert [status.outcome for status in report.statuses] == ["accepted"]
        assert server.messages[0].raw == Octets(size).data
        assert not any(line.startswith("DATA") for line in server.commands[0])
        sizes = [int(found) for line in server.commands[0] for found in re.findall(r"^BDAT (\d+)", line)]
        assert sum(sizes) == size
        assert max(sizes) < CHUNK + 70_000
        assert sum("LAST" in line for line in server.commands[0]) == len(commits) == 1


async def test_one_piece_goes_in_chunks() -> None:
    """Progress shows, and memory is bounded, only if what is written at one time is."""
    async with ScriptedServer() as server:
        await deliver(server, submission(Octets(LARGE, step=LARGE)))
        sizes = [int(found) for line in server.commands[0] for found in re.findall(r"^BDAT (\d+)", line)]
        assert max(sizes) == CHUNK
        assert server.messages[0].raw == Octets(LARGE).data


async def test_small_bodies_and_masked_servers_use_data() -> None:
    async with ScriptedServer() as server:
        await deliver(server, submission(Octets(1000)))
        await deliver(server, submission(Octets(LARGE)), mask=["CHUNKING"])
        assert not any(line.startswith("BDAT") for commands in server.commands for line in commands)
        assert [message.raw.rstrip() for message in server.messages] == [
            Octets(1000).data.rstrip(),
            Octets(LARGE).data.rstrip(),
        ]


async def test_binary_octets_need_both_extensions() -> None:
    body = Octets(3000, needs=frozenset({"binarymime"}))
    async with ScriptedServer(extensions=["CHUNKING", "BINARYMIME", "PIPELINING"]) as server:
        [report] = await deliver(server, submission(body))
        assert [status.outcome for status in report.statuses] == ["accepted"]
        assert server.messages[0].raw == body.data
        assert server.messages[0].mail_options == ("BODY=BINARYMIME",)
    async with ScriptedServer(extensions=["CHUNKING", "PIPELINING"]) as server:
        [report] = await deliver(server, submission(body))
        assert [status.permanent for status in report.statuses] == [True]
        assert server.messages == []


@pytest.mark.parametrize(("code", "permanent"), [("452 4.3.1 full", False), ("554 5.3.4 too big", True)])
async def test_a_refused_chunk_refuses_the_message(code: str, permanent: bool) -> None:
    commits: list[int] = []
    async with ScriptedServer(replies={"body": code}) as server:
        [report] = await deliver(server, submission(Octets(LARGE * 4), commits=commits))
        [status] = report.statuses
        assert (status.outcome, status.permanent, status.stage) == ("rejected", permanent, "body")
        assert server.messages == []
        assert not commits


@pytest.mark.parametrize("kind", ["drop", "reset", "hang", "garbage", "421", "bad-code", "flood"])
async def test_whatever_breaks_within_the_body_is_not_sent(kind: Any) -> None:
    commits: list[int] = []
    async with ScriptedServer(faults=[Fault(stage="body", kind=kind)]) as server:
        timeouts = IMPATIENT if kind in {"hang", "flood"} else PATIENT
        [report] = await deliver(server, submission(Octets(LARGE * 4), commits=commits), timeouts=timeouts)
        [status] = report.statuses
        assert status.outcome == "rejected"
        assert status.permanent is False
        assert server.messages == []
        assert not commits


@pytest.mark.parametrize("kind", ["drop", "reset", "accept-drop"])
async def test_lost_after_the_last_chunk_is_unknown(kind: Any) -> None:
    async with ScriptedServer(faults=[Fault(stage="final", kind=kind)]) as server:
        [report] = await deliver(server, submission(Octets(LARGE)))
        assert [status.outcome for status in report.statuses] == ["unknown"]


async def test_nobody_accepted_means_no_body() -> None:
    async with ScriptedServer(replies={"rcpt": "550 5.1.1 nobody"}) as server:
        reports = await deliver(server, submission(Octets(LARGE)), submission(Octets(LARGE)))
        assert {status.outcome for report in reports for status in report.statuses} == {"rejected"}
        assert not any(line.startswith("BDAT") for line in server.commands[0])
        assert len(server.sessions) == 1


async def test_neighbours_ride_behind_the_last_chunk() -> None:
    async with ScriptedServer(record_limit=1 << 24) as server:
        bodies = [Octets(LARGE), Octets(500), Octets(2 * CHUNK), Octets(LARGE)]
        reports = await deliver(server, *map(submission, bodies))
        assert {status.outcome for report in reports for status in report.statuses} == {"accepted"}
        assert [message.raw[:400] for message in server.messages] == [body.data[:400] for body in bodies]
        assert len(server.sessions) == 1
