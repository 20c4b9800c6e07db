"""Processes of the crash suite: one that enqueues, one that works and kills itself at a named point now and then.

python actors.py enqueue URL PORT FILE FROM TO | python actors.py work URL PORT POINT CHANCE
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from types import MappingProxyType
from typing import Any

from mailwright import Message, Outbox, RetryPolicy
from mailwright.outbox.policy import STEPS_S

LEASE_S = 1.0
CONCURRENCY = 8
POINTS = ("after claim", "before commit", "after commit", "before record", "after record", "none")


def outbox(url: str, port: int) -> Outbox:
    sink = {"provider": "smtp", "host": "127.0.0.1", "port": port, "tls": "none", "from": "me@example.org"}
    saved = {"sink": sink | {"local_hostname": os.environ.get("CRASH_HOST", "crash.test")}}
    policy = RetryPolicy(steps=MappingProxyType(dict.fromkeys(STEPS_S, (0.05,))), max_starts=1000)
    return Outbox(url, connection="sink", connections=saved, policy=policy, lease_s=LEASE_S)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def mine(ledger: Any, point: str, chance: float) -> None:
    """Make a ledger's owner die at a point."""
    take, claim_one, commit, record = ledger.take, ledger.claim, ledger.commit, ledger.record

    def maybe(here: str) -> None:
        if here == point and random.random() < chance:
            die()

    async def mined_take(**options: Any) -> Any:
        found = await take(**options)
        if found:
            maybe("after claim")
        return found

    async def mined_claim(job_id: str, **options: Any) -> Any:
        found = await claim_one(job_id, **options)
        if found is not None:
            maybe("after claim")
        return found

    async def mined_commit(claim: Any, **options: Any) -> None:
        maybe("before commit")
        await commit(claim, **options)
        maybe("after commit")

    async def mined_record(claim: Any, verdict: Any) -> None:
        maybe("before record")
        await record(claim, verdict)
        maybe("after record")

    ledger.take, ledger.claim, ledger.commit, ledger.record = mined_take, mined_claim, mined_commit, mined_record


async def enqueue(url: str, port: int, file: str, first: int, last: int) -> None:
    """What is in the file was accepted: it is written there after `enqueue` has returned."""
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with outbox(url, port) as box:

        async def lane(numbers: range) -> None:
            for number in numbers:
                message = Message(to=f"r{number}@example.org", subject=str(number), text="t" * 200)
                receipt = await box.enqueue(message, idempotency_key=f"n{number}")
                os.write(handle, f"{number} {receipt.job_id} {receipt.message_id}\n".encode())

        await asyncio.gather(*(lane(range(first + start, last, 8)) for start in range(8)))


async def work(url: str, port: int, point: str, chance: float) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with outbox(url, port) as box:
        mine((await box._opened()).ledger, point, chance)
        await box.work(concurrency=CONCURRENCY, stop=stop)


if __name__ == "__main__":
    if sys.argv[1] == "enqueue":
        asyncio.run(enqueue(sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]), int(sys.argv[6])))
    else:
        asyncio.run(work(sys.argv[2], int(sys.argv[3]), sys.argv[4], float(sys.argv[5])))
