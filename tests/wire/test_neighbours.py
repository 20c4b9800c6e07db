"""Messages that share a session, and one of them is cancelled, late or broken: the others do not notice."""

from __future__ import annotations

import asyncio
import gc
import re
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import define, evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwright import Connection, Envelope, Message
from mailwright.errors import MessageError
from mailwright.mime import compose
from mailwright.model import Limits, Report, SmtpEndpoint, Timeouts
from mailwright.spi import Settings, Submission
from mailwright.system import SystemClock
from mailwright.testing import Fault, ScriptedServer
from mailwright.transport import SmtpTransport
from mailwright.transport.lanes import Lanes
from mailwright.transport.watch import Watchdog
from mailwright.transport.wire import WireProtocol

Before = Callable[[bytes], Awaitable[None]]
ENDS = (b"DATA\r\n", b"\r\n.\r\n", b"QUIT\r\n", b"RSET\r\n")


def letter(
    subject: str, *recipients: str, seconds: float = 60, may_repeat: bool = False, text: str = "x"
) -> Submission:
    told = recipients or ("a@x.org",)
    message = Message(
        from_="me@x.org", to=told, subject=subject, text=text, message_id=f"<{subject}@x.org>",
        date=datetime(2026, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    return Submission(
        composed=compose(message, token=lambda: "0" * 32),
        message=message,
        envelope=Envelope(sender="me@x.org", recipients=told),
        idempotency_key=subject,
        deadline=SystemClock().monotonic() + seconds,
        may_repeat=may_repeat,
    )


async def commit() -> None:
    await asyncio.sleep(0)


def transport(port: int, *, sessions: int = 1, per_session: int = 100) -> SmtpTransport:
    return SmtpTransport(
        SmtpEndpoint(host="127.0.0.1", port=port, tls="none"),
        Connection(provider="smtp", settings=Settings(), timeouts=Timeouts(total=6000)),
        limits=Limits(connections=sessions, messages_per_session=per_session),
        authenticator=None,
        clock=SystemClock(),
    )


class Batching:
    """Answers all that was said since the last time in one write.

    Attributes:
        held: Subjects.
        before: Awaited before each of these writes, with what the client said.
    """

    def __init__(self, extensions: str) -> None:
        self.held: Counter[str] = Counter()
        self.before: Before | None = None
        self.waits_for = 0
        self._hello = f"250-x\r\n250-{extensions}\r\n250 PIPELINING\r\n".encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        await reader.readline()
        writer.write(self._hello)
        said = b""
        while piece := await reader.read(1 << 16):
            said += piece
            if not said.endswith(ENDS) or (self.before is not None and said.count(b"RSET") < self.waits_for):
                continue
            if self.before is not None:
                await self.before(said)
            self.held.update(re.findall(r"Subject: (\w+)", said.decode()))
            parts = re.findall(rb"MAIL|RCPT|RSET|QUIT|BDAT|(?<=\n)\.(?=\r)|DATA", said)
            writer.write(b"".join(b"354 go\r\n" if part == b"DATA" else b"250 ok\r\n" for part in parts))
            said = b""


@asynccontextmanager
async def batching(extensions: str = "X") -> AsyncIterator[tuple[Batching, int]]:
    batching = Batching(extensions)
    server = await asyncio.start_server(batching.serve, "127.0.0.1", 0)
    async with server:
        yield batching, server.sockets[0].getsockname()[1]


def outcomes(reports: list[Any]) -> list[str]:
    return [report.statuses[0].outcome if isinstance(report, Report) else type(report).__name__ for report in reports]


@contextmanager
def after_each_read(hook: Callable[[], None]) -> Iterator[None]:
    """Called before any task hears of what was read."""
    read = WireProtocol.buffer_updated

    def read_and_tell(self: WireProtocol, nbytes: int) -> None:
        read(self, nbytes)
        hook()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WireProtocol, "buffer_updated", read_and_tell)
        yield


@pytest.mark.parametrize("attended", [False, True])
@pytest.mark.parametrize("begun", [False, True], ids=["by itself", "by the one before"])
async def test_cancelled_once_it_is_answered(attended: bool, begun: bool) -> None:
    """Its answer and the next one's 354 came together: the session is the next one's by then."""
    async with batching() as (server, port):
        sender = transport(port)
        names = ["zero", "one", "two"] if begun else ["one", "two"]
        letters = [letter(name) for name in names]
        if attended:
            letters[-1] = evolve(letters[-1], commit=commit)
        tasks = [asyncio.create_task(sender.deliver(each)) for each in letters]

        def cancel() -> None:
            if server.held["one"]:
                tasks[-2].cancel()

        with after_each_read(cancel):
            reports = await asyncio.gather(*tasks, return_exceptions=True)
        await sender.aclose()
        assert outcomes(reports)[-2:] == ["CancelledError", "accepted"]
        assert server.held == Counter(names)
        assert sender.counters.sessions == 1


async def test_cancelled_before_others_who_came_along() -> None:
    """Begun by the one before it, and whole messages of others are behind it: they are answered."""
    async with batching("CHUNKING") as (server, port):
        sender = transport(port)
        letters = [letter("one"), *(letter(name, may_repeat=True) for name in ("two", "three", "four"))]
        tasks = [asyncio.create_task(sender.deliver(each)) for each in letters]

        async def before(said: bytes) -> None:
            if b"Subject: one" in said:
                server.waits_for = 2
            if b"Subject: two" in said:
                server.waits_for = 0
                tasks[1].cancel()
                await asyncio.wait([tasks[1]])

        server.before = before
        reports = await asyncio.gather(*tasks, return_exceptions=True)
        await sender.aclose()
        assert outcomes(reports) == ["accepted", "CancelledError", "accepted", "accepted"]
        assert server.held == {"one": 1, "two": 1, "three": 1, "four": 1}
        assert sender.counters.sessions == 1


async def test_the_next_has_its_own_time() -> None:
    """What was due of the one before ends with its answer."""
    async with batching() as (server, port):
        loop: Any = asyncio.get_running_loop()
        now = loop.time
        sender = transport(port)

        async def before(said: bytes) -> None:
            if b"Subject: one" in said:  # its answer comes, and its time is over, in the same turn of the loop
                loop.time = lambda: now() + 100

        server.before = before
        letters = [letter("one"), evolve(letter("two", seconds=6000), commit=commit)]
        reports = await asyncio.gather(*map(sender.deliver, letters))
        await sender.aclose()
        assert outcomes(reports) == ["accepted", "accepted"]


@pytest.mark.parametrize("late", [False, True])
async def test_what_fails_before_it_begins_fails_alone(late: bool) -> None:
    """Whoever is before it begins it on its behalf: at the last octet, or (`late`) once answered."""

    class Unmeasured:
        size = property(lambda self: 1 // 0)
        needs = frozenset[Any]()

    broken = evolve(letter("broken"), composed=Unmeasured())
    async with batching() as (server, port):
        sender = transport(port)
        tasks = [asyncio.create_task(sender.deliver(letter("one")))]

        async def before(said: bytes) -> None:
            if late and b"Subject: one" in said:
                tasks.extend(asyncio.create_task(sender.deliver(each)) for each in (broken, letter("two")))
                await asyncio.sleep(0)

        server.before = before
        if not late:
            tasks += [asyncio.create_task(sender.deliver(each)) for each in (broken, letter("two"))]
        await tasks[0]
        reports = await asyncio.gather(*tasks, return_exceptions=True)
        await sender.aclose()
        assert outcomes(reports) == ["accepted", "ZeroDivisionError", "accepted"]
        assert server.held == {"one": 1, "two": 1}


async def test_a_session_that_said_too_much_is_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was given to a message that is cancelled at once: its answers would be paired with another's commands."""
    leave = Lanes.leave
    async with batching("LIMITS RCPTMAX=1") as (_, port):
        sender = transport(port)
        letters = [letter("one"), letter("two", "a@x.org", "b@x.org"), letter("three")]  # "two" begins by itself
        tasks = [asyncio.create_task(sender.deliver(each)) for each in letters]

        def leave_and_cancel(self: Lanes, session: Any) -> None:
            leave(self, session)
            if session is not None and not tasks[1].done():
                session._protocol.get_buffer(8)[:8] = b"250 ok\r\n"
                session._protocol.buffer_updated(8)
                tasks[1].cancel()

        monkeypatch.setattr(Lanes, "leave", leave_and_cancel)
        reports = await asyncio.gather(*tasks, return_exceptions=True)
        monkeypatch.undo()
        await sender.aclose()
        assert outcomes(reports) == ["accepted", "CancelledError", "accepted"]
        assert sender.counters.sessions == 2


@pytest.fixture
def collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


NO = "550 5.7.1 no"


@pytest.mark.parametrize(
    "script",
    [
        {"replies": {"mail": lambda about: NO}},
        {"replies": {"rcpt": lambda about: NO}},
        {"replies": {"data": lambda about: NO}},
        {"replies": {"final": lambda about: NO}},
        {"faults": [Fault(stage="data", kind="drop")]},
        {"faults": [Fault(stage="final", kind="drop")]},
        {"faults": [Fault(stage="final", kind="hang")]},
    ],
    ids=["MAIL", "RCPT", "DATA", "the dot", "lost", "unknown", "late"],
)
@pytest.mark.usefixtures("collector")
async def test_what_is_not_delivered_is_not_kept_either(script: Any) -> None:
    """No cycle is left to the collector."""
    async with ScriptedServer(**script) as server:
        sender = transport(server.port)
        letters = [letter(f"n{number}", seconds=0.2) for number in range(5)]
        kept = [weakref.ref(each.composed) for each in letters]
        reports = await asyncio.gather(*map(sender.deliver, letters))
        assert "accepted" not in outcomes(reports)
        await sender.aclose()
        del letters, reports, sender
        for _ in range(5):
            await asyncio.sleep(0)
        assert [one() for one in kept] == [None] * 5


@pytest.mark.usefixtures("collector")
async def test_what_the_trace_shows_is_not_kept_either(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "mailwright.wire")
    async with ScriptedServer() as server:
        sender = transport(server.port)
        letters = [letter(f"n{number}") for number in range(5)]
        kept = [weakref.ref(each.composed) for each in letters]
        reports = await asyncio.gather(*map(sender.deliver, letters))
        assert set(outcomes(reports)) == {"accepted"}
        await sender.aclose()
        del letters, reports, sender
        caplog.clear()
        for _ in range(5):
            await asyncio.sleep(0)
        assert [one() for one in kept] == [None] * 5


@pytest.mark.usefixtures("collector")
async def test_what_is_cancelled_is_not_kept_either() -> None:
    async with ScriptedServer(faults=[Fault(stage="final", kind="hang", times=1)]) as server:
        sender = transport(server.port)
        letters = [letter(f"n{number}") for number in range(5)]
        kept = [weakref.ref(each.composed) for each in letters]
        tasks = [asyncio.create_task(sender.deliver(each)) for each in letters]
        while not sender.counters.ahead:
            await asyncio.sleep(0)
        for task in reversed(tasks):
            task.cancel()
        await asyncio.wait(tasks)
        await sender.aclose()
        del letters, tasks, task, sender
        for _ in range(5):
            await asyncio.sleep(0)
        assert [one() for one in kept] == [None] * 5


def test_a_timer_that_is_due_at_once_on_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def run() -> None:
        rung = asyncio.Event()
        watch = Watchdog(rung.set)
        now = asyncio.get_running_loop().time()
        watch.set(now)
        watch.set(now - 1)
        await rung.wait()

    uvloop.run(run())


@define
class Guest:
    """One of many messages.

    Attributes:
        cancelled: After so many reads of any session; None: never.
    """

    commit: bool
    may_repeat: bool
    broken: bool
    size: int
    recipients: int
    cancelled: int | None


class Broken:
    """Octets that cannot be read after all."""

    needs = frozenset[Any]()

    def __init__(self, size: int) -> None:
        self.size = size

    def __bytes__(self) -> bytes:
        raise MessageError("the attachment changed")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"x" * (self.size // 2)
        raise MessageError("the attachment changed")


async def all_of(sender: SmtpTransport, guests: list[Guest]) -> list[Report | BaseException]:
    reads = 0
    tasks: list[asyncio.Task[Report]] = []
    for number, guest in enumerate(guests):
        each = letter(
            f"n{number}",
            *(f"r{number}-{place}@x.org" for place in range(guest.recipients)),
            may_repeat=guest.may_repeat,
            text=("x" * 60 + "\n") * (guest.size // 60 + 1),
        )
        if guest.commit:
            each = evolve(each, commit=commit)
        if guest.broken:
            each = evolve(each, composed=Broken(guest.size))
        tasks.append(asyncio.create_task(sender.deliver(each)))

    def cancel() -> None:
        nonlocal reads
        for guest, task in zip(guests, tasks, strict=True):
            if guest.cancelled == reads:
                task.cancel()
        reads += 1

    with after_each_read(cancel):
        return await asyncio.gather(*tasks, return_exceptions=True)


guests = st.builds(
    Guest,
    commit=st.booleans(),
    may_repeat=st.booleans(),
    broken=st.sampled_from([False] * 9 + [True]),
    size=st.sampled_from([10, 10, 10, 70_000, 600_000]),
    recipients=st.sampled_from([1, 1, 1, 2, 3]),
    cancelled=st.none() | st.integers(0, 40),
)
breaks = st.builds(
    Fault,
    stage=st.sampled_from(["mail", "rcpt", "data", "body", "final", "rset"]),
    kind=st.sampled_from(["drop", "reset", "421", "garbage", "bad-code"]),
    times=st.just(1),
    after=st.integers(0, 3),
)


@given(
    guests=st.lists(guests, min_size=2, max_size=8),
    faults=st.lists(breaks, max_size=2),
    finals=st.lists(st.sampled_from([None, "550 5.7.1 no", "451 4.3.0 later"]), max_size=6),
    refused=st.sets(st.sampled_from([f"r{number}-0@x.org" for number in range(8)])),
    sessions=st.integers(1, 2),
    per_session=st.sampled_from([1, 2, 100]),
    extensions=st.sampled_from([(), ("PIPELINING",), ("PIPELINING", "CHUNKING")]),
    recipients=st.sampled_from([None, 2]),
    deliver=st.sampled_from(["blob", "line", "byte"]),
)
@settings(max_examples=100)
def test_what_is_told_is_what_happened(
    guests: list[Guest],
    faults: Any,
    finals: list[Any],
    refused: set[str],
    sessions: int,
    per_session: int,
    extensions: Any,
    recipients: Any,
    deliver: Any,
) -> None:
    """Accepted: there once. Rejected: not there. A server that breaks nothing has all that are not cancelled.

    Nobody waits for ever, and no session is left over.
    """

    async def run() -> None:
        said = list(finals)
        replies: Any = {
            "rcpt": lambda address: "550 5.1.1 nobody" if address in refused else None,
            "final": lambda about: said.pop() if said else None,
        }
        async with ScriptedServer(
            faults=faults, replies=replies, deliver=deliver, extensions=extensions, recipients=recipients
        ) as server:
            sender = transport(server.port, sessions=sessions, per_session=per_session)
            reports = await all_of(sender, guests)
            await sender.aclose()
            held = Counter(address for message in server.messages for address in message.rcpt_to)
        lanes = sender._lanes
        assert (lanes._free, lanes._users, lanes._begun) == (sessions, {}, set())
        assert max(held.values(), default=0) <= 1
        quiet = not (faults or finals or refused)
        for guest, report in zip(guests, reports, strict=True):
            if isinstance(report, asyncio.CancelledError):
                assert guest.cancelled is not None
                continue
            assert isinstance(report, Report), report
            assert not quiet or guest.broken or set(outcomes([report])) == {"accepted"}
            for status in report.statuses:
                assert held[status.address] in {"accepted": {1}, "rejected": {0}, "unknown": {0, 1}}[status.outcome]

    asyncio.run(run())


@given(
    guests=st.lists(
        st.builds(
            Guest,
            commit=st.booleans(),
            may_repeat=st.booleans(),
            broken=st.just(False),
            size=st.just(10),
            recipients=st.integers(1, 2),
            cancelled=st.none() | st.integers(0, 12),
        ),
        min_size=2,
        max_size=8,
    ),
    sessions=st.integers(1, 2),
    extension=st.sampled_from(["X", "CHUNKING"]),
)
@settings(max_examples=150)
def test_whoever_is_cancelled_harms_nobody(guests: list[Guest], sessions: int, extension: str) -> None:
    async def run() -> None:
        async with batching(extension) as (server, port):
            sender = transport(port, sessions=sessions)
            reports = await all_of(sender, guests)
            await sender.aclose()
        for number, (guest, report) in enumerate(zip(guests, reports, strict=True)):
            if guest.cancelled is None:
                assert outcomes([report]) == ["accepted"]
                assert server.held[f"n{number}"] == 1

    asyncio.run(run())
