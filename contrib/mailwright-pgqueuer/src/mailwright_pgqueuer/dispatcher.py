"""PgQueuer hands out the work: for sites that run it already. The ledger stays the truth; PgQueuer's rows are announcements."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.errors import RetryRequested
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from mailwright.errors import MailwrightError
from mailwright.spi import Claim
from mailwright_pgqueuer.ledger import PostgresLedger, translated
from mailwright_pgqueuer.places import Place

_log = logging.getLogger("mailwright.outbox")
ENTRYPOINT: Final = "mailwright"
_SWEEP_S: Final = 1.0
_UNANNOUNCED: Final = """
    SELECT id, run_at, priority FROM mailwright_jobs j WHERE (ready > 0 OR wake <= $1::float8)
        AND NOT EXISTS (SELECT 1 FROM pgqueuer p WHERE p.dedupe_key = j.id) LIMIT 500"""
Run = Callable[[Claim], Awaitable[datetime | None]]


class PgQueuerDispatcher:
    """See `mailwright.spi.Dispatcher`. A supervisor: it goes on when the database was away.

    Args:
        pool: Of connections.
        ledger: In the same database.
    """

    def __init__(self, pool: Any, ledger: PostgresLedger) -> None:
        self._pool = pool
        self._ledger = ledger

    @classmethod
    async def open(cls, place: Place, ledger: Any) -> Self:
        """Open, and make PgQueuer's tables if they are missing."""
        async with translated():
            pool = await asyncpg.create_pool(
                place.dsn, min_size=1, max_size=5, server_settings={"search_path": place.schema}
            )
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(1836086636)")
                if await connection.fetchval("SELECT to_regclass('pgqueuer')") is None:
                    await Queries.from_asyncpg_connection(connection).install(create_schema=False)
        return cls(pool, ledger)

    async def put(self, jobs: Sequence[tuple[str, datetime, int]], *, transaction: object | None = None) -> None:
        """Announce; in a transaction of another driver the sweeper does it."""
        if not jobs or (transaction is not None and not hasattr(transaction, "fetchrow")):
            return
        queries = (
            Queries.from_asyncpg_pool(self._pool)
            if transaction is None
            else Queries.from_asyncpg_connection(transaction)  # type: ignore[arg-type]
        )
        now = datetime.now(UTC)
        async with translated():
            await queries.enqueue(
                [ENTRYPOINT] * len(jobs),
                [job_id.encode() for job_id, _, _ in jobs],
                [priority for _, _, priority in jobs],
                [max(timedelta(0), moment - now) for _, moment, _ in jobs],
                [job_id for job_id, _, _ in jobs],
                on_conflict="skip",
            )

    async def work(self, run: Run, *, concurrency: int, lease_s: float, stop: asyncio.Event) -> None:
        """See there."""
        sweeper = asyncio.create_task(self._sweep())
        try:
            while not stop.is_set():
                try:
                    await self._shift(run, concurrency, lease_s, stop)
                except Exception as error:  # noqa: BLE001 - the database may be away: come back
                    _log.warning("PgQueuer: %s: %s", type(error).__name__, error)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), 1)
        finally:
            sweeper.cancel()
            await asyncio.gather(sweeper, return_exceptions=True)

    async def _shift(self, run: Run, concurrency: int, lease_s: float, stop: asyncio.Event) -> None:
        app = PgQueuer(AsyncpgPoolDriver(self._pool))
        slots = asyncio.Semaphore(concurrency)

        @app.entrypoint(ENTRYPOINT, on_failure="hold")
        async def one(job: Job) -> None:
            async with slots:
                if not stop.is_set():
                    await self._one(run, (job.payload or b"").decode(), lease_s)

        async def stopping() -> None:
            await stop.wait()
            app.shutdown.set()

        watcher = asyncio.create_task(stopping())
        try:
            batch = max(1, concurrency // 2)
            await app.run(
                batch_size=batch, max_concurrent_tasks=2 * batch, dequeue_timeout=timedelta(seconds=1),
                heartbeat_timeout=timedelta(seconds=lease_s),
            )  # fmt: skip
        finally:
            watcher.cancel()

    async def _one(self, run: Run, job_id: str, lease_s: float) -> None:
        claim = await self._ledger.claim(job_id, lease_s=lease_s)
        if claim is None:  # ended, not due, or in other hands: whoever has it, or the sweeper, announces it again
            return
        keeper = asyncio.create_task(self._keep(claim, lease_s))
        try:
            due = await run(claim)
        finally:
            keeper.cancel()
        if due is not None:
            raise RetryRequested(delay=max(timedelta(0), due - datetime.now(UTC)), reason="due again")

    async def _keep(self, claim: Claim, lease_s: float) -> None:
        while True:
            await asyncio.sleep(lease_s / 3)
            with contextlib.suppress(MailwrightError):
                await self._ledger.renew([claim], lease_s=lease_s)

    async def _sweep(self) -> None:
        """What is due and not announced: its author died in between, or its worker."""
        while True:
            with contextlib.suppress(MailwrightError):
                rows = await self._ledger.fetch(_UNANNOUNCED, datetime.now(UTC).timestamp())
                await self.put(
                    [(row["id"], datetime.fromtimestamp(row["run_at"], UTC), row["priority"]) for row in rows]
                )
            await asyncio.sleep(_SWEEP_S)

    async def aclose(self) -> None:
        """See there."""
        with contextlib.suppress(TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await asyncio.wait_for(self._pool.close(), 10)
