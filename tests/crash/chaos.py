"""Kills enqueuers, workers and engines' servers until there is no doubt. ``python chaos.py [KILLS] [ENGINE ...]``.

ENGINE: sqlite, postgresql, pgqueuer, amqp; default: all that are here. Servers are private ones, made for the run.

What `enqueue` has returned for must arrive; what arrives twice must have been on its way when something was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from mailwright import Message
from mailwright.testing import Fault, ScriptedServer

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import actors  # noqa: E402 - beside this file
import servers  # noqa: E402


@define
class Figures:
    """What a run came to."""

    accepted: int = 0
    lost: int = 0
    repeated: int = 0
    copies: int = 0
    too_often: int = 0
    kills: Counter[str] = field(factory=Counter)
    dropped: int = 0
    seconds: float = 0.0

    @property
    def killed(self) -> int:
        return sum(count for name, count in self.kills.items() if not name.startswith(("SIGSTOP", "exit", "server")))

    def __str__(self) -> str:
        kills = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        return (
            f"{self.killed} kills ({kills}); accepted {self.accepted}, lost {self.lost}; arrived more than once "
            f"{self.repeated} (one more than there were tries: {self.too_often}); "
            f"answers lost by the server {self.dropped}; {self.seconds:.0f} s"
        )


@define
class Chaos:
    """One run.

    Args:
        url: The outbox.
        folder: For files.
        kills: How many at least.
        dice: Chance.
        servers: Of the engine; one of them is killed and started again now and then.
        server_chance: How often.
    """

    url: str
    folder: Path
    kills: int
    dice: random.Random = field(factory=random.Random)
    servers: Sequence[Any] = ()
    server_chance: float = 0.05
    figures: Figures = field(factory=Figures)
    next_number: int = 0

    @property
    def accepted(self) -> Path:
        return self.folder / "accepted"

    def start(self, port: int, *arguments: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(HERE / "actors.py"), arguments[0], self.url, port, *arguments[1:]]
        with (self.folder / "errors").open("ab") as errors:
            return subprocess.Popen([str(item) for item in command], stderr=errors, stdout=errors)

    def worker(self, port: int, point: str = "none", chance: float = 0.0) -> subprocess.Popen[bytes]:
        return self.start(port, "work", point, chance)

    async def run(self) -> Figures:
        started = time.monotonic()
        faults = [Fault(stage="final", kind="accept-drop", times=20)]
        async with ScriptedServer(faults=faults, record_limit=0) as server:
            await self._storm(server.port)
            await self._calm(server)
            await self._judge(server)
        self.figures.seconds = time.monotonic() - started
        return self.figures

    async def _storm(self, port: int) -> None:
        points = list(actors.POINTS)
        workers = [self._fresh(port, points) for _ in range(2)]
        writer = self._writer(port)
        try:
            while self.figures.killed < self.kills:
                await asyncio.sleep(self.dice.uniform(0.3, 0.9))
                for index, (point, process) in enumerate(workers):
                    if process.poll() is not None:
                        self.figures.kills[point if process.returncode == -9 else f"exit {process.returncode}"] += 1
                        workers[index] = self._fresh(port, points)
                if writer.poll() is not None:
                    writer = self._writer(port)
                await self._strike(workers, writer)
        finally:
            for _, process in workers:
                process.kill()
                process.wait()
            writer.kill()
            writer.wait()

    async def _strike(self, workers: list[tuple[str, Any]], writer: subprocess.Popen[bytes]) -> None:
        """One at random: an enqueuer or a worker dies, or a worker is stopped for longer than its lease."""
        choice = self.dice.random()
        if choice < 0.35:
            writer.kill()
            writer.wait()
            self.figures.kills["enqueuer at random"] += 1
        elif choice < 0.7:
            self.dice.choice(workers)[1].kill()
        elif choice < 0.8:
            process = self.dice.choice(workers)[1]
            if process.poll() is None:
                process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(1.6 * actors.LEASE_S)
                process.send_signal(signal.SIGCONT)
                self.figures.kills["SIGSTOP past the lease"] += 1
        if self.servers and self.dice.random() < self.server_chance:
            await self._restart(self.dice.choice(self.servers))

    async def _restart(self, server: Any) -> None:
        server.kill()
        await asyncio.sleep(self.dice.uniform(0, 1.5))
        await asyncio.to_thread(server.start)
        self.figures.kills[f"server {type(server).__name__} killed and restarted"] += 1

    def _fresh(self, port: int, points: list[str]) -> tuple[str, subprocess.Popen[bytes]]:
        point = self.dice.choice(points)
        return ("worker at random" if point == "none" else point), self.worker(port, point, 0.05)

    def _writer(self, port: int) -> subprocess.Popen[bytes]:
        first, self.next_number = self.next_number, self.next_number + 400
        return self.start(port, "enqueue", self.accepted, first, self.next_number)

    async def _calm(self, server: ScriptedServer) -> None:
        """Nobody is killed any more: everything must end."""
        process = self.worker(server.port)
        try:
            async with actors.outbox(self.url, server.port) as box:
                async with asyncio.timeout(120):
                    last = await box.enqueue(Message(to="last@example.org", subject="last", text="t"))
                    assert last.job_id is not None
                    await box.wait(last.job_id)  # the worker is up: from here on SIGTERM drains
                    while True:
                        found = await box.stats()
                        if not any(found.get(state) for state in ("queued", "scheduled", "sending", "unknown")):
                            break
                        await asyncio.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, 30)
            assert process.returncode == 0, (self.folder / "errors").read_text()[-3000:]
        finally:
            process.kill()
            process.wait()

    async def _judge(self, server: ScriptedServer) -> None:
        arrived = Counter(_message_id(message.raw) for message in server.messages)
        accepted = [line.split() for line in self.accepted.read_text().splitlines() if line.count(" ") == 2]
        figures = self.figures
        figures.accepted = len(accepted)
        figures.lost = sum(1 for _, _, message_id in accepted if not arrived[message_id])
        figures.repeated = sum(1 for count in arrived.values() if count > 1)
        figures.copies = sum(count - 1 for count in arrived.values() if count > 1)
        figures.dropped = 20
        async with actors.outbox(self.url, server.port) as box:
            for _, job_id, message_id in accepted:
                job = await box.job(job_id)
                assert job is not None
                assert job.state == "sent", (job.state, job.reason)
                figures.too_often += arrived[message_id] > job.attempts


def _message_id(raw: bytes) -> str:
    head = raw.partition(b"\r\n\r\n")[0]
    return next(line[12:].decode() for line in head.split(b"\r\n") if line.startswith(b"Message-ID: "))


def storm(name: str, kills: int) -> bool:
    """One run; whether a promise was broken."""
    with tempfile.TemporaryDirectory() as folder:
        url, running = servers.engine(name, Path(folder)) if "://" not in name else (name, [])
        try:
            figures = asyncio.run(Chaos(url=url, folder=Path(folder), kills=kills, servers=running).run())
        finally:
            for server in running:
                server.kill()
        print(f"{name.partition(':')[0]} - {figures}", flush=True)
    return bool(
        figures.lost or figures.too_often or figures.copies > figures.dropped + 9 * actors.CONCURRENCY * figures.killed
    )


def main() -> None:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    broken = False
    for name in sys.argv[2:] or servers.ENGINES:
        if needs := servers.missing(name):
            if os.environ.get("MAILWRIGHT_REQUIRE_SERVICES") == "1":
                sys.exit(f"{name}: {needs} not found")
            print(f"{name} - left out: {needs} not found")
            continue
        broken |= storm(name, kills)
    sys.exit(broken)


if __name__ == "__main__":
    main()
