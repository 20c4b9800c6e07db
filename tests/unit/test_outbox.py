"""The outbox, with a transport that answers as told: states, per-recipient bookkeeping, retries, keys, verbs."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import types
from collections import deque
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field, frozen

from mailwright import Connection, Message, Outbox, Part, Registry, RetryPolicy, Veto, hookimpl
from mailwright.errors import AuthError, ConfigurationError, MailwrightError, MessageError, QueueError, SessionError
from mailwright.spi import (
    AuthTarget,
    Capabilities,
    Limits,
    Opening,
    Provider,
    RecipientStatus,
    Reply,
    Report,
    Secret,
    Settings,
    Submission,
)
from mailwright_plugins.queues import sqlite as engine

START = datetime(2026, 1, 2, tzinfo=UTC)
Answer = Callable[[str], tuple[str, int, str]]


@define
class StepClock:
    """Time that passes when it is told to; sleeping gives way to others and passes a little."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.005)


@frozen(kw_only=True)
class FakeSettings(Settings):
    key: str = "a"
    password: Secret = field(factory=lambda: Secret("canary-Zq7"))


def accept(address: str) -> tuple[str, int, str]:
    return "accepted", 250, "2.0.0"


def reject(code: int, enhanced: str, *addresses: str) -> Answer:
    return lambda address: ("rejected", code, enhanced) if not addresses or address in addresses else accept(address)


def unknown(address: str) -> tuple[str, int, str]:
    return "unknown", 0, ""


@define
class FakeTransport:
    answers: deque[Answer | MailwrightError | Exception] = field(factory=deque)
    submissions: list[Submission] = field(factory=list)
    octets: list[bytes] = field(factory=list)
    at_commit: Callable[[], None] | None = None
    capabilities: Capabilities = field(factory=Capabilities)

    async def deliver(self, submission: Submission) -> Report:
        self.submissions.append(submission)
        self.octets.append(bytes(submission.composed))
        answer = self.answers.popleft() if self.answers else accept
        if isinstance(answer, MailwrightError):
            return Report.all(
                submission.envelope,
                "rejected",
                stage=answer.stage or "connect",
                permanent=answer.permanent,
                error=answer,
            )
        if isinstance(answer, Exception):
            raise answer
        if self.at_commit is not None:
            self.at_commit()
        await submission.commit()
        statuses = []
        for address in submission.envelope.recipients:
            outcome, code, enhanced = answer(address)
            statuses.append(
                RecipientStatus(
                    address=address,
                    outcome=outcome,  # type: ignore[arg-type]
                    permanent=code >= 500 if outcome == "rejected" else None,
                    stage="rcpt",
                    reply=Reply(code=code, enhanced=enhanced) if code else None,
                )
            )
        return Report(statuses=tuple(statuses))

    async def verify(self) -> AsyncIterator[str]:
        yield "connected"

    async def aclose(self) -> None:
        return


@define
class World:
    """An outbox in a folder, and a provider whose transports do as told."""

    folder: Path
    clock: StepClock = field(factory=StepClock)
    transports: dict[str, FakeTransport] = field(factory=dict)
    limits: Limits = field(factory=Limits)
    hooks: dict[str, Any] = field(factory=dict)
    policy: RetryPolicy = field(factory=RetryPolicy)

    def transport(self, key: str = "a") -> FakeTransport:
        return self.transports.setdefault(key, FakeTransport())

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder}/outbox.db"

    def outbox(self, **options: Any) -> Outbox:
        def open_(settings: FakeSettings, opening: Opening) -> FakeTransport:
            return self.transport(settings.key)

        def target(settings: FakeSettings) -> AuthTarget:
            return AuthTarget(protocol="http", host="api.example")

        record = Provider(name="fake", settings=FakeSettings, target=target, limits=self.limits, open=open_)
        module = types.ModuleType("fake")
        module.mailwright_providers = hookimpl(lambda: [record])  # type: ignore[attr-defined]
        for name, implementation in self.hooks.items():
            setattr(module, name, hookimpl(implementation))
        saved = {
            key: Connection(name=key, provider="fake", settings=FakeSettings(key=key), from_="me@x.org") for key in "ab"
        }
        registry = Registry([module, engine], installed=False, environ={})
        defaults = {"connection": "a", "connections": saved, "clock": self.clock, "policy": self.policy}
        return Outbox(self.url, registry=registry, **(defaults | options))

    async def work(self, outbox: Outbox, until: Callable[[], Any], *, concurrency: int = 4) -> None:
        """A worker, until something is so."""
        async with asyncio.timeout(20), outbox.worker(concurrency=concurrency):
            while not await until():
                await asyncio.sleep(0.005)

    async def try_once(self, outbox: Outbox, job_id: str) -> Any:
        """Work until one more attempt has come to something; the row."""
        before = await outbox.job(job_id)
        assert before is not None

        async def moved() -> bool:
            job = await outbox.job(job_id)
            assert job is not None
            return job.attempts > before.attempts and job.starts == 0

        await self.work(outbox, moved)
        return await outbox.job(job_id)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


