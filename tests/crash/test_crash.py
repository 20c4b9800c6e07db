"""The short form of the crash suite; the long one is ``nox -s crash``. And two workers on what might be two machines."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest

from mailwright import Message
from mailwright.testing import ScriptedServer

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and SIGSTOP are POSIX"),
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]
NEEDED = {
    "sqlite": (),
    "postgresql": ("mailwright_pgqueuer",),
    "pgqueuer": ("mailwright_pgqueuer", "pgqueuer"),
    "amqp": ("mailwright_pgqueuer", "mailwright_taskiq"),
}


def _chaos() -> ModuleType:
    if "chaos" in sys.modules:
        return sys.modules["chaos"]
    spec = importlib.util.spec_from_file_location("chaos", Path(__file__).with_name("chaos.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["chaos"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _here(name: str) -> str:
    """The engine, if all it needs is here."""
    for module in NEEDED[name]:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    if needs := _chaos().servers.missing(name):
        if os.environ.get("MAILWRIGHT_REQUIRE_SERVICES") == "1":
            pytest.fail(f"{needs} not found")
        pytest.skip(f"{needs} not found")
    return name


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One that the user postgres may pass through."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.parametrize("engine", NEEDED)
async def test_q01_q05_kill_and_stop_lose_nothing_and_repeat_only_what_was_on_its_way(
    folder: Path, engine: str
) -> None:
    chaos = _chaos()
    url, running = await asyncio.to_thread(chaos.servers.engine, _here(engine), folder)
    try:
        figures = await chaos.Chaos(url=url, folder=folder, kills=6, servers=running, server_chance=0.2).run()
    finally:
        for server in running:
            server.kill()
    print(figures)
    assert figures.accepted > 10
    assert (figures.lost, figures.too_often) == (0, 0)


@pytest.mark.parametrize("engine", ["postgresql", "amqp"])
async def test_workers_in_processes_and_folders_of_their_own_share_the_work(folder: Path, engine: str) -> None:
    chaos = _chaos()
    url, running = await asyncio.to_thread(chaos.servers.engine, _here(engine), folder)
    with ExitStack() as stack:
        for server in running:
            stack.callback(server.kill)
        async with ScriptedServer() as sink:
            workers = [_host(folder / name, url, sink.port, stack) for name in ("north", "south")]
            sent = await _until_both_work(chaos, url, sink)
            for worker in workers:
                worker.terminate()
                assert await asyncio.to_thread(worker.wait, 30) == 0
    arrived = [line for message in sink.messages for line in message.raw.split(b"\r\n") if line.startswith(b"Subject:")]
    assert sorted(arrived) == sorted(b"Subject: %d" % number for number in range(sent))  # each once


@pytest.mark.parametrize("engine", ["postgresql", "pgqueuer", "amqp"])
async def test_a_worker_outlives_its_database(folder: Path, engine: str) -> None:
    chaos = _chaos()
    url, running = await asyncio.to_thread(chaos.servers.engine, _here(engine), folder)
    with ExitStack() as stack:
        for server in running:
            stack.callback(server.kill)
        async with ScriptedServer() as sink:
            worker = _host(folder / "north", url, sink.port, stack)
            for number in range(2):
                async with asyncio.timeout(60), chaos.actors.outbox(url, sink.port) as box:
                    job = await box.enqueue(Message(to="ann@example.org", subject=str(number), text="t"))
                    receipt = await box.wait(job.job_id, every_s=0.05)
                assert receipt is not None
                assert receipt.status == "sent"
                running[0].kill()
                await asyncio.to_thread(running[0].start)
            worker.terminate()
            assert await asyncio.to_thread(worker.wait, 30) == 0  # the same process all the time
    assert len(sink.messages) == 2


def _host(folder: Path, url: str, port: int, stack: ExitStack) -> subprocess.Popen[bytes]:
    folder.mkdir()
    actors = Path(__file__).with_name("actors.py")
    environment = os.environ | {"HOME": str(folder), "XDG_STATE_HOME": str(folder), "CRASH_HOST": f"{folder.name}.test"}
    process = subprocess.Popen(
        [sys.executable, str(actors), "work", url, str(port), "none", "0"], cwd=folder, env=environment
    )
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


async def _until_both_work(chaos: ModuleType, url: str, sink: ScriptedServer) -> int:
    sent = 0
    async with asyncio.timeout(90), chaos.actors.outbox(url, sink.port) as box:
        while not {"EHLO north.test", "EHLO south.test"} <= {line for said in sink.commands for line in said}:
            jobs = [
                await box.enqueue(Message(to="ann@example.org", subject=str(sent + n), text="t")) for n in range(20)
            ]
            sent += len(jobs)
            for job in jobs:
                receipt = await box.wait(job.job_id, every_s=0.05)
                assert receipt is not None
                assert receipt.status == "sent"
    return sent
