"""A worker: reads a claimed job, tries once, writes down what it came to."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from mailwright.errors import LeaseLost, MailwrightError, QueueError
from mailwright.model import Address, Envelope, Receipt, Report
from mailwright.outbox import results
from mailwright.outbox.attempts import Judged, judge, merged, open_recipients, refused, reopened, soften
from mailwright.outbox.crowds import Crowd
from mailwright.outbox.payload import Stored, unpack
from mailwright.outbox.policy import RetryPolicy, has_no_mailbox
from mailwright.outbox.rates import Rates
from mailwright.outbox.shares import Shares
from mailwright.outbox.silenced import Silenced
from mailwright.sending import Sending
from mailwright.spi import ASKED, Selection, Suppression, Verdict

if TYPE_CHECKING:
    from mailwright.outbox.contents import Contents
    from mailwright.ports import Clock
    from mailwright.registry import Registry
    from mailwright.sending import Route
    from mailwright.spi import Claim, Dispatcher, JobState, Ledger

_log = logging.getLogger("mailwright.outbox")
LEASE_S: Final = 60.0
_TIDY_S: Final = 60.0
RATED: Final = "waits for the rate of its account"
SHARED: Final = "waits for a session of its account: other workers have them"
SLOW: Final = "waits for its account: the server answers slowly, and others have work to do"
WAITING: Final = frozenset({RATED, SHARED, SLOW})
"""Why a message that was not tried is queued again."""
PATIENCE_S: Final = 2.0
"""Longer than this nobody keeps a worker's place who waits for an account's rate: others have work to do."""


@frozen(kw_only=True)
class Retention:
    """How long ended messages stay in lists, in seconds.

    Args:
        sent: Those that were sent; their contents go at once, unless `keep`.
        failed: Those that were not, or in part.
        keep: Keep the contents of sent messages too.
    """

    sent: float = 7 * 86400.0
    failed: float = 30 * 86400.0
    keep: bool = False

    def rules(self) -> tuple[tuple[tuple[JobState, ...], float], ...]:
        """States and their time."""
        return (("sent", "cancelled"), self.sent), (("failed", "partial", "quarantined"), self.failed)


class Worker:
    """Runs claims of one ledger.

    Args:
        ledger: Where jobs are.
        contents: Where their contents are.
        registry: Plugins.
        open_sending: Makes what sends over connections of these names.
        policy: When to try again.
        retention: What to keep.
        clock: Time.
        lease_s: How long a job is ours without a sign of life, in seconds.
        chance: Between 0 and 1.

    Attributes:
        counts: What happened, for metrics.
    """

    def __init__(
        self,
        ledger: Ledger,
        contents: Contents,
        *,
        registry: Registry,
        open_sending: Callable[[tuple[str, ...]], Sending],
        policy: RetryPolicy,
        retention: Retention,
        clock: Clock,
        lease_s: float = LEASE_S,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._ledger = ledger
        self._contents = contents
        self._registry = registry
        self._open_sending = open_sending
        self._policy = policy
        self._retention = retention
        self._clock = clock
        self._lease_s = lease_s
        self._chance = chance
        self._rates = Rates(ledger, clock)
        self._silenced = Silenced(ledger)
        self._shares = Shares(ledger, self._retire)
        self._crowds: dict[str, Crowd] = {}
        self._concurrency = 20
        self._sendings: dict[tuple[str, ...], Sending] = {}
        self.counts: Counter[str] = Counter()

    async def work(self, dispatcher: Dispatcher, *, concurrency: int, stop: asyncio.Event) -> None:
        """Until `stop` is set; then what is under way ends."""
        self._concurrency = concurrency
        helpers = [asyncio.create_task(self._tidy_up()), asyncio.create_task(self._shares.run())]
        try:
            await dispatcher.work(self.run, concurrency=concurrency, lease_s=self._lease_s, stop=stop)
        finally:
            for task in helpers:
                task.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await asyncio.gather(*(sending.aclose() for sending in self._sendings.values()))
            self._sendings.clear()
            await self._shares.aclose()

    # -- one job

    async def run(self, claim: Claim) -> datetime | None:
        """Try once; returns when it is due again.

        Raises:
            MailwrightError: The ledger could not be written.
        """
        job = claim.job
        if job.starts > self._policy.max_starts:
            reason = f"{job.starts - 1} tries ended without a result: it may be killing its workers"
            return await self._record(claim, Verdict(state="held", result=job.result, reason=reason))
        try:
            stored = await unpack(job.payload, self._contents, self._registry.provider_settings)
            receipt = results.load(job.result)
        except QueueError as error:
            if not error.permanent:
                raise
            return await self._record(claim, Verdict(state="quarantined", result=job.result, reason=error.message))
        attempt = _Attempt(self, claim, stored)
        try:
            judged = await attempt.judged(receipt)
        except _NotYet as wait:
            reason = job.reason if job.reason == ASKED else wait.reason
            run_at = self._now() + wait.seconds
            verdict = Verdict(state="queued", result=job.result, run_at=run_at, reason=reason, counted=False)
            return await self._record(claim, verdict, counted_as="rate_limited")
        except LeaseLost:
            self.counts["lease_lost"] += 1
            _log.warning("job %s: its lease ran out before the commit point; nothing was sent", job.id)
            return None
        due = await self._record(claim, judged.verdict)
        await self._after(judged, attempt)
        return due

    async def _record(self, claim: Claim, verdict: Verdict, *, counted_as: str | None = None) -> datetime | None:
        try:
            await self._ledger.record(claim, verdict)
        except LeaseLost as error:
            self.counts["lease_lost"] += 1
            _log.warning("%s", error.message)
            return None
        self.counts[counted_as or ("retried" if verdict.state == "queued" else verdict.state)] += 1
        _log.info("job %s: %s", claim.job_id, counted_as or verdict.state)
        return None if verdict.run_at is None else datetime.fromtimestamp(verdict.run_at, UTC)

    async def _after(self, judged: Judged, attempt: _Attempt) -> None:
        if self._policy.suppress_s and (gone := [s for s in judged.receipt.rejected if has_no_mailbox(s)]):
            until = self._now() + self._policy.suppress_s
            await self._ledger.suppress([
                Suppression(address=status.address.lower(), reason=str(status.reply)[:200], until=until)
                for status in gone
            ])  # fmt: skip
        if judged.final and attempt.route is not None and attempt.sending is not None:
            await attempt.sending.told(judged.receipt, attempt.route)

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def sending(self, connections: tuple[str, ...]) -> Sending:
        """Kept open, with its sessions, for all messages over these connections."""
        if connections not in self._sendings:
            self._sendings[connections] = self._open_sending(connections)
        return self._sendings[connections]

    def crowd(self, route: Route) -> Crowd:
        """Those of this worker who are over an account's sessions."""
        account = _account(route)
        if account not in self._crowds:
            self._crowds[account] = Crowd(max(1, self._concurrency * 3 // 4))
        return self._crowds[account]

    def session(self, route: Route) -> AbstractAsyncContextManager[bool]:
        """The right to one of an account's sessions; APIs have none that count."""
        if self._registry.provider(route.connection.provider).endpoint is None:
            return contextlib.nullcontext(True)
        return self._shares.place(_account(route), route.limits.connections, patience_s=PATIENCE_S)

    async def turn(self, route: Route) -> float:
        """Wait for an account's rate; 0, or the seconds after which to ask again."""
        return await self._rates.admit(_account(route), route.limits, patience_s=PATIENCE_S)

    async def _retire(self, account: str) -> None:
        """Close an account's sessions: none of them is in use, others may open as many."""
        for names, sending in tuple(self._sendings.items()):
            if any(_account(route) == account for route in await sending.routes()):
                del self._sendings[names]
                await sending.aclose()

    # -- house-keeping

    async def _tidy_up(self) -> None:
        while True:
            with contextlib.suppress(MailwrightError):
                await self.tidy()
            await self._clock.sleep(_TIDY_S)

    async def tidy(self) -> int:
        """Forget what has been kept long enough, in small batches; how much it was."""
        found = 0
        for states, kept_s in self._retention.rules():
            old = Selection(states=states, older_than=self._now() - kept_s)
            while changed := await self._ledger.change(old, "purge", limit=200):
                found += changed
        while changed := await self._ledger.clean(limit=200):
            found += changed
        return found


class _NotYet(Exception):
    """The account lets nothing through for a while: its rate, or other workers have its sessions."""

    def __init__(self, seconds: float, reason: str) -> None:
        super().__init__(seconds)
        self.seconds = seconds
        self.reason = reason


class _Attempt:
    """One try of one job."""

    def __init__(self, worker: Worker, claim: Claim, stored: Stored) -> None:
        self._worker = worker
        self._claim = claim
        self._stored = stored
        self._committed = False
        self._lost: LeaseLost | None = None
        self._unwritten: QueueError | None = None
        self.route: Route | None = None
        self.sending: Sending | None = None

    async def judged(self, receipt: Receipt) -> Judged:
        worker, stored = self._worker, self._stored
        job = self._claim.job
        if job.reason == ASKED:
            receipt = reopened(receipt, stored.kept_back)
        receipt, silenced = await self._without_suppressed(receipt)
        waiting = open_recipients(receipt, stored.envelope)
        report = Report(statuses=())
        if waiting:
            report, size = await self._tried(_again(stored.envelope, waiting))
            if self._lost is not None:
                raise self._lost
            if self._unwritten is not None and not self._committed:
                raise self._unwritten
            report = soften(report)
            receipt = merged(receipt, report, stored.envelope)
            provider = self.route.connection.provider if self.route else receipt.provider
            receipt = evolve(receipt, size=size or receipt.size, provider=provider)
        receipt = evolve(receipt, attempts=job.attempts, job_id=job.id)
        return judge(
            job,
            receipt,
            report,
            policy=worker._policy,  # noqa: SLF001 - a part of the worker
            now=worker._now(),  # noqa: SLF001
            chance=worker._chance(),  # noqa: SLF001
            keep=worker._retention.keep,  # noqa: SLF001
            silenced=silenced,
        )

    async def _without_suppressed(self, receipt: Receipt) -> tuple[Receipt, str]:
        waiting = open_recipients(receipt, self._stored.envelope)
        found = await self._worker._silenced.among(waiting)  # noqa: SLF001
        silent = {entry.address for entry in found}
        statuses = refused([address for address in waiting if address.lower() in silent], stage="prepare")
        if not statuses:
            return receipt, ""
        why = "; ".join(f"{entry.address}: {entry.reason}" for entry in found)
        return merged(receipt, Report(statuses=statuses), self._stored.envelope), f"suppressed: {why}"

    async def _tried(self, envelope: Envelope) -> tuple[Report, int]:
        """One try; further routes only where nothing can have been delivered."""
        report, size = Report(statuses=refused(envelope.recipients, stage="prepare", permanent=False)), 0
        try:
            routes = await self._routes(self._worker.sending(self._stored.connections))
            for index, route in enumerate(routes):
                async with self._worker.crowd(route).place(PATIENCE_S) as slow_s, self._worker.session(route) as free:
                    if slow_s:
                        wait, reason = slow_s, SLOW
                    else:
                        wait, reason = (PATIENCE_S, SHARED) if not free else (await self._worker.turn(route), RATED)
                    if wait and self.route is None:
                        raise _NotYet(wait, reason)
                    if wait:
                        break
                    report, size = await self._over(index, envelope)
                    self._worker.crowd(route).moved()
                if self._committed or not all(s.outcome == "rejected" and not s.permanent for s in report.statuses):
                    break
        except (LeaseLost, _NotYet, asyncio.CancelledError):
            raise
        except MailwrightError as error:
            return _never_left(envelope, error), size
        except Exception as error:  # noqa: BLE001 - a bug becomes an outcome, not a lost message
            _log.exception("job %s", self._claim.job_id)
            if self._committed:
                return Report.all(envelope, "unknown", stage="final", error=_bug(error)), size
            return _never_left(envelope, _bug(error)), size
        return report, size

    async def _routes(self, sending: Sending) -> tuple[Route, ...]:
        return await sending.routes(ready=self._stored.octets is not None)

    async def _over(self, index: int, envelope: Envelope) -> tuple[Report, int]:
        """Over one route, which may have been opened anew since we asked for a session."""
        self.sending = self._worker.sending(self._stored.connections)
        self.route = (await self._routes(self.sending))[index]
        return await self.sending.try_once(
            self._stored.message,
            envelope,
            route=self.route,
            token=_tokens(self._stored.message.message_id or self._claim.job_id),
            octets=self._stored.octets,
            commit=self._commit,
        )

    async def _commit(self) -> None:
        try:
            await self._worker._ledger.commit(self._claim, lease_s=self._worker._lease_s)  # noqa: SLF001
        except LeaseLost as error:
            self._lost = error
            raise
        except QueueError as error:
            self._unwritten = error
            raise
        self._committed = True


def _never_left(envelope: Envelope, error: MailwrightError) -> Report:
    return Report.all(envelope, "rejected", stage=error.stage or "prepare", permanent=error.permanent, error=error)


def _bug(error: Exception) -> MailwrightError:
    return MailwrightError(f"{type(error).__name__}: {error}", permanent=False, stage="hook")


def _account(route: Route) -> str:
    """What a provider counts by: the account, whatever the connection to it is called."""
    connection = route.connection
    settings: Any = connection.auth[1] if connection.auth else None
    user = getattr(settings, "username", None) or getattr(settings, "user", None)
    host = getattr(connection.settings, "host", None)  # of a provider that is any host
    return ":".join(str(part) for part in (connection.provider, host, user or connection.name or route.author) if part)


def _tokens(seed: str) -> Callable[[], str]:
    """The same boundaries for each attempt of a message, whoever makes it."""
    count = 0

    def token() -> str:
        nonlocal count
        count += 1
        return hashlib.sha256(f"{seed}:{count}".encode()).hexdigest()[:32]

    return token


def _again(envelope: Envelope, waiting: tuple[str, ...]) -> Envelope:
    """The envelope for those who are still waiting."""
    sender = None if envelope.sender is None else Address(envelope.sender, allow_literals=True)
    return Envelope(sender=sender, recipients=[Address(address, allow_literals=True) for address in waiting])
