"""One SMTP session, ready for messages: drives the transaction machine over the wire."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final, cast

from attrs import evolve

from mailwright.errors import MailwrightError, MessageError, SessionError
from mailwright.model import Envelope, Report, Timeouts
from mailwright.smtp import Capabilities, Job, Leg, State, Transaction, further, plan, server_id
from mailwright.transport.exchange import ONE_WRITE, Exchange
from mailwright.transport.wire import WireProtocol

if TYPE_CHECKING:
    import aiosmtplib

    from mailwright.spi import Submission

QUIT_S: Final = 2.0


class Session:
    """Takes over the transport that aiosmtplib greeted.

    Attributes:
        capabilities: What the server offers.
        ehlo: Its EHLO lines after the first.
        sent: Messages sent so far.
    """

    def __init__(
        self, client: aiosmtplib.SMTP, capabilities: Capabilities, *, ehlo: tuple[str, ...], timeouts: Timeouts
    ) -> None:
        transport = cast("asyncio.Transport", client.transport)  # uvloop's is one in all but its class
        self._client = client  # keeps its socket alive
        self._timeouts = timeouts
        self._protocol = WireProtocol(transport)
        transport.set_protocol(self._protocol)
        self._encrypted = transport.get_extra_info("sslcontext") is not None
        self.capabilities = capabilities
        self.ehlo = ehlo
        self.sent = 0
        self._rest: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """Whether another message may be tried."""
        return self._protocol.usable

    @property
    def alive(self) -> bool:
        """Whether the connection stands; replies of a message under way may be waiting."""
        return self._protocol.alive

    def rest(self, limit_s: float) -> None:
        """Wait for the next message for at most `limit_s`, then say goodbye."""
        self._rest = asyncio.get_running_loop().call_later(limit_s, self._leave)

    def wake(self) -> bool:
        """End the rest; whether another message may be tried."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        return self.usable

    def _leave(self) -> None:
        self._rest = None
        if self.usable:
            self._protocol.write(b"QUIT\r\n")
        self._protocol.close()
        self._client.close()

    def spent(self, limit: int) -> bool:
        """Whether it has carried as many messages as we (`limit`) or the server (``LIMITS MAILMAX``) allow."""
        return self.sent >= min(limit, self.capabilities.limit("MAILMAX") or limit)

    def ahead(self, submission: Submission) -> tuple[Transaction, bytes] | None:
        """Start a message behind the one under way; None where it needs more than one plain transaction.

        Returns:
            Its transaction, and the commands to write behind the dot.
        """
        if "PIPELINING" not in self.capabilities:
            return None
        try:
            planned = plan(self._job(submission), self.capabilities)
            if len(planned.legs) != 1 or planned.refused:
                return None
            transaction = self._transaction(planned.legs[0], submission)
        except MailwrightError:
            return None  # it is said when its turn comes
        return transaction, transaction.commands()

    def _transaction(self, leg: Leg, submission: Submission) -> Transaction:
        composed = submission.composed
        large = composed.size > ONE_WRITE and "CHUNKING" in self.capabilities
        return Transaction(
            leg.envelope,
            mail_parameters=leg.mail,
            rcpt_parameters=leg.rcpt,
            pipelining="PIPELINING" in self.capabilities,
            chunking=large or "binarymime" in composed.needs,
        )

    async def deliver(
        self,
        submission: Submission,
        now: float,
        *,
        started: Transaction | None = None,
        follow: Callable[[], bytes] = bytes,
    ) -> tuple[Report, bool]:
        """Run the transactions that one submission needs here.

        Args:
            submission: What to deliver.
            now: `Clock.monotonic` at the start, which the submission's deadline refers to.
            started: Its only transaction, whose commands are on the wire already (see `ahead`).
            follow: The next message's commands, asked for when this one's last dot is written.

        Returns:
            The outcome, and whether the server took notice: if not, another session may try.
        """
        until = asyncio.get_running_loop().time() + max(0.0, submission.deadline - now)
        if started is not None:
            report, untouched = await self._transact(started, submission, submission.commit, until, follow)
            return report, not untouched
        try:
            planned = plan(self._job(submission), self.capabilities)
        except MailwrightError as error:
            return self._refusal(submission, error), True
        if not planned.legs:
            message = f"{planned.refused[0].address} needs SMTPUTF8, which the server does not offer"
            lacking = MessageError(message, code="EENVELOPE", stage="rcpt", command="RCPT TO")
            return self._refusal(submission, lacking), True
        commit = _once(submission.commit)
        waiting = deque(planned.legs)
        reports = [Report(statuses=planned.refused)]
        noticed = False
        while waiting:
            leg = waiting.popleft()
            last = bytes if waiting else follow
            report, untouched = await self._transact(
                self._transaction(leg, submission), submission, commit, until, last
            )
            noticed = noticed or not untouched
            if self.usable and (rest := further(leg, report)) is not None:
                waiting.appendleft(rest)
            reports.append(report)
            if not self.usable:
                reports += [_not_reached(rest, report) for rest in waiting]
                break
        merged = reports[1] if len(reports) == 2 and not planned.refused else _merged(reports, submission.envelope)
        return merged, noticed

    async def _transact(
        self,
        transaction: Transaction,
        submission: Submission,
        commit: Callable[[], Awaitable[None]],
        until: float,
        follow: Callable[[], bytes],
    ) -> tuple[Report, bool]:
        """One transaction; its report, and whether the server took no notice of it."""
        exchange = Exchange(
            transaction,
            self._protocol,
            composed=submission.composed,
            commit=commit,
            timeouts=self._timeouts,
            follow=follow,
        )
        self.sent += 1
        error: MailwrightError | None = None
        try:
            async with asyncio.timeout_at(until):
                await exchange.run()
        except TimeoutError:
            error = SessionError("the time for this message is over", code="ETIMEDOUT", command="CONN")
        except MailwrightError as caught:
            error = caught
        except BaseException:
            self.abort()
            raise
        if error is not None:
            decided = transaction.state is State.DONE  # lost while tidying up: nothing to tell
            transaction.lost(error)
            error = None if decided else error
        if transaction.close:
            self.abort()
        report = Report(
            statuses=transaction.statuses,
            final=transaction.final,
            error=error,
            server_id=server_id(transaction.final),
            ehlo=self.ehlo,
            envelope_ms=exchange.envelope_ms,
            message_ms=exchange.message_ms,
            wire_size=exchange.octets,
        )
        return report, transaction.untouched

    def _job(self, submission: Submission) -> Job:
        return Job(
            envelope=submission.envelope,
            size=submission.composed.size,
            needs=submission.composed.needs,
            dsn=submission.message.dsn,
            require_tls=submission.message.require_tls,
            encrypted=self._encrypted,
        )

    def _refusal(self, submission: Submission, error: MailwrightError) -> Report:
        stage = error.stage or "mail"
        report = Report.all(submission.envelope, "rejected", stage=stage, permanent=error.permanent, error=error)
        return evolve(report, ehlo=self.ehlo)

    async def aclose(self) -> None:
        """Say QUIT and close; whatever goes wrong here changes no outcome."""
        self.wake()
        try:
            if self._protocol.usable:
                self._protocol.write(b"QUIT\r\n")
                with contextlib.suppress(MailwrightError):
                    await self._protocol.reply(QUIT_S)
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        self.wake()
        self._protocol.abort()
        self._client.close()


def _once(commit: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """The commit point is passed once, before the first of several final dots."""
    passed = False

    async def first() -> None:
        nonlocal passed
        if not passed:
            await commit()
            passed = True

    return first


def _not_reached(leg: Leg, last: Report) -> Report:
    """The session ended before this transaction began."""
    return Report.all(
        leg.envelope, "rejected", stage="mail", permanent=False, reply=last.final if last.error is None else None
    )


def _merged(reports: Iterable[Report], envelope: Envelope) -> Report:
    """One report of several transactions, in the envelope's order; what a later one says of somebody is what holds."""
    found = list(reports)
    by_address = {status.address: status for report in found for status in report.statuses}
    return Report(
        statuses=tuple(by_address[address] for address in envelope.recipients),
        final=next((report.final for report in reversed(found) if report.final), None),
        error=next((report.error for report in found if report.error), None),
        server_id=next((report.server_id for report in found if report.server_id), None),
        ehlo=found[-1].ehlo,
        envelope_ms=sum(report.envelope_ms for report in found),
        message_ms=sum(report.message_ms for report in found),
        wire_size=sum(report.wire_size for report in found),
    )
