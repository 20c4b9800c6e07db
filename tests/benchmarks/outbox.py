"""The outbox on each engine: enqueueing in groups, draining to a sink, the engine alone with no-op jobs, peak memory.

    python tests/benchmarks/outbox.py [ENGINE or URL ...] [--count N] [--workers N ...] [--only-enqueue]

ENGINE: sqlite, postgresql, pgqueuer, amqp; default: all that are here, on servers made for the run. The sink is a process on this
machine, as are workers and servers: a rate is that of all together. "CPU" is that of all workers, for a message. Sending and the engine
alone take turns, and "share of it" is the median of the pairs: other work on the machine disturbs both alike.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from _pairs import table

from mailwright import Message, Outbox
from mailwright.outbox.places import masked

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "crash"))
import servers  # noqa: E402 - of the crash suite

SESSIONS = 10
ROUNDS = 3
WORK = """
import asyncio, json, resource, sys, time
from mailwright import Outbox
async def main():
    global began
    saved = {"sink": {"provider": "smtp", "host": "127.0.0.1", "port": int(sys.argv[2]), "tls": "none",
                      "limits": {"connections": int(sys.argv[3])}}}
    async with Outbox(sys.argv[1], connections=saved) as outbox:
        began = time.time()
        async with outbox.worker(concurrency=40):
            while (await outbox.stats())["due"] or (await outbox.stats()).get("sending"):
                await asyncio.sleep(0.1)
asyncio.run(main())
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([began, time.time(), used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""
NOOP = """
import asyncio, json, sys, time
from mailwright import Registry
from mailwright.outbox.places import open_dispatcher, open_ledger
from mailwright.spi import Verdict
from mailwright.system import SystemClock
async def main():
    registry, clock, stop = Registry(), SystemClock(), asyncio.Event()
    ledger = await open_ledger(sys.argv[1], registry, clock)
    dispatcher = await open_dispatcher(sys.argv[1], ledger, registry, clock)
    global began
    began = time.time()
    async def run(claim):
        await ledger.record(claim, Verdict(state="sent", drop=True))
    async def watch():
        while (await ledger.stats())["due"]:
            await asyncio.sleep(0.1)
        stop.set()
    await asyncio.gather(watch(), dispatcher.work(run, concurrency=40, lease_s=60, stop=stop))
    await dispatcher.aclose()
    await ledger.aclose()
asyncio.run(main())
print(json.dumps([began, time.time(), 0, 0]))
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


async def fill(url: str, count: int, port: int) -> float:
    """Enqueue so many; how many a second."""
    saved = {"sink": {"provider": "smtp", "host": "127.0.0.1", "port": port, "tls": "none"}}
    async with Outbox(url, connection="sink", connections=saved) as outbox:
        await outbox.migrate()
        messages = (
            Message(from_="me@example.org", to=f"r{n}@example.org", subject=str(n), text="t" * 1000)
            for n in range(count)
        )
        started = time.perf_counter()
        async for _ in outbox.enqueue_many(messages):
            pass
        return count / (time.perf_counter() - started)


async def run(code: str, workers: int, *arguments: object) -> tuple[float, float, float]:
    """Worker processes until all is done: seconds without their start, their CPU, and the most memory one had."""
    command = [sys.executable, "-c", code, *(str(argument) for argument in arguments)]
    processes = [await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE) for _ in range(workers)]
    said = [(await process.communicate())[0] for process in processes]
    assert all(process.returncode == 0 for process in processes)
    began, ended, cpu, memory = zip(*(json.loads(line) for line in said), strict=True)
    return max(ended) - min(began), sum(cpu), max(memory)


async def enqueued_only(name: str, url: str, count: int) -> list[str]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = await fill(url, count, 1)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = (used.ru_utime + used.ru_stime) / count * 1e3
    return [name, str(count), f"{rate:.0f}/s", f"{cpu:.2f} ms", f"{before:.0f} → {used.ru_maxrss / 1024:.0f} MB"]


async def one(name: str, url: str, count: int, workers: int) -> list[str]:
    sink = subprocess.Popen(
        [sys.executable, str(HERE / "_sink.py"), "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert sink.stdout is not None
    port = int(sink.stdout.readline())
    try:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        part = count // ROUNDS
        enqueued, sent, alone = list[float](), list[tuple[float, float, float]](), list[float]()
        for _ in range(ROUNDS):
            enqueued.append(await fill(url, part, port))
            sent.append(await run(WORK, workers, url, port, SESSIONS * workers))
            enqueued.append(await fill(url, part, port))
            alone.append((await run(NOOP, workers, url))[0])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    finally:
        sink.terminate()
        sink.wait()
    seconds, cpu, memory = zip(*sent, strict=True)
    shares = [noop / whole for whole, noop in zip(seconds, alone, strict=True)]
    return [
        name, str(workers), f"{median(enqueued):.0f}/s", f"{part / median(seconds):.0f}/s",
        f"{sum(cpu) / part / ROUNDS * 1e3:.2f} ms", f"{part / median(alone):.0f}/s", f"{median(shares):.2f}",
        f"{before:.0f} → {peak:.0f} MB", f"{max(memory):.0f} MB",
    ]  # fmt: skip


def measured(name: str, count: int, workers: int, *only: str) -> list[str]:
    """One row: in a process of its own, so that peaks are its own."""
    with tempfile.TemporaryDirectory() as folder:
        url, running = (name, []) if "://" in name else servers.engine(name, Path(folder))
        try:
            options = ["--row", masked(name), "--count", str(count), "--workers", str(workers)]
            command = [sys.executable, __file__, url, *options, *only]
            return list(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
        finally:
            for server in running:
                server.kill()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only-enqueue", action="store_true")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("engines", nargs="*")
    given, _ = parser.parse_known_args()
    if given.row and given.only_enqueue:
        print(json.dumps(asyncio.run(enqueued_only(given.row, given.engines[0], given.count))))
        return
    if given.row:
        print(json.dumps(asyncio.run(one(given.row, given.engines[0], given.count, given.workers[0]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(f"disk: {syncs_a_second(Path(folder)):.0f} syncs of 4 kB a second; {given.count} messages of 1 kB\n")
    rows = []
    for name in given.engines or servers.ENGINES:
        if "://" not in name and (needs := servers.missing(name)):
            print(f"{name}: left out, {needs} not found")
            continue
        if given.only_enqueue:
            rows += [measured(name, count, 1, "--only-enqueue") for count in (given.count // 10, given.count)]
        else:
            rows += [measured(name, given.count, workers) for workers in given.workers]
    head = [
        "engine", "workers", "enqueued in groups", "drained to a sink", "CPU", "engine alone, no-op", "share of it",
        "memory while enqueueing", "of a worker",
    ]  # fmt: skip
    if given.only_enqueue:
        head = ["engine", "messages", "enqueued in groups", "CPU", "memory"]
    print(table(head, rows))


if __name__ == "__main__":
    main()
