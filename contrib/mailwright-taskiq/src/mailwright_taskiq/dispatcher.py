"""RabbitMQ hands out the work: an announcement is a place in the line, and the ledger says which message stands first.

A worker that gets three announcements takes the three jobs that are due first, whichever they name. So priorities hold on
every RabbitMQ, a lost announcement is made good by any other, and one delivered twice finds nothing to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from mailwright.errors import MailwrightError
from mailwright.spi import Claim, SharingLedger
from mailwright_taskiq.consumer import Consumer, settle
from mailwright_taskiq.link import Link

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage

    from mailwright.spi import Ledger
    from mailwright_taskiq.places import Place

_log = logging.getLogger("mailwright.outbox")
SWEEP_S: Final = 1.0
"""How late a retry, or a message that nobody announced, may be."""
_LEVEL: Final = 2000
"""The sweeper fills the queue up to here: more than workers do in the time until it comes again."""
_NEAR_S: Final = 0.2
_QUIET_S: Final = 3.0
"""A worker that has heard nothing for so long looks into the ledger itself: RabbitMQ may have frozen."""
_TROUBLE_S: Final = 2.0
Run = Callable[[Claim], Awaitable[datetime | None]]


class RabbitDispatcher:
    """See `mailwright.spi.Dispatcher`.

    Args:
        place: Where the queue is.
        ledger: Where the jobs are.
    """

    def __init__(self, place: Place, ledger: Ledger) -> None:
        self._place = place
        self._ledger = ledger
        self._link = Link(place)

    async def put(self, jobs: Sequence[tuple[str, datetime, int]], *, transaction: object | None = None) -> None:
        """Announce what is due. What is not yet, or not committed yet, the sweeper announces in its time."""
        if transaction is not None:
            return
        soon = datetime.now(UTC).timestamp() + _NEAR_S
        if ids := [job_id for job_id, due, _ in jobs if due.timestamp() <= soon]:
            await self._link.announce(ids)

    async def work(self, run: Run, *, concurrency: int, lease_s: float, stop: asyncio.Event) -> None:
        """See there."""
        sweeper = asyncio.create_task(self._sweep())
        shift = _Shift(self._ledger, run, self._place, concurrency=concurrency, lease_s=lease_s)
        try:
            await shift.work(stop)
        finally:
            sweeper.cancel()
            await asyncio.gather(sweeper, return_exceptions=True)

    async def _sweep(self) -> None:
        """One of all workers at a time: announce what is due beyond what is announced."""
        while True:
            try:
                wait = await self._ledger.admit(f"sweep:{self._place.queue}", rate=1 / SWEEP_S, burst=1)
                if wait <= 0:
                    await self._announce_missing()
                    wait = SWEEP_S
            except MailwrightError as error:
                _log.warning("sweeping: %s", error.message)
                wait = _TROUBLE_S
            await asyncio.sleep(wait)

    async def _announce_missing(self) -> None:
        waiting = await self._link.waiting()
        if waiting is None or waiting >= _LEVEL:
            return
        due = await self._due(_LEVEL)
        if missing := due[: max(0, len(due) - waiting)]:
            _log.debug("announcing %d messages again", len(missing))
            await self._link.announce(missing)

    async def _due(self, limit: int) -> Sequence[str]:
        if isinstance(self._ledger, SharingLedger):
            return await self._ledger.due(limit=limit)
        return ["?"] * min(limit, int((await self._ledger.stats())["due"]))

    async def aclose(self) -> None:
        """See there."""
        await self._link.aclose()


class _Shift:
    """One worker's time at work."""

    def __init__(self, ledger: Ledger, run: Run, place: Place, *, concurrency: int, lease_s: float) -> None:
        self._ledger = ledger
        self._run = run
        self._most = concurrency
        self._lease_s = lease_s
        self._news = asyncio.Event()
        self._consumer = Consumer(place, prefetch=concurrency, news=self._news)
        self._held: dict[str, Claim] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._suspect: asyncio.Task[None] | None = None
        self._looked = float("-inf")
        self._heard = asyncio.get_running_loop().time()

    async def work(self, stop: asyncio.Event) -> None:
        listening = asyncio.create_task(self._consumer.run())
        helpers = [listening, asyncio.create_task(self._beat()), asyncio.create_task(self._wake_at(stop))]
        try:
            while not stop.is_set():
                self._news.clear()
                await self._take()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), SWEEP_S)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await self._consumer.pause()
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            for task in (*helpers, *self._tasks):
                task.cancel()
            await asyncio.gather(*helpers, *self._tasks, return_exceptions=True)
            await self._consumer.aclose()

    async def _take(self) -> None:
        """As many jobs as there are announcements and places."""
        free = self._most - len(self._held)
        waiting = self._consumer.waiting
        now = asyncio.get_running_loop().time()
        if waiting:
            self._heard = now
        alone = not self._consumer.subscribed or now - self._heard >= _QUIET_S
        wanted = free if alone else min(free, len(waiting))
        try:
            claims = await self._ledger.take(limit=wanted, lease_s=self._lease_s) if wanted else ()
            tokens = [waiting.popleft() if waiting else None for _ in range(wanted)]
            for claim, token in zip(claims, tokens, strict=False):
                self._start(claim, token)
            await settle(tokens[len(claims) :])
            await self._look_for_a_suspect(free - len(claims))
        except MailwrightError as error:
            _log.warning("taking work: %s", error.message)
            await asyncio.sleep(_TROUBLE_S)

    async def _look_for_a_suspect(self, free: int) -> None:
        """A job that may be killing its workers is not announced: it runs as the only one of its kind."""
        now = asyncio.get_running_loop().time()
        if self._suspect is None and free > 0 and now - self._looked >= SWEEP_S:
            self._looked = now
            for claim in await self._ledger.take(limit=1, lease_s=self._lease_s, suspects=True):
                self._suspect = self._start(claim, None)

    def _start(self, claim: Claim, token: AbstractIncomingMessage | None) -> asyncio.Task[None]:
        self._held[claim.job_id] = claim
        task = asyncio.create_task(self._one(claim, token))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task is self._suspect:
            self._suspect, self._looked = None, float("-inf")
            self._news.set()
        if len(self._held) <= self._most * 3 // 4 or not self._tasks:
            self._news.set()

    async def _one(self, claim: Claim, token: AbstractIncomingMessage | None) -> None:
        """What the try came to is in the ledger before the announcement is acknowledged."""
        try:
            await self._run(claim)
        except MailwrightError as error:  # its lease runs out, and somebody takes it over
            _log.warning("job %s: %s", claim.job_id, error.message)
        except Exception:  # noqa: BLE001 - a bug ends one job's try, not the worker
            _log.exception("job %s", claim.job_id)
        finally:
            if self._held.get(claim.job_id) is claim:
                del self._held[claim.job_id]
        await settle([token])

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._news.set()

    async def _beat(self) -> None:
        """Keep what is ours; what is lost is refused at its commit point."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            if claims := list(self._held.values()):
                try:
                    await self._ledger.renew(claims, lease_s=self._lease_s)
                except MailwrightError as error:
                    _log.warning("renewing leases: %s", error.message)
