"""The fault matrix: a server that breaks once, at every stage, in every way; what is told against what it holds.

Run ``nox -s faults``, or ``python tests/faults/matrix.py [STAGE ...]``. Three letters share one session, one after the
other or together; or, *at once*, ten letters that may repeat, so that eight are whole on the wire before the first is
answered. Exactly one thing goes wrong. Then

- who was told *accepted* is held once, who was told *rejected* is not, *unknown* only where the final answer is missing;
- at most one letter is harmed, and none where the server was only slow; at once: those on the wire with it, too, and where
  one is refused, only that one;
- *for good* is said only of what the server refused for good;
- no credential crossed a link in clear, or came into a log.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import logging
import resource
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from attrs import define, field, frozen

from mailwright import Connection, Envelope, Message
from mailwright.mime import compose
from mailwright.model import Limits, RecipientStatus, SmtpEndpoint, Timeouts
from mailwright.sasl import passwords
from mailwright.spi import SaslMechanism, SaslOffer, Settings, Submission, no_commit
from mailwright.system import SystemClock
from mailwright.testing import Fault, ScriptedServer
from mailwright.transport import SmtpTransport
from mailwright.transport.lanes import TOGETHER

STAGES: Final = (
    "greeting", "ehlo", "starttls", "tls", "auth", "mail", "rcpt", "data", "body", "final", "rset", "quit", "idle",
)  # fmt: skip
BREAKS: Final = ("drop", "reset", "hang", "drip", "flood", "421")
NONSENSE: Final = ("garbage", "long-line", "bad-code", "mixed-codes", "bare-lf", "two-replies")
REFUSALS: Final = {"4xx": "451 4.3.0 later", "5xx": "554 5.3.0 never"}
KEPT_SILENT: Final = ("accept-drop", "accept-hang")
SECRET: Final = "canary-0123456789"
STUCK_S: Final = 60.0
"""A scenario that takes longer hangs: its longest limit is a second."""
SLOW: Final = frozenset({"hang", "accept-hang"})
HARMLESS: Final = frozenset({"rset", "quit", "idle"})
"""Stages where nothing can be lost: what was told is told, and nothing of the next letter was said."""


@frozen(kw_only=True)
class Scenario:
    """What breaks, where, at a server that offers what."""

    stage: str
    kind: str
    pipelining: bool
    chunking: bool
    together: bool
    at_once: bool = False

    def __str__(self) -> str:
        offered = [name for name in ("pipelining", "chunking", "together", "at_once") if getattr(self, name)]
        return "-".join([self.stage, self.kind, *offered])


def scenarios(*stages: str) -> Iterator[Scenario]:
    """All of them, or those of some stages."""
    switches = (False, True)
    for stage in stages or STAGES:
        for kind in kinds(stage):
            for pipelining, chunking, together in itertools.product(switches, switches, switches):
                if stage == "data" and chunking:
                    continue  # large bodies go without DATA
                if stage == "idle" and together:
                    continue
                yield Scenario(stage=stage, kind=kind, pipelining=pipelining, chunking=chunking, together=together)
            if stage not in {"body", "quit", "idle"}:  # no body in parts; a session of its own is shared by nobody
                yield Scenario(stage=stage, kind=kind, pipelining=True, chunking=True, together=True, at_once=True)


def kinds(stage: str) -> tuple[str, ...]:
    """What can go wrong at a stage."""
    if stage == "tls":
        return ("drop",)
    if stage == "idle":
        return ("drop", "reset", "drip", "flood", "421", *NONSENSE)
    return (*BREAKS, *NONSENSE, *REFUSALS, *(KEPT_SILENT if stage == "final" else ()))


@define
class Verdict:
    """What was wrong, if anything.

    Attributes:
        hung: It did not end.
        wrong: Outcomes that are not what happened.
        leaks: Where the credential was seen.
    """

    scenario: Scenario
    hung: bool = False
    wrong: list[str] = field(factory=list)
    leaks: list[str] = field(factory=list)

    @property
    def good(self) -> bool:
        return not (self.hung or self.wrong or self.leaks)


class Lines:
    """A body of many lines, larger than what sockets buffer where it has to be."""

    message_id = "<large@x.org>"
    needs: frozenset[Any] = frozenset()

    def __init__(self, number: int, size: int) -> None:
        self._head = b"Subject: n%d\r\n\r\n" % number
        self._chunk = b"a line of a body\r\n" * 4096
        self._count = size // len(self._chunk) + 1
        self.size = len(self._head) + self._count * len(self._chunk)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        for _ in range(self._count):
            yield self._chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk

    def __bytes__(self) -> bytes:
        return b"".join(self)


class Password:
    async def sasl(self, offer: SaslOffer) -> SaslMechanism:
        return passwords("ann", SECRET, offer)

    async def sign(self, request: Any) -> Any:
        raise NotImplementedError

    async def refused(self, reply: Any, challenge: bytes | None) -> bool:
        return False

    async def aclose(self) -> None:
        pass


def letter(number: int, scenario: Scenario) -> Submission:
    """The first one tells somebody unknown too, and is large where the body matters; at once each is for one."""
    told = ("a@x.org",)
    if number == 0 and not scenario.at_once:
        told = ("no@x.org",) if scenario.stage == "rset" else ("a@x.org", "no@x.org", "b@x.org")
    message = Message(
        from_="me@x.org", to=told, subject=f"n{number}", text="Hello",
        message_id=f"<{number}@x.org>", date=datetime(2026, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    composed: Any = compose(message, token=lambda: "0" * 32)
    if number == 0 and scenario.chunking and not scenario.at_once:
        composed = Lines(number, 600_000)
    elif number == 0 and scenario.stage == "body":
        composed = Lines(number, 24_000_000)

    async def commit() -> None:
        pass

    return Submission(
        composed=composed,
        message=message,
        envelope=Envelope(sender="me@x.org", recipients=told),
        idempotency_key=str(number),
        deadline=SystemClock().monotonic() + STUCK_S,
        commit=commit if number == 1 else no_commit,  # bodies are written by tasks, and without waking them
        may_repeat=scenario.at_once,
    )


def script(scenario: Scenario) -> ScriptedServer:
    """A server that breaks once."""
    extensions = ["8BITMIME", "ENHANCEDSTATUSCODES"]
    extensions += ["PIPELINING"] if scenario.pipelining else []
    extensions += ["CHUNKING"] if scenario.chunking else []
    replies: dict[Any, Any] = {"rcpt": lambda address: "550 5.1.1 nobody" if address == "no@x.org" else None}
    faults: list[Fault] = []
    if scenario.kind in REFUSALS and not (scenario.stage == "body" and not scenario.chunking):
        usual = replies.get(scenario.stage, lambda about: None)
        once = iter([*[None] * _before(scenario), REFUSALS[scenario.kind]])
        replies[scenario.stage] = lambda about: next(once, None) or usual(about)
    elif scenario.stage == "body" and scenario.kind in REFUSALS:
        faults.append(Fault(stage="body", kind="early-reply", times=1))
    elif scenario.stage != "idle":
        fault = Fault(stage=scenario.stage, kind=scenario.kind, times=1, after=_before(scenario))  # type: ignore[arg-type]
        faults.append(fault)
    secure = scenario.stage in {"greeting", "ehlo", "starttls", "tls", "auth"}
    return ScriptedServer(
        tls="starttls" if secure else "none",
        users={"ann": SECRET} if secure else None,
        extensions=extensions,
        replies=replies,
        faults=faults,
    )


def _before(scenario: Scenario) -> int:
    """Replies of the stage that go well: at once it is the fourth letter's that does not."""
    return 3 if scenario.at_once and scenario.stage in {"mail", "rcpt", "final", "rset"} else 0