MESSAGE = Message(to="a@x.org, b@x.org", subject="s", text="t")


async def test_what_is_enqueued_is_sent_once_and_its_contents_go(world: World) -> None:
    async with world.outbox() as outbox:
        receipt = await outbox.enqueue(MESSAGE)
        assert (receipt.status, receipt.to_result()["id"]) == ("queued", receipt.job_id)
        job = await world.try_once(outbox, receipt.job_id or "")
        final = await outbox.result(job.id)
    assert (job.state, job.payload) == ("sent", b"")
    assert final is not None
    assert (final.status, final.attempts, final.message_id) == ("sent", 1, receipt.message_id)
    assert receipt.message_id.encode() in world.transport().octets[0]


async def test_only_those_refused_for_the_moment_are_tried_again(world: World) -> None:
    world.transport().answers.append(reject(451, "4.7.1", "b@x.org"))
    async with world.outbox() as outbox:
        job_id = (await outbox.enqueue(MESSAGE)).job_id or ""
        job = await world.try_once(outbox, job_id)
        assert (job.state, job.reason) == ("queued", "greylisted: 451 4.7.1")
        assert 60 < job.run_at - world.clock.now().timestamp() < 120
        world.clock.seconds += 120
        job = await world.try_once(outbox, job_id)
        final = await outbox.result(job_id)
    assert job.state == "sent"
    assert final is not None
    assert [status.outcome for status in final.statuses] == ["accepted", "accepted"]
    assert [s.envelope.recipients for s in world.transport().submissions] == [("a@x.org", "b@x.org"), ("b@x.org",)]
    assert world.transport().octets[0] == world.transport().octets[1]


async def test_permanent_rejections_end_it_and_are_suppressed_next_time(world: World) -> None:
    world.transport().answers.append(reject(550, "5.1.1", "b@x.org"))
    async with world.outbox() as outbox:
        job = await world.try_once(outbox, (await outbox.enqueue(MESSAGE)).job_id or "")
        assert job.state == "partial"
        assert [entry.address async for entry in outbox.suppressions()] == ["b@x.org"]
        job = await world.try_once(outbox, (await outbox.enqueue(MESSAGE.replace(to="B@x.org"))).job_id or "")
        assert job.state == "failed"
        assert len(world.transport().submissions) == 1
        assert await outbox.unsuppress(["b@x.org"]) == 1
        job = await world.try_once(outbox, (await outbox.enqueue(MESSAGE.replace(to="b@x.org"))).job_id or "")
    assert job.state == "sent"


async def test_asking_again_tries_those_refused_for_good_too(world: World) -> None:
    world.transport().answers.append(reject(550, "5.1.1", "b@x.org"))
    async with world.outbox() as outbox:
        job = await world.try_once(outbox, (await outbox.enqueue(MESSAGE)).job_id or "")
        assert job.state == "partial"
        assert await outbox.change("retry", [job.id]) == 1
        job = await world.try_once(outbox, job.id)  # not to an address that is suppressed
        assert (job.state, job.reason) == ("partial", "suppressed: b@x.org: 550 5.1.1")
        assert len(world.transport().submissions) == 1
        await outbox.unsuppress(["b@x.org"])
        await outbox.change("retry", [job.id])
        job = await world.try_once(outbox, job.id)
    assert job.state == "sent"
    assert [s.envelope.recipients for s in world.transport().submissions] == [("a@x.org", "b@x.org"), ("b@x.org",)]


