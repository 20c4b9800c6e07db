"""The SMTP transport: some sessions of one connection, shared by all its messages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from mailwright.errors import MailwrightError, SessionError
from mailwright.model import Connection, Limits, Reply, Report, SmtpEndpoint
from mailwright.ports import Clock
from mailwright.spi import Authenticator, Capabilities, Submission
from mailwright.transport.opening import Opener
from mailwright.transport.session import Session

IDLE_S: Final = 30.0
"""Seconds after which an idle session is closed: before the server does it."""
_LATE: Final = "the time for this message is over"


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
        self._idle: list[Session] = []
        self._slots = asyncio.Semaphore(limits.connections)
        self._total_s = connection.timeouts.total
        self._closed = False

    async def deliver(self, submission: Submission) -> Report:
        """Try once; a used session that took no notice of the message is replaced by a fresh one."""
        if self._closed:
            error = SessionError("the mailer is closed", command="API")
            return Report.all(submission.envelope, "rejected", stage="connect", permanent=False, error=error)
        try:
            async with self._slot(submission):
                session = self._take_idle()
                if session is not None:
                    report, noticed = await self._through(session, submission)
                    if noticed:
                        return report
                try:
                    async with asyncio.timeout(self._left(submission)):
                        session = await self._opener.open()
                except TimeoutError:
                    raise SessionError(_LATE, code="ETIMEDOUT") from None
                report, _ = await self._through(session, submission)
                return report
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

    @contextlib.asynccontextmanager
    async def _slot(self, submission: Submission) -> AsyncIterator[None]:
        """One of the sessions allowed; waiting for it counts against the message's time."""
        try:
            async with asyncio.timeout(self._left(submission)):
                await self._slots.acquire()
        except TimeoutError:
            raise SessionError("the time for this message is over: all sessions are busy", code="ETIMEDOUT") from None
        try:
            yield
        finally:
            self._slots.release()

    async def _through(self, session: Session, submission: Submission) -> tuple[Report, bool]:
        try:
            found = await session.deliver(submission, self._clock.monotonic())
        except BaseException:
            session.abort()
            raise
        if self._closed or not session.usable or session.spent(self._limits.messages_per_session):
            await session.aclose()
        else:
            session.rest(IDLE_S)
            self._idle.append(session)
        return found

    def _take_idle(self) -> Session | None:
        """The session used last that is still good; what the server closed, or we, is forgotten."""
        while self._idle:
            session = self._idle.pop()
            if session.wake():
                return session
            session.abort()
        return None

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
        taken = 0
        try:
            for _ in range(self._limits.connections):
                await self._slots.acquire()
                taken += 1
        finally:
            idle, self._idle = self._idle, []
            for _ in range(taken):
                self._slots.release()
            try:
                await asyncio.gather(*(session.aclose() for session in idle))
            except BaseException:
                for session in idle:
                    session.abort()
                raise
        if self._authenticator is not None:
            await self._authenticator.aclose()
