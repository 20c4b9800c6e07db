"""Contract of dispatchers: every job is run once, again when it is due again, and found when nobody announced it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from mailwright.spi import Claim, Dispatcher, Job, Ledger, Selection, Verdict
from mailwright.testing.queue_contracts.opened import job


class DispatcherContract:
    """For dispatchers. `open_engine` is called once a test, and gives an empty ledger and its dispatcher; time is real."""

    async def open_engine(self) -> tuple[Ledger, Dispatcher]:
        """Open both."""
        raise NotImplementedError

    def run(self, law: Callable[[Ledger, Dispatcher], Awaitable[None]]) -> None:
        """Run one test on a loop of its own."""

        async def whole() -> None:
            async with asyncio.timeout(50):
                ledger, dispatcher = await self.open_engine()
                try:
                    await law(ledger, dispatcher)
                finally:
                    await dispatcher.aclose()
                    await ledger.aclose()

        asyncio.run(whole())

    def test_every_job_put_there_is_run_once_and_no_more_at_a_time_than_asked(self) -> None:
        """Forty jobs."""

        async def law(ledger: Ledger, dispatcher: Dispatcher) -> None:
            ran: list[str] = []
            most, now_running = 0, 0
            stop = asyncio.Event()

            async def run(claim: Claim) -> None:
                nonlocal most, now_running
                now_running += 1
                most = max(most, now_running)
                await asyncio.sleep(0.001)
                await ledger.record(claim, Verdict(state="sent"))
                now_running -= 1
                ran.append(claim.job_id)
                if len(ran) == 40:
                    stop.set()

            await _put(ledger, dispatcher, [_real(number) for number in range(1, 41)])
            await dispatcher.work(run, concurrency=4, lease_s=30, stop=stop)
            assert sorted(ran) == [job(number).id for number in range(1, 41)]
            assert most <= 4

        self.run(law)

    def test_a_job_comes_again_when_it_is_due_again(self) -> None:
        """Refused for the moment, then sent."""

        async def law(ledger: Ledger, dispatcher: Dispatcher) -> None:
            attempts: list[int] = []
            stop = asyncio.Event()

            async def run(claim: Claim) -> datetime | None:
                attempts.append(claim.attempt)
                if claim.attempt == 3:
                    await ledger.record(claim, Verdict(state="sent"))
                    stop.set()
                    return None
                again = datetime.now(UTC) + timedelta(seconds=0.05)
                await ledger.record(claim, Verdict(state="queued", run_at=again.timestamp()))
                return again

            await _put(ledger, dispatcher, [_real(1)])
            await dispatcher.work(run, concurrency=2, lease_s=30, stop=stop)
            assert attempts == [1, 2, 3]

        self.run(law)

    def test_stopping_lets_what_is_under_way_end(self) -> None:
        """And starts nothing new."""

        async def law(ledger: Ledger, dispatcher: Dispatcher) -> None:
            stop, ended = asyncio.Event(), list[str]()

            async def run(claim: Claim) -> None:
                stop.set()
                await asyncio.sleep(0.05)
                await ledger.record(claim, Verdict(state="sent"))
                ended.append(claim.job_id)

            await _put(ledger, dispatcher, [_real(number) for number in range(1, 11)])
            await dispatcher.work(run, concurrency=1, lease_s=30, stop=stop)
            states = [found.state for found in await ledger.page(Selection(), limit=99)]
            assert states.count("sent") == len(ended)
            assert set(states) <= {"sent", "queued"}
            assert 1 <= len(ended) <= 2

        self.run(law)

    def test_what_is_in_the_ledger_is_found_also_when_nobody_announced_it(self) -> None:
        """A process died between its commit and its announcement."""

        async def law(ledger: Ledger, dispatcher: Dispatcher) -> None:
            stop = asyncio.Event()

            async def run(claim: Claim) -> None:
                await ledger.record(claim, Verdict(state="sent"))
                stop.set()

            await ledger.add([_real(1)])
            await dispatcher.work(run, concurrency=2, lease_s=30, stop=stop)
            assert (await ledger.read([job(1).id]))[0].state == "sent"

        self.run(law)


def _real(number: int) -> Job:
    now = datetime.now(UTC).timestamp()
    return job(number, run_at=now, created=now, updated=now)


async def _put(ledger: Ledger, dispatcher: Dispatcher, jobs: list[Job]) -> None:
    await ledger.add(jobs)
    await dispatcher.put([(entry.id, datetime.fromtimestamp(entry.run_at, UTC), entry.priority) for entry in jobs])