async def test_asking_again_lets_nobody_through_whom_staging_keeps_back(world: World) -> None:
    world.transport().answers.append(reject(554, "5.7.1"))
    saved = {
        "a": Connection(
            name="a", provider="fake", settings=FakeSettings(), from_="me@x.org", allow_recipients=("a@x.org",)
        )
    }
    async with world.outbox(connections=saved) as outbox:
        job = await world.try_once(outbox, (await outbox.enqueue(MESSAGE)).job_id or "")
        assert job.state == "failed"
        await outbox.change("retry", [job.id])
        job = await world.try_once(outbox, job.id)
        receipt = await outbox.result(job.id)
    assert receipt is not None
    assert [s.address for s in receipt.accepted] == ["a@x.org"]
    assert {s.envelope.recipients for s in world.transport().submissions} == {("a@x.org",)}


async def test_an_outbox_that_is_not_there_is_not_made_by_asking(world: World) -> None:
    outbox = world.outbox()
    assert not await outbox.exists()
    assert not (world.folder / "outbox.db").exists()
    async with outbox:
        assert await outbox.exists()


async def test_q08_given_up_after_four_days_and_told_once(world: World) -> None:
    told: list[str] = []
    world.hooks["mailwright_send_failed"] = lambda error, receipt: told.append(error.message)
    world.transport().answers.extend([reject(451, "4.3.0")] * 99)
    async with world.outbox() as outbox:
        job_id = (await outbox.enqueue(MESSAGE)).job_id or ""
        tries = 0
        while (job := await world.try_once(outbox, job_id)).state == "queued":
            tries += 1
            world.clock.seconds = job.run_at - START.timestamp() + 1
        assert job.state == "failed"
        assert job.reason.startswith("given up")
        assert 4 * 86400 <= world.clock.seconds < 4.2 * 86400
        assert 40 < tries < 70
    assert len(told) == 1


async def test_q04_a_clock_a_year_ahead_loses_nothing(world: World) -> None:
    world.transport().answers.append(reject(451, "4.3.0"))
    async with world.outbox() as outbox:
        job_id = (await outbox.enqueue(MESSAGE)).job_id or ""
        world.clock.seconds += 365 * 86400
        assert (await world.try_once(outbox, job_id)).state == "queued"
        world.clock.seconds -= 2 * 365 * 86400
        assert (await world.try_once(outbox, job_id)).state == "sent"


@pytest.mark.parametrize("choice", ["retry", "hold"])
async def test_unknown_is_sent_again_with_its_id_or_held(world: World, choice: Any) -> None:
    world.transport().answers.append(unknown)
    async with world.outbox() as outbox:
        receipt = await outbox.enqueue(MESSAGE, on_unknown=choice)
        job_id = receipt.job_id or ""
        job = await world.try_once(outbox, job_id)
        found = await outbox.result(job_id)
        assert found is not None
        assert found.status == "unknown"
        if choice == "hold":
            assert job.state == "unknown"
            assert await outbox.wait(job_id) == found
            assert await outbox.change("retry", [job_id]) == 1
        else:
            assert job.state == "queued"
            world.clock.seconds += 3600
        assert (await world.try_once(outbox, job_id)).state == "sent"
    assert {s.composed.message_id for s in world.transport().submissions} == {receipt.message_id}


async def test_a_wrong_password_holds_messages_back_and_fails_none(world: World) -> None:
    world.transport().answers.extend([AuthError("refused")] * 2000)
    async with world.outbox() as outbox:
        job_id = (await outbox.enqueue(MESSAGE)).job_id or ""
        assert (await world.try_once(outbox, job_id)).state == "queued"
        world.clock.seconds += 3600
        await world.try_once(outbox, job_id)
        world.clock.seconds += 5 * 86400
        job = await world.try_once(outbox, job_id)
        assert (job.state, job.reason) == ("held", "given up: set-up: refused")
        world.transport().answers.clear()
        assert await outbox.change("release", [job_id]) == 1
        assert (await world.try_once(outbox, job_id)).state == "sent"


async def test_a_server_that_wants_a_login_fails_no_message(world: World) -> None:
    world.transport().answers.append(reject(530, "5.7.0"))
    async with world.outbox() as outbox:
        job = await world.try_once(outbox, (await outbox.enqueue(MESSAGE)).job_id or "")
    assert (job.state, job.reason) == ("queued", "set-up: 530 5.7.0")


async def test_the_next_connection_is_used_where_nothing_was_delivered(world: World) -> None:
    world.transport("a").answers.append(SessionError("refused"))
    async with world.outbox() as outbox:
        job = await world.try_once(outbox, (await outbox.enqueue(MESSAGE, connection=["a", "b"])).job_id or "")
    assert job.state == "sent"
    assert len(world.transport("b").submissions) == 1


