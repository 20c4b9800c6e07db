"""The outbox: enqueueing in groups, draining to a sink, peak memory; for each URL given (default: a SQLite file).

    python tests/benchmarks/outbox.py [--count N] [--workers N] [URL ...]

The sink is a Python process on this machine, as are the workers: the rate is that of all together.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from _pairs import table

from mailwright import Message, Outbox
from mailwright.outbox.places import masked
from mailwright.testing import ScriptedServer

WORK = """
import asyncio, sys
from mailwright import Outbox
async def main():
    saved = {"sink": {"provider": "smtp", "host": "127.0.0.1", "port": int(sys.argv[2]), "tls": "none",
                      "limits": {"connections": 10}}}
    async with Outbox(sys.argv[1], connections=saved) as outbox:
        async with outbox.worker(concurrency=40):
            while (await outbox.stats())["due"] or (await outbox.stats()).get("sending"):
                await asyncio.sleep(0.1)
asyncio.run(main())
"""


def syncs_a_second(folder: Path) -> float:
    handle = os.open(folder / "sync", os.O_CREAT | os.O_WRONLY, 0o600)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < 1:
        os.write(handle, b"x" * 4096)
        os.fsync(handle)
        count += 1
    os.close(handle)
    return count


async def one(url: str, count: int, workers: int) -> list[str]:
    received = 0

    def took(message: object) -> None:
        nonlocal received
        received += 1
        server.messages.clear()

    async with ScriptedServer(on_message=took, record_limit=0) as server:
        saved = {"sink": {"provider": "smtp", "host": "127.0.0.1", "port": server.port, "tls": "none"}}
        async with Outbox(url, connection="sink", connections=saved) as outbox:
            messages = (
                Message(from_="me@example.org", to=f"r{n}@example.org", subject=str(n), text="t" * 1000)
                for n in range(count)
            )
            started = time.perf_counter()
            async for _ in outbox.enqueue_many(messages):
                pass
            enqueued = count / (time.perf_counter() - started)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        started = time.perf_counter()
        command = [sys.executable, "-c", WORK, url, str(server.port)]
        processes = [await asyncio.create_subprocess_exec(*command) for _ in range(workers)]
        while received < count:
            await asyncio.sleep(0.02)
        drained = count / (time.perf_counter() - started)
        for process in processes:
            await process.wait()
    shown = masked(url).partition("?")
    return [
        shown[0].partition(":")[0] + (" " + shown[2] if shown[2] else ""),
        f"{enqueued:.0f}/s", f"{drained:.0f}/s ({workers} worker{'s' if workers > 1 else ''})", f"{peak:.0f} MB",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("urls", nargs="*")
    given, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        print(f"disk: {syncs_a_second(Path(folder)):.0f} syncs of 4 kB a second; {given.count} messages of 1 kB\n")
        rows = [
            asyncio.run(one(url, given.count, given.workers)) for url in given.urls or [f"sqlite:///{folder}/outbox.db"]
        ]
    print(table(["engine", "enqueued in groups", "drained", "peak memory enqueueing"], rows))


if __name__ == "__main__":
    main()
