"""What workers of one ledger share: rates, and the places of an account."""

from __future__ import annotations

import asyncio

import pytest

from mailwright.spi import Ledger, SharingLedger
from mailwright.testing.queue_contracts.opened import OpenedLedger, TestClock, job


class SharingLaws(OpenedLedger):
    """Laws of `Ledger.admit` and of `SharingLedger`; a ledger that is none skips the latter."""

    def test_rates_hold_for_everybody_who_asks(self) -> None:
        """GCRA: so many at once, then one every so often."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            waits = await asyncio.gather(*(ledger.admit("a", rate=10, burst=3) for _ in range(5)))
            assert sorted(waits)[:3] == [0, 0, 0]
            assert all(wait == pytest.approx(0.1, abs=0.01) for wait in sorted(waits)[3:])
            assert await ledger.admit("b", rate=10, burst=3) == 0
            clock.seconds += 0.11
            assert await ledger.admit("a", rate=10, burst=3) == 0
            assert await ledger.admit("a", rate=10, burst=3) > 0
            assert await ledger.admit("c", rate=100, burst=1, tokens=20) == 0
            assert await ledger.admit("c", rate=100, burst=1, tokens=20) == pytest.approx(0.2, abs=0.01)

        self.run(law)

    def test_what_is_due_is_told_without_being_taken(self) -> None:
        """What a dispatcher announces: no suspects, nothing that waits, nothing in a worker's hands."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            sharing = _sharing(ledger)
            now = clock.now().timestamp()
            await ledger.add([
                job(1), job(2, priority=5), job(3, state="scheduled", run_at=now + 60), job(4, state="held"), job(5),
            ])  # fmt: skip
            assert list(await sharing.due(limit=2)) == [job(2).id, job(1).id]
            assert set(await sharing.due(limit=9)) == {job(n).id for n in (1, 2, 5)}
            (claim,) = await ledger.take(limit=1, lease_s=30)
            assert set(await sharing.due(limit=9)) == {job(n).id for n in (1, 5)}
            clock.seconds += 61
            assert set(await sharing.due(limit=9)) == {job(n).id for n in (1, 2, 3, 5)}
            for _ in range(2):
                await ledger.claim(claim.job_id, lease_s=30)
                clock.seconds += 31
            assert claim.job_id not in await sharing.due(limit=9)

        self.run(law)

    def test_places_of_an_account_are_shared_and_never_given_twice(self) -> None:
        """The first has all; a second gets half when the first has let go; by turns where they are too few."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            sharing = _sharing(ledger)

            async def ask(holder: str, using: int, wanted: int, most: int = 4) -> int:
                return await sharing.share("a", holder, using=using, wanted=wanted, most=most, lease_s=30)

            assert await ask("one", 0, 1) == 4
            assert await ask("two", 0, 9) == 0
            assert await ask("one", 4, 9) == 2
            assert await ask("two", 0, 9) == 0  # what is in use is not given away
            assert await ask("one", 1, 9) == 2
            assert await ask("two", 0, 9) == 2
            assert await sharing.share("b", "two", using=0, wanted=1, most=4, lease_s=30) == 4
            assert await ask("one", 0, 0) == 0
            assert await ask("two", 2, 9) == 4
            clock.seconds += 31  # its worker died
            assert await ask("one", 0, 9) == 4
            assert await ask("one", 0, 0) == 0
            had = set()
            for _ in range(12):
                clock.seconds += 5
                now = {name for name in ("x", "y", "z") if await ask(name, 0, 1, most=1)}
                assert len(now) <= 1
                had |= now
            assert had == {"x", "y", "z"}

        self.run(law)

    def test_places_asked_for_at_once_are_given_once(self) -> None:
        """Ten workers, seven places."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            sharing = _sharing(ledger)
            for _ in range(3):
                given = await asyncio.gather(
                    *(sharing.share("a", f"w{n}", using=0, wanted=2, most=7, lease_s=30) for n in range(10))
                )
                assert sum(given) <= 7
            assert sum(given) == 7

        self.run(law)


def _sharing(ledger: Ledger) -> SharingLedger:
    if not isinstance(ledger, SharingLedger):
        pytest.skip("it has neither due() nor share(): see mailwright.spi.SharingLedger")
    return ledger
