"""The dispatcher of a ledger that keeps leases itself: take what is due, keep it while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from mailwright.errors import MailwrightError

if TYPE_CHECKING:
    from mailwright.spi import Claim, Ledger

_log = logging.getLogger("mailwright.outbox")
POLL_S: Final = 0.25
"""How soon work that another process put there is noticed."""
_TROUBLE_S: Final = 2.0
Run = Callable[["Claim"], Awaitable[datetime | None]]


class LeaseDispatcher:
    """See `mailwright.spi.Dispatcher`.

    Args:
        ledger: Has the leases.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._news: dict[asyncio.AbstractEventLoop, asyncio.Event] = {}

    async def put(self, jobs: Sequence[tuple[str, datetime, int]], *, transaction: object | None = None) -> None:
        """Wake the workers of this process; others look by themselves."""
        for loop, event in tuple(self._news.items()):
            if loop is asyncio.get_running_loop():
                event.set()
            elif not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def work(self, run: Run, *, concurrency: int, lease_s: float, stop: asyncio.Event) -> None:
        """See there."""
        loop = asyncio.get_running_loop()
        news = self._news.setdefault(loop, asyncio.Event())
        shift = _Shift(self._ledger, run, concurrency=concurrency, lease_s=lease_s, news=news)
        try:
            await shift.work(stop)
        finally:
            self._news.pop(loop, None)

    async def aclose(self) -> None:
        """Nothing of its own is open."""


class _Shift:
    """One worker's time at work."""

    def __init__(self, ledger: Ledger, run: Run, *, concurrency: int, lease_s: float, news: asyncio.Event) -> None:
        self._ledger = ledger
        self._run = run
        self._most = concurrency
        self._lease_s = lease_s
        self._news = news
        self._waiting: deque[Claim] = deque()
        self._held: dict[str, Claim] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._suspect: asyncio.Task[None] | None = None

    async def work(self, stop: asyncio.Event) -> None:
        heart = asyncio.create_task(self._beat())
        waker = asyncio.create_task(_set_after(stop, self._news))
        try:
            while not stop.is_set():
                self._news.clear()
                found = await self._take()
                if stop.is_set():
                    break
                if not found or len(self._held) >= self._most:
                    await self._wait()
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            waker.cancel()
            heart.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(heart, waker, *self._tasks, return_exceptions=True)

    async def _take(self) -> bool:
        """Fill up; a job that may be killing its workers runs as the only one of its kind."""
        free = self._most - len(self._held)
        try:
            claims = await self._ledger.take(limit=free, lease_s=self._lease_s) if free > 0 else ()
            for claim in claims:
                self._start(claim)
            if self._suspect is None and free > len(claims):
                for suspect in await self._ledger.take(limit=1, lease_s=self._lease_s, suspects=True):
                    self._suspect = self._start(suspect)
        except MailwrightError as error:
            _log.warning("taking work: %s", error.message)
            await asyncio.sleep(_TROUBLE_S)
            return False
        return bool(claims)

    def _start(self, claim: Claim) -> asyncio.Task[None]:
        self._held[claim.job_id] = claim
        task = asyncio.create_task(self._one(claim))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task is self._suspect:
            self._suspect = None
        if len(self._held) <= self._most * 3 // 4 or not self._tasks:
            self._news.set()

    async def _one(self, claim: Claim) -> None:
        try:
            await self._run(claim)
        except MailwrightError as error:  # its lease runs out, and somebody takes it over
            _log.warning("job %s: %s", claim.job_id, error.message)
        except Exception:  # noqa: BLE001 - a bug ends one job's try, not the worker
            _log.exception("job %s", claim.job_id)
        finally:
            self._held.pop(claim.job_id, None)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._news.wait()
        except TimeoutError:
            return

    async def _beat(self) -> None:
        """Keep what is ours; what is lost is refused at its commit point."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            claims = list(self._held.values())
            if not claims:
                continue
            try:
                lost = await self._ledger.renew(claims, lease_s=self._lease_s)
            except MailwrightError as error:
                _log.warning("renewing leases: %s", error.message)
                continue
            for claim in lost:
                if self._held.get(claim.job_id) is claim:
                    _log.warning("job %s: its lease ran out, somebody else has it", claim.job_id)


async def _set_after(first: asyncio.Event, then: asyncio.Event) -> None:
    await first.wait()
    then.set()