async def play(scenario: Scenario) -> Verdict:
    """Run one scenario and judge it."""
    verdict = Verdict(scenario)
    async with script(scenario) as server:
        try:
            async with asyncio.timeout(STUCK_S):
                told = await _told(scenario, server)
        except TimeoutError:
            verdict.hung = True
            return verdict
        judge(scenario, server, told, verdict)
    return verdict


async def _told(scenario: Scenario, server: ScriptedServer) -> list[tuple[RecipientStatus, ...]]:
    short = 1.0 if scenario.kind in SLOW else 30.0
    timeouts = Timeouts(connect=2 * short, command=short, data=short, reply=short, total=STUCK_S)
    once = scenario.stage == "quit"
    limits = Limits(connections=1, messages_per_session=1 if once else 100)
    connection = Connection(
        provider="smtp",
        settings=Settings(),
        ca_file=str(server.ca_file) if server.ca_file else None,
        timeouts=timeouts,
    )
    sender = SmtpTransport(
        SmtpEndpoint(host=server.host, port=server.port, tls=server.tls),
        connection,
        limits=limits,
        authenticator=Password() if server.users else None,
        clock=SystemClock(),
    )
    letters = [letter(number, scenario) for number in range(10 if scenario.at_once else 3)]
    if scenario.together:
        reports = await asyncio.gather(*(sender.deliver(one) for one in letters))
    else:
        reports = []
        for one in letters:
            reports.append(await sender.deliver(one))
            if len(reports) == 1 and scenario.stage == "idle":
                await _disturbed(scenario, server)
    await sender.aclose()
    return [report.statuses for report in reports]


