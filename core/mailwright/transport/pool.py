"""The SMTP transport: some sessions of one connection, shared by all its messages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from mailwright.errors import MailwrightError, SessionError
from mailwright.model import Connection, Limits, Reply, Report, SmtpEndpoint
from mailwright.ports import Clock
from mailwright.spi import Authenticator, Capabilities, Commit, Submission, no_commit
from mailwright.transport.lanes import Lane, Lanes
from mailwright.transport.opening import Opener
from mailwright.transport.session import Session, merged

if TYPE_CHECKING:
    from mailwright.transport.exchange import Exchange

_LATE: Final = "the time for this message is over"


@frozen(kw_only=True)
class Counters:
    """What a transport has done.

    Attributes:
        sessions: Opened.
        messages: Tried, each attempt counted.
        ahead: Of these, begun before the one before them was answered: one round trip each, or less.
    """

    sessions: int
    messages: int
    ahead: int


class SmtpTransport:
    """Implements `mailwright.spi.Transport`; made in a running event loop, it belongs to that loop.

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
        self._loop = asyncio.get_running_loop()  # on 3.11 asking for it is a system call
        self._lanes = Lanes(limits.connections, per_session=limits.messages_per_session, idle_s=limits.idle)
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
        until = self._loop.time() + max(0.0, submission.deadline - self._clock.monotonic())
        commit = no_commit if submission.commit is no_commit else _once(submission.commit)
        report = await self._attempt(submission, commit, until)
        recipients = submission.envelope.recipients
        while len(report.statuses) < len(recipients):
            told = {status.address for status in report.statuses}
            left = tuple([address for address in recipients if address not in told])
            rest = evolve(submission, envelope=evolve(submission.envelope, recipients=left))
            further = await self._attempt(rest, commit, until)
            now = told.union(status.address for status in further.statuses)
            report = merged((report, further), [address for address in recipients if address in now])
        return report

    async def _attempt(self, submission: Submission, commit: Commit, until: float) -> Report:
        """What one session says of as many recipients as it takes."""
        try:
            lane = await self._lanes.enter(submission, until)
            while lane.shared:
                if (report := await self._together(lane, commit)) is not None:
                    return report
                lane = await self._lanes.enter(submission, until, again=True)
            return await self._alone(lane, commit)
        except MailwrightError as error:
            return Report.all(
                submission.envelope,
                "rejected",
                stage=error.stage or "connect",
                permanent=error.permanent,
                reply=error.reply,
                error=error.with_traceback(None),  # its frames know who waited, who knows the error: no cycles
            )

    async def _alone(self, lane: Lane, commit: Commit) -> Report:
        """On a session that is this message's until its last octet is written."""
        session, started = lane.session, lane.started
        lane.started = None  # it knows this lane: no cycles
        if session is not None:
            if started is not None and (settled := session.settled(started)) is not None:
                self._messages += 1
                await self._pass_on(lane, session)
                return settled
            report, noticed = await self._through(session, lane, commit, started)
            if noticed:
                await self._pass_on(lane, session)
                return report
            session.abort()
        session = lane.session = await self._opened(lane.until)
        report, _ = await self._through(session, lane, commit)
        await self._pass_on(lane, session)
        return report

    async def _opened(self, until: float) -> Session:
        session: Session | None = None
        try:
            with contextlib.suppress(TimeoutError):  # raised behind it, ours does not know its frames: no cycles
                async with asyncio.timeout_at(until):
                    session = await self._opener.open()
            if session is None:
                raise SessionError(_LATE, code="ETIMEDOUT")
        except BaseException:
            self._lanes.leave(None)
            raise
        self._sessions += 1
        return session

    async def _through(
        self, session: Session, lane: Lane, commit: Commit, started: Exchange | None = None
    ) -> tuple[Report, bool]:
        """The outcome, and whether the server took notice."""
        self._messages += 1
        try:
            return await session.deliver(
                lane.submission, commit, lane.until, started=started, follow=partial(self._lanes.follow, lane)
            )
        except BaseException:
            self._lanes.break_off(lane)
            raise

    async def _together(self, lane: Lane, commit: Commit) -> Report | None:
        """On a session that others use; None: it was lost before anything was written."""
        session = lane.session
        assert session is not None
        self._messages += 1
        try:
            report, noticed = await session.deliver_at_once(lane.submission, commit, lane.until)
        except BaseException:
            self._lanes.break_off(lane)
            raise
        await self._pass_on(lane, session)
        return report if noticed or session.alive else None

    async def _pass_on(self, lane: Lane, session: Session) -> None:
        """The right to a session, unless others have it already."""
        if lane.heir is None and (not self._lanes.shares(session) or self._lanes.part(session)):
            await self._offer(session)

    async def _offer(self, session: Session) -> None:
        """To whoever is next; a session that is of no more use is closed first."""
        if not self._closed and session.usable and not session.spent(self._limits.messages_per_session):
            self._lanes.leave(session)
            return
        self._lanes.forget(session)
        try:
            await session.aclose()
        finally:
            self._lanes.leave(None)

    async def warm_up(self, sessions: int) -> None:
        """Open sessions ahead of their messages until there are so many, all at once.

        Raises:
            MailwrightError: One did not open; those that did stay.
        """
        if self._closed:
            raise SessionError("the mailer is closed", command="API")
        most = min(sessions, self._limits.connections)
        opened = await asyncio.gather(*(self._opened_ahead(most) for _ in range(most)), return_exceptions=True)
        for error in opened:
            if isinstance(error, BaseException):
                raise error

    async def _opened_ahead(self, most: int) -> None:
        if self._lanes.spare(most):
            session = await self._opened(self._loop.time() + self._total_s)
            await self._offer(session)

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
        try:
            await self._close_resting()  # first: whoever has no patience for the others leaves none of these behind
            await self._lanes.drained()
            await self._close_resting()
        finally:
            if self._authenticator is not None:
                await self._authenticator.aclose()

    async def _close_resting(self) -> None:
        idle = self._lanes.resting()
        try:
            await asyncio.gather(*(session.aclose() for session in idle))
        except BaseException:
            for session in idle:
                session.abort()
            raise


def _once(commit: Commit) -> Commit:
    """The commit point is passed once, before the first of several final dots, and of several sessions."""
    passed = False

    async def first() -> None:
        nonlocal passed
        if not passed:
            await commit()
            passed = True

    return first