async def test_ready_octets_go_to_no_api_that_composes_by_itself(world: World) -> None:
    world.transport("a").answers.append(SessionError("refused"))
    world.transport("b").capabilities = Capabilities(content="message")
    async with world.outbox() as outbox:
        job_id = (await outbox.enqueue(b"To: a@x.org\r\n\r\nt\r\n", connection=["a", "b"])).job_id or ""
        assert (await world.try_once(outbox, job_id)).state == "queued"
        world.transport("a").capabilities = Capabilities(
            content="message"
        )  # it was another kind when this was accepted
        world.clock.seconds += 3600
        job = await world.try_once(outbox, job_id)
    assert job.state == "queued"
    assert job.reason.startswith("set-up: provider fake composes by itself")
    assert len(world.transport("a").submissions) == 1
    assert not world.transport("b").submissions


async def test_a_bug_of_a_transport_is_tried_again_and_loses_nothing(world: World) -> None:
    world.transport().answers.append(ZeroDivisionError("oops"))
    async with world.outbox() as outbox:
        job = await world.try_once(outbox, (await outbox.enqueue(MESSAGE)).job_id or "")
    assert job.state == "queued"
    assert "ZeroDivisionError" in job.reason


async def test_a_veto_is_final(world: World) -> None:
    def forbid(composed: Any) -> None:
        raise Veto("not today")

    world.hooks["mailwright_before_send"] = forbid
    async with world.outbox() as outbox:
        job = await world.try_once(outbox, (await outbox.enqueue(MESSAGE)).job_id or "")
    assert (job.state, job.reason) == ("failed", "refused: not today")


async def test_q05_a_lease_lost_before_the_commit_point_sends_nothing(world: World) -> None:
    async with world.outbox(lease_s=30.0) as outbox:
        job_id = (await outbox.enqueue(MESSAGE)).job_id or ""

        def stolen() -> None:  # as after SIGSTOP for longer than the lease: somebody else has the job
            with sqlite3.connect(world.folder / "outbox.db") as other:
                other.execute("UPDATE jobs SET fence = fence + 1")
            other.close()

        world.transport().at_commit = stolen

        async def lost() -> bool:
            return outbox.counts.get("lease_lost") == 1

        await world.work(outbox, lost)
        job = await outbox.job(job_id)
        assert job is not None
        assert job.state == "sending"  # the other one's
        world.transport().at_commit = None
        world.clock.seconds += 31
        assert (await world.try_once(outbox, job_id)).state == "sent"


async def test_q07_a_poison_message_ends_held(world: World) -> None:
    async with world.outbox() as outbox:
        job_id = (await outbox.enqueue(MESSAGE)).job_id or ""
        opened = await outbox._opened()
        for _ in range(5):  # five workers died of it
            claims = [*await opened.ledger.take(limit=1, lease_s=30)]
            claims += await opened.ledger.take(limit=1, lease_s=30, suspects=True)
            assert len(claims) == 1
            world.clock.seconds += 31
        job = await world.try_once(outbox, job_id)
    assert job.state == "held"
    assert "may be killing its workers" in job.reason
    assert world.transport().submissions == []


async def test_q06_a_row_that_cannot_be_read_goes_to_quarantine_and_others_go_on(world: World) -> None:
    async with world.outbox() as outbox:
        bad = (await outbox.enqueue(MESSAGE)).job_id or ""
        good = (await outbox.enqueue(MESSAGE)).job_id or ""
        with sqlite3.connect(world.folder / "outbox.db") as other:
            other.execute("UPDATE jobs SET payload = ? WHERE id = ?", (b"zrubbish", bad))
        other.close()
        assert (await world.try_once(outbox, good)).state == "sent"
        job = await outbox.job(bad)
    assert job is not None
    assert job.state == "quarantined"


async def test_the_same_key_is_the_same_message(world: World) -> None:
    async with world.outbox() as outbox:
        first = await outbox.enqueue(MESSAGE, idempotency_key="order-1")
        again = await outbox.enqueue(MESSAGE, idempotency_key="order-1")
        assert (again.job_id, again.message_id, again.status) == (first.job_id, first.message_id, "queued")
        keyed = [r async for r in outbox.enqueue_many([MESSAGE] * 3, key=lambda message: "order-1")]
        assert {receipt.job_id for receipt in keyed} == {first.job_id}
        assert [receipt.index for receipt in keyed] == [0, 1, 2]


