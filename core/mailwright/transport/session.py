"""One SMTP session, ready for messages: which transactions each needs, one after the other, and what came of them."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import evolve

from mailwright.errors import MailwrightError, MessageError, SessionError
from mailwright.model import Report, Timeouts
from mailwright.smtp import (
    Capabilities,
    Job,
    Leg,
    Plan,
    ProtocolError,
    State,
    Transaction,
    further,
    plain_leg,
    plan,
    server_id,
)
from mailwright.spi import no_commit
from mailwright.transport.exchange import CHUNK, ONE_WRITE, Exchange
from mailwright.transport.wire import WireProtocol

if TYPE_CHECKING:
    import asyncio

    import aiosmtplib

    from mailwright.spi import Commit, Submission

_wire = logging.getLogger("mailwright.wire")
QUIT_S: Final = 2.0


class Session:
    """Takes over the transport that aiosmtplib greeted.

    Attributes:
        capabilities: What the server offers.
        ehlo: Its EHLO lines after the first.
        sent: Messages begun so far.
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
        self._pipelining = "PIPELINING" in capabilities
        self._chunking = "CHUNKING" in capabilities
        self._most = capabilities.limit("MAILMAX")
        self._spoilt = False
        self.capabilities = capabilities
        self.ehlo = ehlo
        self.sent = 0

    @property
    def usable(self) -> bool:
        """Whether another message may be tried."""
        return self._protocol.usable and not self._spoilt

    def spoil(self) -> None:
        """Serve those who are on it, and nobody else: one of them was cancelled, its outcome is nobody's business."""
        self._spoilt = True

    @property
    def alive(self) -> bool:
        """Whether the connection stands; answers of a message under way may be waiting."""
        return self._protocol.alive

    @property
    def in_step(self) -> bool:
        """Whether others may come along: the connection stands, and every answer so far belonged to a command."""
        return self._protocol.in_step and not self._spoilt

    def rest(self, limit_s: float) -> None:
        """Wait for the next message for at most `limit_s`, then say goodbye."""
        self._protocol.rest(limit_s, self._leave)

    def wake(self) -> bool:
        """End the rest; whether another message may be tried."""
        self._protocol.wake()
        return self.usable

    def _leave(self) -> None:
        if self.usable:
            self._protocol.write(b"QUIT\r\n")
        self._protocol.close()
        self._client.close()

    def spent(self, limit: int) -> bool:
        """Whether it has carried as many messages as we (`limit`) or the server (``LIMITS MAILMAX``) allow."""
        return self.sent >= (limit if self._most is None else min(limit, self._most))

    # -- one message behind another

    def begin(
        self,
        submission: Submission,
        until: float,
        follow: Callable[[], bytes],
        waiter: asyncio.Future[None] | None,
    ) -> Exchange | None:
        """Begin a message behind those under way; None where it needs more than one plain transaction.

        Args:
            submission: What to deliver.
            until: When its time is over, on the loop's clock.
            follow: The next message's commands, asked for when this one's last dot is written.
            waiter: What its task waits for until there is something to do for it.

        Returns:
            Its transaction, whose commands the caller writes.
        """
        if not self._pipelining or (leg := self._only_leg(submission)) is None:
            return None
        exchange = self._exchange(leg, submission, until, follow=follow)
        exchange.waiter = waiter
        self.sent += 1
        self._protocol.ask(exchange)
        return exchange

    def is_behind(self, exchange: Exchange) -> bool:
        """Whether others are to be answered first."""
        return self._protocol.is_behind(exchange)

    def settled(self, exchange: Exchange) -> Report | None:
        """What came of a transaction that left nothing to do: every recipient was accepted."""
        if exchange.transaction.whole and not exchange.transaction.close:
            return self._report(exchange, None)
        return None

    def shares(self, submission: Submission) -> bool:
        """Whether whole messages may follow this one before it is answered, and whether it may be one of them."""
        return (
            len(submission.envelope.recipients) == 1
            and self._pipelining
            and self._chunking
            and self.in_step
            and self._only_leg(submission) is not None
            and submission.composed.size <= CHUNK
        )

    def _only_leg(self, submission: Submission) -> Leg | None:
        """The transaction that is all a message needs here; None where it needs several, or is refused."""
        composed, message = submission.composed, submission.message
        try:
            if not composed.needs and message.dsn is None and not message.require_tls:
                leg = plain_leg(submission.envelope, composed.size, self.capabilities)
                if leg is not None:
                    return leg
            planned = self._planned(submission)
        except Exception:  # noqa: BLE001 - a refusal, or a plugin's mistake: it is said when its turn comes
            return None
        return planned.legs[0] if len(planned.legs) == 1 and not planned.refused else None

    def _exchange(
        self,
        leg: Leg,
        submission: Submission,
        until: float,
        *,
        at_once: bool = False,
        follow: Callable[[], bytes] = bytes,
    ) -> Exchange:
        composed = submission.composed
        large = composed.size > ONE_WRITE and self._chunking
        transaction = Transaction(
            leg.envelope,
            mail_parameters=leg.mail,
            rcpt_parameters=None if leg.dsn is None else leg.rcpt,
            pipelining=self._pipelining,
            chunking=at_once or large or "binarymime" in composed.needs,
            at_once=at_once,
        )
        return Exchange(
            transaction,
            self._protocol,
            composed,
            leg=leg,
            timeouts=self._timeouts,
            until=until,
            attended=submission.commit is not no_commit,
            follow=follow,
        )

    # -- delivering

    async def deliver(
        self,
        submission: Submission,
        commit: Commit,
        until: float,
        *,
        started: Exchange | None = None,
        follow: Callable[[], bytes] = bytes,
    ) -> tuple[Report, bool]:
        """Run the transactions that one submission needs here.

        Args:
            submission: What to deliver.
            commit: Awaited before each final dot.
            until: When its time is over, on the loop's clock.
            started: Its only transaction, whose commands are on the wire already (see `begin`).
            follow: The next message's commands, asked for when this one's last dot is written.

        Returns:
            The outcome, and whether the server took notice: if not, another session may try. Recipients without an outcome
            are for another session, too: this one has carried all that the server allows (``LIMITS MAILMAX``).
        """
        try:
            planned = Plan(legs=(started.leg,)) if started is not None else self._planned(submission)
        except MailwrightError as error:
            return self._refusal(submission, error), True
        waiting = deque(planned.legs)
        reports = [Report(statuses=planned.refused)] if planned.refused else []
        noticed = False
        while waiting:
            leg = waiting.popleft()
            exchange = started or self._begun(leg, submission, until, bytes if waiting else follow)
            started = None
            report = await self._transact(exchange, exchange.run(commit))
            noticed = noticed or not exchange.transaction.untouched
            reports.append(report)
            if (rest := further(leg, report)) is not None and self.usable:
                waiting.appendleft(rest)
            if waiting and not self.usable:
                reports += [_not_reached(rest, report) for rest in waiting]
                break
            if waiting and self._most is not None and self.sent >= self._most:
                later = {address for rest in waiting for address in rest.envelope.recipients}
                return merged(reports, [one for one in submission.envelope.recipients if one not in later]), noticed
        return reports[0] if len(reports) == 1 else merged(reports, submission.envelope.recipients), noticed

    def _begun(self, leg: Leg, submission: Submission, until: float, follow: Callable[[], bytes]) -> Exchange:
        exchange = self._exchange(leg, submission, until, follow=follow)
        self.sent += 1
        self._protocol.ask(exchange)
        self._protocol.write(exchange.commands())
        return exchange

    async def deliver_at_once(self, submission: Submission, commit: Commit, until: float) -> tuple[Report, bool]:
        """Write the whole message behind others that are not answered yet; see `shares`.

        Returns:
            As `deliver`: without notice nothing of it was written.
        """
        leg = self._only_leg(submission)
        assert leg is not None
        exchange = self._exchange(leg, submission, until, at_once=True)
        report = await self._transact(exchange, exchange.run_at_once(commit))
        return report, exchange.octets > 0

    async def _transact(self, exchange: Exchange, running: Coroutine[Any, Any, None]) -> Report:
        """One transaction to its end, whatever happens."""
        transaction = exchange.transaction
        error: MailwrightError | None = None
        try:
            await running
            if transaction.dirty and not transaction.close and not self._protocol.owes:
                await self._reset()
        except TimeoutError:
            error = SessionError("the time for this message is over", code="ETIMEDOUT", command="CONN")
        except MailwrightError as caught:
            error = caught.with_traceback(None)  # its frames know the wire, which keeps the error: no cycles
        if error is not None:
            decided = transaction.state is State.DONE  # lost while tidying up: nothing to tell
            transaction.lost(error)
            error = None if decided else error
        if transaction.close and (exchange.octets or not transaction.at_once):
            self.abort()
        return self._report(exchange, error)

    def _report(self, exchange: Exchange, error: MailwrightError | None) -> Report:
        transaction = exchange.transaction
        envelope_ms, message_ms = exchange.times_ms
        final = transaction.final
        return Report(
            statuses=transaction.statuses,
            final=final,
            error=error,
            server_id=server_id(final),
            ehlo=self.ehlo,
            envelope_ms=envelope_ms,
            message_ms=message_ms,
            wire_size=exchange.octets,
        )

    async def _reset(self) -> None:
        """RSET; any answer but 2yz belonged to something else, so the session is out of step."""
        _wire.debug("C: RSET")
        reply = await self._protocol.command(b"RSET\r\n", self._timeouts.command)
        _wire.debug("S: %s", reply.code)
        if reply.code // 100 != 2:
            raise ProtocolError(f"the server answered RSET with {reply}")

    def _planned(self, submission: Submission) -> Plan:
        """At least one transaction. Raises `MessageError` where the server can take it for nobody."""
        job = Job(
            envelope=submission.envelope,
            size=submission.composed.size,
            needs=submission.composed.needs,
            dsn=submission.message.dsn,
            require_tls=submission.message.require_tls,
            encrypted=self._encrypted,
        )
        planned = plan(job, self.capabilities)
        if planned.legs:
            return planned
        message = f"{planned.refused[0].address} needs SMTPUTF8, which the server does not offer"
        raise MessageError(message, code="EENVELOPE", stage="rcpt", command="RCPT TO")

    def _refusal(self, submission: Submission, error: MailwrightError) -> Report:
        stage = error.stage or "mail"
        report = Report.all(submission.envelope, "rejected", stage=stage, permanent=error.permanent, error=error)
        return evolve(report, ehlo=self.ehlo)

    async def aclose(self) -> None:
        """Say QUIT and close; whatever goes wrong here changes no outcome."""
        self.wake()
        try:
            if self._protocol.usable:
                with contextlib.suppress(MailwrightError):
                    await self._protocol.command(b"QUIT\r\n", QUIT_S)
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        self.wake()
        self._protocol.abort()
        self._client.close()


def _not_reached(leg: Leg, last: Report) -> Report:
    """The session ended before this transaction began."""
    return Report.all(
        leg.envelope, "rejected", stage="mail", permanent=False, reply=last.final if last.error is None else None
    )


def merged(reports: Iterable[Report], recipients: Iterable[str]) -> Report:
    """One report of several transactions, in the recipients' order; what a later one says of somebody is what holds."""
    found = list(reports)
    by_address = {status.address: status for report in found for status in report.statuses}
    return Report(
        statuses=tuple(by_address[address] for address in recipients),
        final=next((report.final for report in reversed(found) if report.final), None),
        error=next((report.error for report in found if report.error), None),
        server_id=next((report.server_id for report in found if report.server_id), None),
        ehlo=found[-1].ehlo,
        envelope_ms=sum(report.envelope_ms for report in found),
        message_ms=sum(report.message_ms for report in found),
        wire_size=sum(report.wire_size for report in found),
    )
