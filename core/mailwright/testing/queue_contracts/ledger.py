"""Contract of ledgers: who has a job, what operators change, what is kept and for how long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from attrs import evolve

from mailwright.errors import LeaseLost
from mailwright.spi import ASKED, Claim, Ledger, Selection, Suppression, Verdict
from mailwright.testing.queue_contracts.opened import TestClock, job
from mailwright.testing.queue_contracts.sharing import SharingLaws


class LedgerContract(SharingLaws):
    """For ledgers. `open_ledger` is called once a test, and gives an empty one; time is `clock`'s if it is told."""

    def test_what_is_stored_can_be_read(self) -> None:
        """All of it, in the order asked for; what is not there is left out."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            first, second = job(1, payload=bytes(range(256)), tags=("a", "b")), job(2, priority=3, on_unknown="hold")
            assert list(await ledger.add([first, second])) == [first.id, second.id]
            assert list(await ledger.read([second.id, "nothing", first.id])) == [second, first]
            assert [found.payload for found in await ledger.page(Selection(), limit=9)] == [b"", b""]

        self.run(law)

    def test_due_jobs_are_taken_once_by_priority_then_time(self) -> None:
        """Each by one worker; the attempt is counted before it is handed out."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            now = clock.now().timestamp()
            await ledger.add([
                job(1), job(2, run_at=now - 5), job(3, priority=9), job(4, state="held"),
                job(5, state="scheduled", run_at=now + 60),
            ])  # fmt: skip
            claims = list(await ledger.take(limit=2, lease_s=30))
            claims += await ledger.take(limit=9, lease_s=30)
            assert [int(claim.job_id, 16) for claim in claims] == [3, 2, 1]
            assert [(claim.attempt, claim.job.state, claim.job.payload) for claim in claims] == [
                (1, "sending", b"{}")
            ] * 3
            assert not await ledger.take(limit=9, lease_s=30)
            clock.seconds += 61
            assert job(5).id in {claim.job_id for claim in await ledger.take(limit=9, lease_s=30)}

        self.run(law)

    def test_one_job_is_claimed_by_its_id(self) -> None:
        """Once, when it is due."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            await ledger.add([job(1), job(2, state="scheduled", run_at=clock.now().timestamp() + 60)])
            claim = await ledger.claim(job(1).id, lease_s=30)
            assert claim is not None
            assert claim.attempt == 1
            assert await ledger.claim(job(1).id, lease_s=30) is None
            assert await ledger.claim(job(2).id, lease_s=30) is None
            assert await ledger.claim("nothing", lease_s=30) is None
            clock.seconds += 61
            assert await ledger.claim(job(2).id, lease_s=30) is not None

        self.run(law)

    def test_a_lease_that_runs_out_passes_the_job_on_and_fences_the_first_worker(self) -> None:
        """The first cannot commit, record or renew any more."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            await ledger.add([job(1)])
            (first,) = await ledger.take(limit=1, lease_s=30)
            clock.seconds += 20
            assert not await ledger.renew([first], lease_s=30)
            clock.seconds += 20
            assert not await ledger.take(limit=1, lease_s=30)
            clock.seconds += 20
            (second,) = await ledger.take(limit=1, lease_s=30)
            assert second.attempt == 2
            assert list(await ledger.renew([first], lease_s=30)) == [first]
            with pytest.raises(LeaseLost):
                await ledger.commit(first, lease_s=30)
            with pytest.raises(LeaseLost):
                await ledger.record(first, Verdict(state="sent"))
            await ledger.commit(second, lease_s=30)
            await ledger.record(second, Verdict(state="sent", result=b"done", drop=True))
            (found,) = await ledger.read([first.job_id])
            assert (found.state, found.result, found.payload, found.starts) == ("sent", b"done", b"", 0)

        self.run(law)

    @pytest.mark.parametrize("choice", ["retry", "hold"])
    def test_after_commit_a_job_is_unknown_until_its_outcome_is_written(self, choice: Any) -> None:
        """A worker that goes away then leaves it unknown: tried again, or kept."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            await ledger.add([job(1, on_unknown=choice)])
            (claim,) = await ledger.take(limit=1, lease_s=30)
            await ledger.commit(claim, lease_s=30)
            assert (await ledger.read([claim.job_id]))[0].state == "unknown"
            clock.seconds += 31
            taken = await ledger.take(limit=1, lease_s=30)
            assert [found.attempt for found in taken] == ([2] if choice == "retry" else [])
            if choice == "hold":
                assert (await ledger.read([claim.job_id]))[0].state == "unknown"
                assert await ledger.change(Selection(ids=(claim.job_id,)), "retry") == 1
                assert len(await ledger.take(limit=1, lease_s=30)) == 1

        self.run(law)

    def test_a_verdict_says_when_a_job_is_due_again(self) -> None:
        """And whether the try counts."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            await ledger.add([job(1)])
            (claim,) = await ledger.take(limit=1, lease_s=30)
            later = clock.now().timestamp() + 100
            await ledger.record(claim, Verdict(state="queued", run_at=later, reason="later", result=b"x"))
            assert not await ledger.take(limit=1, lease_s=30)
            clock.seconds += 101
            (claim,) = await ledger.take(limit=1, lease_s=30)
            assert (claim.attempt, claim.job.result, claim.job.reason) == (2, b"x", "later")
            await ledger.record(claim, Verdict(state="queued", run_at=0, counted=False))
            (claim,) = await ledger.take(limit=1, lease_s=30)
            assert claim.attempt == 2

        self.run(law)

    def test_jobs_begun_twice_without_a_result_are_taken_apart(self) -> None:
        """So that one that kills its workers takes few others with it."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            await ledger.add([job(1)])
            for _ in range(2):
                assert len(await ledger.take(limit=1, lease_s=30)) == 1
                clock.seconds += 31
            await ledger.add([job(2)])
            assert [found.job_id for found in await ledger.take(limit=9, lease_s=30)] == [job(2).id]
            (claim,) = await ledger.take(limit=9, lease_s=30, suspects=True)
            assert (claim.job_id, claim.job.starts) == (job(1).id, 3)

        self.run(law)

    def test_a_clock_that_jumps_stops_nothing(self) -> None:
        """A year back: no lease and no back-off lasts a year; scheduled jobs wait for their date."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            now = clock.now().timestamp()
            await ledger.add([job(1), job(2), job(3, state="scheduled", run_at=now + 2 * 86400)])
            first, second = sorted(await ledger.take(limit=2, lease_s=30), key=lambda claim: claim.job_id)
            await ledger.record(second, Verdict(state="queued", run_at=now + 600))
            clock.seconds -= 365 * 86400
            found = {claim.job_id for claim in await ledger.take(limit=9, lease_s=30)}
            assert found == {first.job_id, second.job_id}

        self.run(law)

    def test_a_key_is_one_job_for_as_long_as_it_is_kept(self) -> None:
        """Also when the job has ended or is forgotten, and in one batch."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            until = clock.now().timestamp() + 3600
            jobs = [job(number, key="k", key_until=until) for number in (1, 2)]
            assert list(await ledger.add(jobs)) == [job(1).id, job(1).id]
            (claim,) = await ledger.take(limit=9, lease_s=30)
            await ledger.record(claim, Verdict(state="sent", drop=True))
            assert await ledger.change(Selection(states=("sent",)), "purge") == 1
            await ledger.clean()
            assert list(await ledger.add([jobs[1]])) == [job(1).id]
            clock.seconds += 3601
            await ledger.clean()
            assert list(await ledger.add([jobs[1]])) == [job(2).id]

        self.run(law)

    def test_keys_raced_for_have_one_winner(self) -> None:
        """Twenty at once."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            until = clock.now().timestamp() + 3600
            adding = (ledger.add([job(number, key="k", key_until=until)]) for number in range(1, 21))
            ids = {found[0] for found in await asyncio.gather(*adding)}
            assert len(ids) == 1
            assert [found.id for found in await ledger.page(Selection(), limit=99)] == list(ids)

        self.run(law)

    def test_operators_verbs_change_what_they_fit(self) -> None:
        """And leave jobs in a worker's hands alone."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            await ledger.add([job(1, priority=1), job(2, tags=("news",)), job(3, tags=("news", "x")), job(4)])
            await ledger.take(limit=1, lease_s=30)
            news = Selection(tag="news")
            assert await ledger.change(news, "hold") == 2
            assert await ledger.change(news, "hold") == 0
            assert await ledger.change(Selection(ids=(job(1).id,)), "cancel") == 0
            assert [found.id for found in await ledger.page(Selection(states=("held",)), limit=9)] == [
                job(3).id,
                job(2).id,
            ]
            assert await ledger.change(Selection(ids=(job(2).id,)), "release") == 1
            assert await ledger.change(news, "cancel") == 2
            assert await ledger.change(news, "retry") == 2
            assert {claim.job_id for claim in await ledger.take(limit=9, lease_s=30)} == {job(n).id for n in (2, 3, 4)}
            assert await ledger.change(Selection(), "purge") == 0

        self.run(law)

    def test_a_job_asked_for_again_says_so(self) -> None:
        """The worker tries those refused for good too; one that is released goes on where it was."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            await ledger.add([job(1), job(2)])
            first, second = await ledger.take(limit=2, lease_s=30)
            await ledger.record(first, Verdict(state="failed", result=b"x", reason="refused"))
            await ledger.record(second, Verdict(state="held", reason="held"))
            assert await ledger.change(Selection(ids=(first.job_id,)), "retry") == 1
            assert await ledger.change(Selection(ids=(second.job_id,)), "release") == 1
            for _ in range(2):  # also when its worker went away
                claims = {claim.job_id: claim.job for claim in await ledger.take(limit=2, lease_s=30)}
                assert claims[first.job_id].reason == ASKED
                assert claims[first.job_id].result == b"x"
                assert claims[second.job_id].reason != ASKED
                clock.seconds += 31

        self.run(law)

    def test_what_ended_long_ago_is_forgotten_and_nothing_else(self) -> None:
        """By its last change, in batches."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            await ledger.add([job(number) for number in range(1, 8)])
            for state in ("sent", "sent", "sent", "failed"):
                (claim,) = await ledger.take(limit=1, lease_s=30)
                await ledger.record(claim, Verdict(state=state))
                clock.seconds += 100
            old = Selection(states=("sent", "cancelled"), older_than=clock.now().timestamp() - 250)
            assert await ledger.change(old, "purge", limit=1) == 1
            assert await ledger.change(old, "purge", limit=9) == 1
            assert await ledger.change(old, "purge", limit=9) == 0
            left = [found.state for found in await ledger.page(Selection(), limit=9)]
            assert sorted(left) == ["failed", "queued", "queued", "queued", "sent"]

        self.run(law)

    def test_pages_go_on_where_the_last_ended(self) -> None:
        """Newest first, whatever chooses them."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            await ledger.add([job(number, tags=("t",)) for number in range(1, 8)])
            found: list[str] = []
            while page := await ledger.page(Selection(tag="t"), limit=3, before=found[-1] if found else None):
                found += [entry.id for entry in page]
            assert found == [job(number).id for number in range(7, 0, -1)]
            for chosen in (Selection(states=("queued", "held")), Selection(states=("queued",), tag="t"), Selection()):
                page = await ledger.page(chosen, limit=2, before=job(5).id)
                assert [entry.id for entry in page] == [job(4).id, job(3).id]
            assert not await ledger.page(Selection(states=("held", "sent"), tag="t"), limit=2)
            stats = await ledger.stats(tag="t")
            assert (stats["queued"], stats["due"]) == (7, 7)
            assert "queued" not in await ledger.stats(tag="other")

        self.run(law)

    def test_contents_are_kept_while_somebody_refers_to_them(self) -> None:
        """Then an hour more."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            await ledger.put_contents({"aa": b"\0one", "bb": b"two"})
            await ledger.put_contents({"aa": b"\0one"})
            await ledger.add([job(1, contents=("aa",)), job(2, contents=("aa",))])
            clock.seconds += 7200
            assert await ledger.clean() == 1
            assert await ledger.content("aa") == b"\0one"
            with pytest.raises(KeyError):
                await ledger.content("bb")
            for claim in await ledger.take(limit=9, lease_s=30):
                assert await ledger.clean() == 0
                await ledger.record(claim, Verdict(state="sent", drop=True))
            assert await ledger.clean() == 1

        self.run(law)

    def test_suppressions_end(self) -> None:
        """And are found whatever the case."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            until = clock.now().timestamp() + 60
            entries = [Suppression(address=f"{name}@x.org", reason="gone", until=until) for name in "abc"]
            await ledger.suppress(entries)
            await ledger.suppress([evolve(entries[0], until=until + 60)])
            assert [entry.address for entry in await ledger.suppressed(["A@x.org", "z@x.org"])] == ["a@x.org"]
            assert [entry.address for entry in await ledger.suppressions(limit=2)] == ["a@x.org", "b@x.org"]
            assert [entry.address for entry in await ledger.suppressions(limit=2, after="b@x.org")] == ["c@x.org"]
            assert await ledger.unsuppress(["C@x.org", "z@x.org"]) == 1
            clock.seconds += 61
            assert [entry.address for entry in await ledger.suppressed(["a@x.org", "b@x.org"])] == ["a@x.org"]

        self.run(law)

    def test_many_workers_take_each_job_once(self) -> None:
        """Two hundred jobs, ten takers."""

        async def law(ledger: Ledger, clock: TestClock) -> None:
            await ledger.add([job(number) for number in range(1, 201)])
            taken: list[Claim] = []

            async def taker() -> None:
                while found := await ledger.take(limit=7, lease_s=30):
                    taken.extend(found)

            await asyncio.gather(*(taker() for _ in range(10)))
            taken.extend(await ledger.take(limit=300, lease_s=30))
            assert len(taken) == len({claim.job_id for claim in taken}) == 200

        self.run(law)