async def test_scheduled_messages_wait_and_priority_goes_first(world: World) -> None:
    async with world.outbox() as outbox:
        later = await outbox.enqueue(
            MESSAGE.replace(subject="3"), at=world.clock.now() + timedelta(hours=1), priority=9
        )
        await outbox.enqueue(MESSAGE.replace(subject="2"))
        await outbox.enqueue(MESSAGE.replace(subject="1"), priority=5)
        assert [job.state for job in await outbox.list()] == ["queued", "queued", "scheduled"]

        async def sent() -> bool:
            return (await outbox.stats()).get("sent") == 2

        await world.work(outbox, sent, concurrency=1)
        world.clock.seconds += 3601
        assert (await world.try_once(outbox, later.job_id or "")).state == "sent"
    assert [s.message.subject for s in world.transport().submissions] == ["1", "2", "3"]


async def test_a_newsletter_is_stopped_by_its_tag(world: World) -> None:
    async with world.outbox() as outbox:
        async for _ in outbox.enqueue_many((MESSAGE for _ in range(450)), tags=["news"]):
            pass
        other = await outbox.enqueue(MESSAGE.replace(tags=("other",)))
        assert (await outbox.stats(tag="news"))["queued"] == 450
        assert await outbox.change("cancel", tag="news") == 450
        assert [job.id for job in await outbox.list(state="queued")] == [other.job_id]
        for nothing in ({}, {"state": ()}, {"state": "", "tag": "other"}):
            with pytest.raises(ConfigurationError, match="of which messages"):
                await outbox.change("cancel", **nothing)
        assert await outbox.change("cancel", state="queued", older_than=timedelta.max) == 0
        for days in (0, float("nan"), float("inf")):
            with pytest.raises(ConfigurationError, match="at most 36500"):
                await outbox.suppress("a@x.org", days=days)


