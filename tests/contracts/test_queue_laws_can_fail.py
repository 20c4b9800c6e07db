"""The same for outbox engines: one method of a good ledger or dispatcher goes wrong, and its law says so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from mailwright.outbox.leases import LeaseDispatcher
from mailwright.system import SystemClock
from mailwright.testing.queue_contracts import DispatcherContract, LedgerContract
from mailwright_plugins.queues.sqlite.ledger import SqliteLedger


class Flawed:
    """A good one, but for the methods that are handed in."""

    def __init__(self, real: Any, **changes: Any) -> None:
        self._real, self._changes = real, changes

    def __getattr__(self, name: str) -> Any:
        change = self._changes.get(name)
        return partial(change, self._real) if change else getattr(self._real, name)

    # isinstance() of a protocol looks at the class

    async def due(self, **options: Any) -> Any:
        return await self.__getattr__("due")(**options)

    async def share(self, *given: Any, **options: Any) -> Any:
        return await self.__getattr__("share")(*given, **options)


async def backwards(real: Any, ids: Sequence[str]) -> Any:
    return [*reversed(await real.read(ids))]


async def by_id(real: Any, **options: Any) -> Any:
    return sorted(await real.take(**{**options, "limit": 99}), key=lambda claim: claim.job_id)


async def impatient(real: Any, job_id: str, *, lease_s: float) -> Any:
    real.seen = await real.claim(job_id, lease_s=lease_s) or getattr(real, "seen", None)
    return real.seen


async def nothing_is_lost(real: Any, claims: Any, *, lease_s: float) -> Any:
    return []


async def no_mark(real: Any, claim: Any, *, lease_s: float) -> None:
    pass


async def at_once(real: Any, claim: Any, verdict: Any) -> None:
    await real.record(claim, evolve(verdict, run_at=0.0))


async def unsuspicious(real: Any, *, limit: int, lease_s: float, suspects: bool = False) -> Any:
    return [claim for kind in (False, True) for claim in await real.take(limit=limit, lease_s=lease_s, suspects=kind)]


async def believes_the_clock(real: Any, **options: Any) -> Any:
    claims = await real.take(**options)
    return [claim for claim in claims if claim.job.created <= real._clock.now().timestamp()]


async def keyless(real: Any, jobs: Any, **options: Any) -> Any:
    return await real.add([evolve(job, key=None) for job in jobs], **options)


async def miscounted(real: Any, *given: Any, **options: Any) -> Any:
    return await real.change(*given, **options) + 1


async def forgetful(real: Any, **options: Any) -> Any:
    return [evolve(claim, job=evolve(claim.job, reason="")) for claim in await real.take(**options)]


async def ageless(real: Any, selection: Any, verb: Any, **options: Any) -> Any:
    return await real.change(evolve(selection, older_than=None), verb, **options)


async def one_short(real: Any, selection: Any, *, limit: int, before: str | None = None) -> Any:
    return [*await real.page(selection, limit=limit, before=before)][1 if before else 0 :]


async def keeps_all(real: Any, *, limit: int = 500) -> int:
    return 0


async def no_rate(real: Any, key: str, **options: Any) -> float:
    return 0.0


async def knows_nobody(real: Any, addresses: Any) -> Any:
    return []


async def last_first(real: Any, **options: Any) -> Any:
    return [*reversed(await real.due(**options))]


async def generous(real: Any, *given: Any, most: int, **options: Any) -> int:
    return most


async def twice(real: Any, **options: Any) -> Any:
    claims = [*await real.take(**options)]
    return claims + claims[:1]


LEDGERS: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = [
    ("test_what_is_stored_can_be_read", {"read": backwards}, ()),
    ("test_due_jobs_are_taken_once_by_priority_then_time", {"take": by_id}, ()),
    ("test_one_job_is_claimed_by_its_id", {"claim": impatient}, ()),
    ("test_a_lease_that_runs_out_passes_the_job_on_and_fences_the_first_worker", {"renew": nothing_is_lost}, ()),
    ("test_after_commit_a_job_is_unknown_until_its_outcome_is_written", {"commit": no_mark}, ("hold",)),
    ("test_a_verdict_says_when_a_job_is_due_again", {"record": at_once}, ()),
    ("test_jobs_begun_twice_without_a_result_are_taken_apart", {"take": unsuspicious}, ()),
    ("test_a_clock_that_jumps_stops_nothing", {"take": believes_the_clock}, ()),
    ("test_a_key_is_one_job_for_as_long_as_it_is_kept", {"add": keyless}, ()),
    ("test_keys_raced_for_have_one_winner", {"add": keyless}, ()),
    ("test_operators_verbs_change_what_they_fit", {"change": miscounted}, ()),
    ("test_a_job_asked_for_again_says_so", {"take": forgetful}, ()),
    ("test_what_ended_long_ago_is_forgotten_and_nothing_else", {"change": ageless}, ()),
    ("test_pages_go_on_where_the_last_ended", {"page": one_short}, ()),
    ("test_contents_are_kept_while_somebody_refers_to_them", {"clean": keeps_all}, ()),
    ("test_rates_hold_for_everybody_who_asks", {"admit": no_rate}, ()),
    ("test_suppressions_end", {"suppressed": knows_nobody}, ()),
    ("test_many_workers_take_each_job_once", {"take": twice}, ()),
    ("test_what_is_due_is_told_without_being_taken", {"due": last_first}, ()),
    ("test_places_of_an_account_are_shared_and_never_given_twice", {"share": generous}, ()),
    ("test_places_asked_for_at_once_are_given_once", {"share": generous}, ()),
]


@pytest.mark.parametrize(("law", "changes", "more"), LEDGERS, ids=[law for law, _, _ in LEDGERS])
def test_a_flawed_ledger_breaks_its_law(law: str, changes: Any, more: Any, tmp_path: Path) -> None:
    class Contract(LedgerContract):
        async def open_ledger(self, clock: Any) -> Any:
            return Flawed(await SqliteLedger.open(tmp_path / "outbox.db", clock), **changes)

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(Contract(), law)(*more)


async def crowded(real: Any, run: Any, *, concurrency: int, **options: Any) -> None:
    await real.work(run, concurrency=10 * concurrency, **options)


async def doubled(real: Any, run: Any, **options: Any) -> None:
    async def both(claim: Any) -> Any:
        await run(claim)
        return await run(claim)

    await real.work(both, **options)


async def idle(real: Any, run: Any, **options: Any) -> None:
    await asyncio.sleep(0)


DISPATCHERS: list[tuple[str, Any]] = [
    ("test_every_job_put_there_is_run_once_and_no_more_at_a_time_than_asked", crowded),
    ("test_a_job_comes_again_when_it_is_due_again", doubled),
    ("test_stopping_lets_what_is_under_way_end", crowded),
    ("test_what_is_in_the_ledger_is_found_also_when_nobody_announced_it", idle),
]


@pytest.mark.parametrize(("law", "work"), DISPATCHERS, ids=[law for law, _ in DISPATCHERS])
def test_a_flawed_dispatcher_breaks_its_law(law: str, work: Any, tmp_path: Path) -> None:
    class Contract(DispatcherContract):
        async def open_engine(self) -> Any:
            ledger = await SqliteLedger.open(tmp_path / "outbox.db", SystemClock())
            return ledger, Flawed(LeaseDispatcher(ledger), work=work)

    with pytest.raises(AssertionError):
        getattr(Contract(), law)()


def test_every_law_of_engines_can_be_broken() -> None:
    laws = {law for kind in (LedgerContract, DispatcherContract) for law in dir(kind) if law.startswith("test_")}
    assert laws == {law for law, _, _ in LEDGERS} | {law for law, _ in DISPATCHERS}
