"""Places of a worker: an account that does not answer leaves some to others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from mailwright import Message, Outbox, Registry
from mailwright.outbox.crowds import Crowd
from mailwright.outbox.places import open_ledger
from mailwright.outbox.silenced import Silenced
from mailwright.outbox.worker import SLOW
from mailwright.spi import Suppression
from mailwright.system import SystemClock
from mailwright.testing import Fault, ScriptedServer


async def test_those_at_the_door_go_in_as_others_end() -> None:
    crowd, inside = Crowd(1), asyncio.Event()

    async def second() -> float:
        async with crowd.place(60) as wait:
            return wait

    async with crowd.place(60) as first:
        waiting = asyncio.create_task(second())
        inside.set()
        await asyncio.sleep(0)
        assert (first, waiting.done()) == (0, False)
    assert await waiting == 0


async def test_nobody_waits_for_those_who_do_not_move() -> None:
    crowd = Crowd(2)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            assert await stack.enter_async_context(crowd.place(0.01)) == 0
        async with crowd.place(0.01) as wait:
            assert wait >= 0.01
        crowd.moved()
        async with crowd.place(0.0) as wait:
            assert 0 <= wait < 60


async def test_a_server_that_hangs_leaves_room_for_the_mail_of_others(tmp_path: Path) -> None:
    hanging = ScriptedServer(faults=[Fault(stage="greeting", kind="hang")])
    async with AsyncExitStack() as stack, ScriptedServer() as healthy:
        await stack.enter_async_context(hanging)
        saved = {
            name: {"provider": "smtp", "host": "127.0.0.1", "port": server.port, "tls": "none", "from": "me@example.org"}
            for name, server in (("hanging", hanging), ("healthy", healthy))
        }  # fmt: skip
        async with Outbox(f"sqlite:///{tmp_path}/outbox.db", connections=saved) as outbox:
            message = Message(to="ann@example.org", text="x")
            for _ in range(8):
                await outbox.enqueue(message, connection="hanging", priority=1)
            last = await outbox.enqueue(message, connection="healthy")
            assert last.job_id is not None
            async with outbox.worker(concurrency=4):
                receipt = await outbox.wait(last.job_id)
                assert receipt is not None
                assert [status.outcome for status in receipt.statuses] == ["accepted"]
                jobs = await outbox.list(state="queued")
                assert {job.reason for job in jobs} == {SLOW}
                assert (await outbox.stats())["sending"] == 3
                await stack.aclose()  # ends them


async def test_attempts_that_begin_together_ask_once_who_is_suppressed(tmp_path: Path) -> None:
    ledger = await open_ledger(f"sqlite:///{tmp_path}/outbox.db", Registry(), SystemClock())
    asked = list[tuple[str, ...]]()
    within = ledger.suppressed

    async def suppressed(addresses: Sequence[str]) -> Sequence[Suppression]:
        asked.append(tuple(addresses))
        return await within(addresses)

    ledger.suppressed = suppressed  # type: ignore[method-assign]
    until = SystemClock().now().timestamp() + 60
    await ledger.suppress([Suppression(address="gone@x.org", reason="asked", until=until)])
    silenced = Silenced(ledger)
    for _ in range(2):
        first, second, third = await asyncio.gather(
            silenced.among(["Gone@x.org", "a@x.org"]), silenced.among(["b@x.org"]), silenced.among(["gone@x.org"])
        )
        assert ([entry.address for entry in first], second, third) == (["gone@x.org"], [], first)
    assert asked == [("gone@x.org", "a@x.org", "b@x.org")] * 2
    await ledger.aclose()