async def test_verbs_reach_every_message_however_many_pages_they_fill(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailwright.outbox.verbs._PAGE", 7)
    later = world.clock.now() + timedelta(days=1)
    async with world.outbox() as outbox:
        for number in range(40):
            options: dict[str, Any] = {"at": later} if number % 3 == 0 else {"hold": number % 3 == 1}
            await outbox.enqueue(MESSAGE, tags=["news"] if number % 4 else ["other"], **options)
        assert await outbox.change("hold", tag="news") == 20
        assert await outbox.stats(tag="news") == {"held": 30, "due": 0, "oldest_due_s": 0.0}
        assert await outbox.change("cancel", state="held", older_than=timedelta(days=1)) == 0
        assert await outbox.change("cancel", state=("held", "queued"), tag="news") == 30
        assert await outbox.change("purge", tag="news") == 30
        assert {job.tags for job in await outbox.list()} == {("other",)}
        ids = [job.id for job in await outbox.list()]
        assert await outbox.change("cancel", [*ids, "nothing"]) == 10


async def test_an_account_with_a_slow_rate_keeps_no_other_one_waiting(tmp_path: Path) -> None:
    world = World(tmp_path, limits=Limits(rate=0.01))
    async with world.outbox() as outbox:
        async for _ in outbox.enqueue_many((MESSAGE for _ in range(30)), connection="a"):
            pass
        other = await outbox.enqueue(MESSAGE, connection="b")

        async def both() -> bool:
            return (await outbox.job(other.job_id or "")).state == "sent"  # type: ignore[union-attr]

        await world.work(outbox, both, concurrency=4)
        waiting = await outbox.list(state="queued")
        assert len(world.transport("a").submissions) == 1
        assert {job.reason for job in waiting} == {"waits for the rate of its account"}
        assert {job.attempts for job in waiting} == {0}
        times = sorted(job.run_at for job in waiting)
        assert len(waiting) == 29
        assert times[-1] > times[0]
        assert times[-1] <= world.clock.now().timestamp() + 3600
        assert outbox.counts["rate_limited"] == 29


async def test_bad_input_is_refused_before_anything_is_stored(world: World) -> None:
    async with world.outbox(connection=None) as outbox:
        for wrong, match in (
            ({"connection": None}, "names of saved connections"),
            ({"connection": {"provider": "smtp"}}, "no secret is queued"),
            ({"connection": "a", "at": datetime(2026, 1, 1)}, "time zone"),
            ({"connection": "a", "at": "tomorrow"}, "not .tomorrow."),
            ({"connection": "a", "idempotency_key": ""}, "idempotency_key"),
            ({"connection": "a", "tags": ["x\n"]}, "tags"),
            ({"connection": "nothing"}, "no connection is saved"),
        ):
            with pytest.raises(ConfigurationError, match=match):
                await outbox.enqueue(MESSAGE, **wrong)
        with pytest.raises(MessageError, match="no recipients"):
            await outbox.enqueue(Message(subject="s", text="t"), connection="a")
        receipts = [r async for r in outbox.enqueue_many([MESSAGE, Message(text="t"), MESSAGE], connection="a")]
        assert [receipt.error is None for receipt in receipts] == [True, False, True]
        assert len(await outbox.list()) == 2


async def test_ready_octets_are_sent_as_they_are(world: World) -> None:
    data = b"From: ann@x.org\r\nTo: a@x.org\r\nBcc: b@x.org\r\nSubject: raw\r\n\r\nBody  \r\n"
    async with world.outbox() as outbox:
        await world.try_once(outbox, (await outbox.enqueue(data)).job_id or "")
    (octets,) = world.transport().octets
    assert octets.endswith(b"\r\n\r\nBody  \r\n")
    assert b"Bcc" not in octets
    assert world.transport().submissions[0].envelope.recipients == ("a@x.org", "b@x.org")


async def test_hooks_run_when_they_should(world: World) -> None:
    seen: list[str] = []

    def before_compose(message: Message) -> Message:
        seen.append("compose")
        return message.replace(subject="changed")

    world.hooks["mailwright_before_compose"] = before_compose
    world.hooks["mailwright_before_send"] = lambda composed: composed.with_header("X-Signed", "yes")
    world.hooks["mailwright_after_send"] = lambda receipt: seen.append(f"after {receipt.job_id}")
    async with world.outbox() as outbox:
        receipt = await outbox.enqueue(MESSAGE)
        assert seen == ["compose"]
        await world.try_once(outbox, receipt.job_id or "")
    assert seen == ["compose", f"after {receipt.job_id}"]
    assert b"Subject: changed" in world.transport().octets[0]
    assert b"X-Signed: yes" in world.transport().octets[0]


def test_the_sync_twin_joins_a_transaction(world: World) -> None:
    outbox = world.outbox()
    assert outbox.enqueue_sync(MESSAGE).status == "queued"
    own = sqlite3.connect(world.folder / "outbox.db", isolation_level=None)
    for end, expected in (("ROLLBACK", 1), ("COMMIT", 2)):
        own.execute("BEGIN IMMEDIATE")
        outbox.enqueue_sync(MESSAGE, transaction=own)
        own.execute(end)
        assert own.execute("SELECT count(*) FROM jobs").fetchone()[0] == expected
    own.close()


def test_a_key_that_is_known_has_its_first_receipt_inside_a_transaction_too(world: World) -> None:
    outbox = world.outbox()
    first = outbox.enqueue_sync(MESSAGE, idempotency_key="order-1")
    own = sqlite3.connect(world.folder / "outbox.db", isolation_level=None)
    own.execute("BEGIN IMMEDIATE")
    assert outbox.enqueue_sync(MESSAGE, idempotency_key="order-1", transaction=own) == first
    new = outbox.enqueue_sync(MESSAGE, idempotency_key="order-2", transaction=own)
    assert outbox.enqueue_sync(MESSAGE, idempotency_key="order-2", transaction=own).job_id == new.job_id
    own.execute("COMMIT")
    assert own.execute("SELECT count(*) FROM jobs").fetchone()[0] == 2
    own.close()


@pytest.mark.parametrize("opened", [True, False])
def test_a_transaction_that_has_written_already_takes_a_large_message(world: World, opened: bool) -> None:
    async def make() -> None:
        async with world.outbox():
            pass

    asyncio.run(make())
    outbox = world.outbox()
    if opened:
        outbox.enqueue_sync(MESSAGE)
    own = sqlite3.connect(world.folder / "outbox.db", isolation_level=None)
    own.execute("CREATE TABLE orders (number)")
    large = MESSAGE.replace(text="long " * 5000, attachments=[Part(content=os.urandom(3 << 20), filename="a.bin")])
    for end, expected in (("ROLLBACK", 0), ("COMMIT", 1)):
        own.execute("BEGIN IMMEDIATE")
        own.execute("INSERT INTO orders VALUES (1)")
        outbox.enqueue_sync(large, transaction=own)
        own.execute(end)
        assert own.execute("SELECT count(*) FROM jobs").fetchone()[0] == expected + opened
        assert own.execute("SELECT count(*) FROM contents").fetchone()[0] == 4 * expected
    own.close()

    async def sent() -> bool:
        return (await outbox.stats()).get("sent") == 1 + opened

    async def work() -> None:
        async with outbox:
            await world.work(outbox, sent)

    asyncio.run(work())
    assert len(world.transport().octets[-1]) > 4 << 20


def test_an_outbox_that_a_transaction_keeps_from_being_made_says_what_to_do(world: World) -> None:
    own = sqlite3.connect(world.folder / "outbox.db", isolation_level=None)
    own.execute("CREATE TABLE orders (number)")
    own.execute("BEGIN IMMEDIATE")
    own.execute("INSERT INTO orders VALUES (1)")
    with pytest.raises(
        QueueError, match="by a transaction; make the outbox before the first one: `mailwright outbox init`"
    ):
        world.outbox().enqueue_sync(MESSAGE, transaction=own)
    own.close()


async def test_ended_messages_are_forgotten_in_time(world: World) -> None:
    async with world.outbox() as outbox:
        job = await world.try_once(outbox, (await outbox.enqueue(MESSAGE)).job_id or "")
        waiting = await outbox.enqueue(MESSAGE, at=world.clock.now() + timedelta(days=60))
        world.clock.seconds += 8 * 86400

        async def gone() -> bool:
            return await outbox.job(job.id) is None

        await world.work(outbox, gone)
        assert [found.id for found in await outbox.list()] == [waiting.job_id]


async def test_an_attachment_that_all_share_is_stored_once_and_goes_with_the_last(world: World) -> None:
    attachment = Part(content=os.urandom(1 << 20), filename="a.bin", content_type="application/octet-stream")
    messages = (
        Message(to=f"r{n}@x.org", subject="News", html=f"<p>{n}</p>", attachments=[attachment]) for n in range(300)
    )
    async with world.outbox(connection="b") as outbox:
        async for _ in outbox.enqueue_many(messages):
            pass
        own = sqlite3.connect(world.folder / "outbox.db")
        assert own.execute("SELECT count(*), sum(length(body)) FROM contents").fetchone() == (1, (1 << 20) + 1)
        assert own.execute("SELECT max(length(payload) + length(result)) FROM jobs").fetchone()[0] < 1000

        async def sent() -> bool:
            return (await outbox.stats()).get("sent") == 300

        await world.work(outbox, sent)
        assert own.execute("SELECT max(length(payload)) FROM jobs").fetchone() == (0,)
        world.clock.seconds += 3700

        async def gone() -> bool:
            return own.execute("SELECT count(*) FROM contents").fetchone() == (0,)

        await world.work(outbox, gone)
        own.close()


async def test_no_secret_is_in_a_row(world: World) -> None:
    world.transport().answers.append(AuthError("refused"))
    async with world.outbox() as outbox:
        await world.try_once(outbox, (await outbox.enqueue(MESSAGE)).job_id or "")
    octets = b"".join(file.read_bytes() for file in world.folder.iterdir())
    assert b"a@x.org" in octets
    assert b"canary" not in octets


async def test_q03_a_full_disk_refuses_and_corrupts_nothing(world: World) -> None:
    async with world.outbox() as outbox:
        kept = await outbox.enqueue(MESSAGE)
        ledger: Any = (await outbox._opened()).ledger
        pages = await ledger._writer.run(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
        await ledger._writer.run(lambda c: c.execute(f"PRAGMA max_page_count={pages}").fetchone())
        big = MESSAGE.replace(text=os.urandom(300_000).hex())
        with pytest.raises(QueueError, match="full"):
            await outbox.enqueue(big)
        assert (await world.try_once(outbox, kept.job_id or "")).state == "sent"
        assert await ledger._reader.run(lambda c: c.execute("PRAGMA integrity_check").fetchone()[0]) == "ok"
        await ledger._writer.run(lambda c: c.execute("PRAGMA max_page_count=100000").fetchone())
        assert (await outbox.enqueue(big)).status == "queued"
