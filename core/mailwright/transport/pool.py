"""The SMTP transport: some sessions of one connection, shared by all its messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from attrs import frozen

from mailwright.errors import MailwrightError, SessionError
from mailwright.model import Connection, Limits, Reply, Report, SmtpEndpoint
from mailwright.ports import Clock
from mailwright.smtp import Transaction
from mailwright.spi import Authenticator, Capabilities, Submission
from mailwright.transport.lanes import Lane, Lanes
from mailwright.transport.opening import Opener
from mailwright.transport.session import Session

IDLE_S: Final = 30.0
"""Seconds after which an idle session is closed: before the server does it."""
_LATE: Final = "the time for this message is over"


@frozen(kw_only=True)
class Counters:
    """What a transport has done.

    Attributes:
        sessions: Opened.
        messages: Tried, each attempt counted.
        ahead: Of these, begun behind another's final dot: one round trip each.
    """

    sessions: int
    messages: int
    ahead: int


class SmtpTransport:
    """Implements `mailwright.spi.Transport`.

    Args:
        endpoint: Host, port, TLS.
        connection: Names, time-outs, proxy, authorities.
        limits: Sessions at one time, messages of one session.
        authenticator: The credential; None: no login.
        clock: Time.
        explain: The provider's replies in words.
    """

    capabilities = Capabilities()

    def __init__(
        self,
        endpoint: SmtpEndpoint,
        connection: Connection,
        *,
        limits: Limits,
        authenticator: Authenticator | None,
        clock: Clock,
        explain: Callable[[Reply], str | None] = lambda reply: None,
    ) -> None:
        self._opener = Opener(endpoint, connection, authenticator=authenticator, explain=explain)
        self._authenticator = authenticator
        self._limits = limits
        self._clock = clock
        self._lanes = Lanes(limits.connections, idle_s=IDLE_S)
        self._total_s = connection.timeouts.total
        self._closed = False
        self._sessions = 0
        self._messages = 0

    @property
    def counters(self) -> Counters:
        """What it has done so far."""
        return Counters(sessions=self._sessions, messages=self._messages, ahead=self._lanes.ahead)

    async def deliver(self, submission: Submission) -> Report:
        """Try once; a used session that took no notice of the message is replaced by a fresh one."""
        if self._closed:
            error = SessionError("the mailer is closed", command="API")
            return Report.all(submission.envelope, "rejected", stage="connect", permanent=False, error=error)
        try:
            return await self._in_lane(submission, await self._lanes.enter(submission, self._left(submission)))
        except MailwrightError as error:
            return Report.all(
                submission.envelope,
                "rejected",
                stage=error.stage or "connect",
                permanent=error.permanent,
                reply=error.reply,
                error=error,
            )

    def _left(self, submission: Submission) -> float:
        return max(0.0, submission.deadline - self._clock.monotonic())

    async def _in_lane(self, submission: Submission, lane: Lane) -> Report:
        good: Session | None = None
        try:
            if lane.session is not None:
                report, noticed, good = await self._through(lane.session, submission, lane.started)
                if noticed:
                    return report
            session = await self._opened(submission)
            report, _, good = await self._through(session, submission, None)
            return report
        finally:
            self._lanes.leave(good)

    async def _opened(self, submission: Submission) -> Session:
        try:
            async with asyncio.timeout(self._left(submission)):
                session = await self._opener.open()
        except TimeoutError:
            raise SessionError(_LATE, code="ETIMEDOUT") from None
        self._sessions += 1
        return session

    async def _through(
        self, session: Session, submission: Submission, started: Transaction | None
    ) -> tuple[Report, bool, Session | None]:
        """The outcome, whether the server took notice, and the session if it is good for another message."""
        self._messages += 1

        def follow() -> bytes:
            return b"" if session.spent(self._limits.messages_per_session) else self._lanes.follow(session)

        try:
            report, noticed = await session.deliver(submission, self._clock.monotonic(), started=started, follow=follow)
        except BaseException:
            session.abort()
            self._lanes.lost(session)
            raise
        if self._lanes.expects(session):
            if session.alive:
                return report, noticed, session
            self._lanes.lost(session)
        elif not self._closed and session.usable and not session.spent(self._limits.messages_per_session):
            return report, noticed, session
        await session.aclose()
        return report, noticed, None

    async def verify(self) -> AsyncIterator[str]:
        """Yield each step passed. Raises `MailwrightError` where it stops."""
        steps: list[str] = []
        failed: MailwrightError | None = None
        try:
            async with asyncio.timeout(self._total_s):
                session = await self._opener.open(steps.append)
            await session.aclose()
        except TimeoutError:
            failed = SessionError(f"not ready within {self._total_s:g} s", code="ETIMEDOUT")
        except MailwrightError as error:
            failed = error
        for step in steps:
            yield step
        if failed is not None:
            raise failed

    async def aclose(self) -> None:
        """Let messages under way end, say QUIT on idle sessions; safe to repeat."""
        self._closed = True
        idle = await self._lanes.drained()
        try:
            await asyncio.gather(*(session.aclose() for session in idle))
        except BaseException:
            for session in idle:
                session.abort()
            raise
        if self._authenticator is not None:
            await self._authenticator.aclose()
