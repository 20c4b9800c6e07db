"""What a process of the outbox needs, and how it ends: memory, and SIGTERM in the middle of a message."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mailwright import Message, Outbox
from mailwright.testing import Fault, ScriptedServer

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="signals and RSS are POSIX"), pytest.mark.timeout(180)]
THROUGH = """
import asyncio, resource, sys
from pathlib import Path
from mailwright import Message, Outbox, Part
url, port, count, attachment = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
sink = {"provider": "smtp", "host": "127.0.0.1", "port": port, "tls": "none", "from": "me@example.org"}
async def main():
    parts = [Part(content=Path(name)) for name in attachment]
    async with Outbox(url, connection="sink", connections={"sink": sink}) as outbox:
        messages = (Message(to=f"r{n}@example.org", subject=str(n), text="t" * 1000, attachments=parts) for n in range(count))
        async for receipt in outbox.enqueue_many(messages):
            assert receipt.error is None, receipt.error
        async with outbox.worker():
            while (await outbox.stats()).get("sent", 0) < count:
                await asyncio.sleep(0.05)
asyncio.run(main())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1 << 20))
"""
WORK = """
import asyncio, signal, sys
from mailwright import Outbox, RetryPolicy
sink = {"provider": "smtp", "host": "127.0.0.1", "port": int(sys.argv[2]), "tls": "none", "from": "me@example.org",
        "timeouts": {"reply": 1}}
async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Outbox(sys.argv[1], connections={"sink": sink}) as outbox:
        await outbox.work(stop=stop)
asyncio.run(main())
"""


async def _peak(folder: Path, name: str, count: int, *attachment: Path) -> float:
    async with ScriptedServer(on_message=lambda message: server.messages.clear(), record_limit=0) as server:
        command = [sys.executable, "-c", THROUGH, f"sqlite:///{folder}/{name}.db", str(server.port), str(count)]
        child = await asyncio.create_subprocess_exec(*command, *map(str, attachment), stdout=subprocess.PIPE)
        said, _ = await child.communicate()
    assert child.returncode == 0
    return float(said)


async def test_q09_memory_does_not_grow_with_the_number_of_messages(tmp_path: Path) -> None:
    few, many = await _peak(tmp_path, "few", 300), await _peak(tmp_path, "many", 3000)
    assert many < few + 8


async def test_q09_a_large_attachment_is_streamed(tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        file.truncate(96 << 20)
    plain, with_it = await _peak(tmp_path, "plain", 3), await _peak(tmp_path, "large", 1, large)
    assert with_it < plain + 32


@pytest.mark.parametrize(
    ("fault", "expected"), [(None, "sent"), ("accept-hang", "unknown"), ("drop", "queued")]
)  # after SIGTERM in the middle of a message: it finishes, or its outcome is in doubt, or it waits for the next worker
async def test_q10_sigterm_in_the_middle_of_a_message(tmp_path: Path, fault: Any, expected: str) -> None:
    url = f"sqlite:///{tmp_path}/outbox.db"
    child: list[subprocess.Popen[bytes]] = []

    def terminate(about: str) -> None:
        child[0].send_signal(signal.SIGTERM)

    faults = [] if fault is None else [Fault(stage="final", kind=fault)]
    async with ScriptedServer(faults=faults, replies={"data": terminate}) as server:
        sink = {"provider": "smtp", "host": "127.0.0.1", "port": server.port, "tls": "none", "from": "me@example.org"}
        async with Outbox(url, connection="sink", connections={"sink": sink}) as outbox:
            queued = await outbox.enqueue(
                Message(to="ann@example.org", subject="s", text="t"),
                on_unknown="hold" if expected == "unknown" else "retry",
            )
            child.append(subprocess.Popen([sys.executable, "-c", WORK, url, str(server.port)]))
            assert await asyncio.to_thread(child[0].wait, 60) == 0
            assert queued.job_id is not None
            job = await outbox.job(queued.job_id)
    assert job is not None
    assert (job.state, job.attempts) == (expected, 1), job.reason
    assert json.loads(job.result)["v"] == 1