async def _disturbed(scenario: Scenario, server: ScriptedServer) -> None:
    """The resting session goes wrong, and some turns of the loop later the next letter comes."""
    task = asyncio.ensure_future(server.sessions[-1].disturb(scenario.kind))  # type: ignore[arg-type]
    for _ in range(50):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def judge(
    scenario: Scenario, server: ScriptedServer, told: list[tuple[RecipientStatus, ...]], verdict: Verdict
) -> None:
    """Compare what was told with what the server holds."""
    held: Counter[tuple[str, str]] = Counter()
    for message in server.messages:
        subject = message.raw.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode()
        held.update((subject, recipient) for recipient in message.rcpt_to)
        if message.bare:
            verdict.wrong.append("a bare CR or LF was on the wire")
    harmed = set()
    for number, statuses in enumerate(told):
        for status in statuses:
            there = held[f"n{number}", status.address]
            shown = (
                f"n{number} {status.address}: told {status.outcome} ({status.permanent}, {status.stage}), held {there}"
            )
            if there not in {"accepted": {1}, "rejected": {0}, "unknown": {0, 1}}[status.outcome]:
                verdict.wrong.append(shown)
            if status.outcome != "accepted" and status.address != "no@x.org":
                harmed.add(number)
            if status.outcome == "unknown" and status.stage != "final":
                verdict.wrong.append(f"{shown}: unknown too early")
            for_good = scenario.kind == "5xx" or (scenario.stage == "body" and not scenario.chunking)
            for_good |= scenario.kind == "mixed-codes" and scenario.stage in {"ehlo", "starttls", "auth"}  # read as 550
            if status.permanent and status.address != "no@x.org" and not for_good:
                verdict.wrong.append(f"{shown}: for good, though the server never said so")
    if len(harmed) > _most_harmed(scenario):
        verdict.wrong.append(f"letters harmed: {sorted(harmed)}")
    for session in server.sessions:
        clear = bytes(session.received)
        if session.encrypted and server.tls == "starttls":
            clear = clear.partition(b"STARTTLS\r\n")[0]
        if session.encrypted or server.tls != "none":
            verdict.leaks += [f"session {session.number}" for form in _forms() if form in clear]


def _most_harmed(scenario: Scenario) -> int:
    if scenario.kind == "drip" and scenario.stage != "body":
        return 0
    if scenario.at_once and scenario.stage in {"mail", "rcpt", "final", "rset"}:
        return 1 if scenario.kind in REFUSALS and scenario.stage != "rset" else TOGETHER
    return 0 if scenario.stage in HARMLESS else 1


def _forms() -> tuple[bytes, ...]:
    plain = SECRET.encode()
    return (plain, base64.b64encode(b"\0ann\0" + plain), base64.b64encode(plain))


class Watch(logging.Handler):
    """Counts log records that show the credential."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.hits = 0
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        text = self._formatter.format(record).encode("utf-8", "backslashreplace")
        self.hits += any(form in text for form in _forms())


async def run(wanted: list[Scenario], *, at_once: int = 8) -> list[Verdict]:
    """All verdicts; scenarios that wait do not hold up the others."""
    places = asyncio.Semaphore(at_once)

    async def one(scenario: Scenario) -> Verdict:
        async with places:
            return await play(scenario)

    return await asyncio.gather(*(one(scenario) for scenario in wanted))


def main(arguments: list[str]) -> int:
    """Print the figures; 1 where one is not what it has to be."""
    if unknown := set(arguments) - set(STAGES):
        print(f"no such stage: {', '.join(sorted(unknown))}; there are: {', '.join(STAGES)}")
        return 2
    watch = Watch()
    logging.getLogger("mailwright").addHandler(watch)
    logging.getLogger("mailwright").setLevel(logging.DEBUG)
    logging.getLogger("mailwright").propagate = False
    started = time.perf_counter()
    verdicts = asyncio.run(run(list(scenarios(*arguments))))
    for verdict in verdicts:
        if not verdict.good:
            print(f"{verdict.scenario}: {'hung' if verdict.hung else '; '.join([*verdict.wrong, *verdict.leaks])}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = {
        "scenarios": len(verdicts),
        "hangs": sum(verdict.hung for verdict in verdicts),
        "wrong outcomes": sum(bool(verdict.wrong) for verdict in verdicts),
        "credentials in clear": sum(bool(verdict.leaks) for verdict in verdicts),
        "credentials in logs": watch.hits,
        "peak memory, server included": f"{peak / (1 << 20 if sys.platform == 'darwin' else 1 << 10):.0f} MB",
        "seconds": round(time.perf_counter() - started),
    }
    for name, value in figures.items():
        print(f"{name:30} {value}")
    return 0 if all(verdict.good for verdict in verdicts) and not watch.hits else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
