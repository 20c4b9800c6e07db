"""An engine as one event loop has it open, and how rows are stored in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attrs import evolve, frozen

from mailwright.model import Receipt
from mailwright.outbox import results
from mailwright.outbox.contents import Contents, Gathered
from mailwright.outbox.intake import Intake
from mailwright.spi import Dispatcher, Job, Ledger

Row = tuple[Job, Receipt]
"""A row, and the receipt its author gets."""


@frozen(kw_only=True)
class Engine:
    """What is open."""

    ledger: Ledger
    dispatcher: Dispatcher
    contents: Contents
    intake: Intake

    def gathering(self, transaction: object | None) -> Gathered | None:
        """Where one open transaction keeps everybody else from writing, a message's contents are written in it as well."""
        if transaction is None or "one_writer" not in self.ledger.abilities:
            return None
        return self.contents.gathering()

    async def add(
        self, rows: Sequence[Row], *, transaction: object | None = None, gathered: Gathered | None = None
    ) -> list[Receipt]:
        """Store rows, all or none."""
        return await self.receipts(rows, await self.store(rows, transaction, gathered))

    async def add_good(self, rows: Sequence[Row | Receipt]) -> list[Receipt]:
        """Store those that are rows; receipts of bad messages keep their places."""
        good = [row for row in rows if isinstance(row, tuple)]
        stored = iter(await self.add(good) if good else ())
        return [next(stored) if isinstance(row, tuple) else row for row in rows]

    async def store(self, rows: Sequence[Row], transaction: object | None, gathered: Gathered | None) -> Sequence[str]:
        """Their ids, which for known keys are those of the first; awaits nothing over a blocking `transaction`."""
        jobs = [job for job, _ in rows]
        if gathered is not None and gathered.pieces:
            await self.ledger.put_contents(gathered.pieces, transaction=transaction)
        ids = await self.ledger.add(jobs, transaction=transaction)
        new = [job for job, job_id in zip(jobs, ids, strict=True) if job.id == job_id and job.state != "held"]
        if new:
            moments = [(job.id, datetime.fromtimestamp(job.run_at).astimezone(), job.priority) for job in new]
            await self.dispatcher.put(moments, transaction=transaction)
        return ids

    async def receipts(self, rows: Sequence[Row], ids: Sequence[str]) -> list[Receipt]:
        """The same key, the same receipt."""
        return [
            receipt if job_id == receipt.job_id else await self._earlier(job_id, receipt)
            for (_, receipt), job_id in zip(rows, ids, strict=True)
        ]

    async def _earlier(self, job_id: str, receipt: Receipt) -> Receipt:
        for job in await self.ledger.read([job_id]):
            first = results.load(job.result)
            return evolve(first, statuses=(), job_id=job_id, index=receipt.index)
        return evolve(receipt, job_id=job_id)

    async def aclose(self) -> None:
        """Close everything."""
        await self.intake.aclose()
        await self.dispatcher.aclose()
        await self.ledger.aclose()
