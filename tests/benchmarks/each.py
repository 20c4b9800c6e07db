"""`mailwright send NODE --each`: rate and peak memory of a bulk run, and what the resumed run does after kill -9.

The server is a Python process on this machine, so the rate is that of both together.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from _pairs import table

from mailwright.testing import ScriptedServer

COMMAND = (
    sys.executable,
    "-c",
    "from mailwright.cli import main; main()",
    "send",
    "node.json",
    "--each",
    "rows.csv",
    "--json",
)
_ROW = re.compile(rb"^Subject: row (\d+)", re.MULTILINE)


class Run:
    """One server, one folder; which rows arrived, and how often."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.count = count
        self.arrived: Counter[int] = Counter()
        self.victim: int | None = None

    def took(self, message: object) -> None:
        self.arrived[int(_ROW.search(message.raw)[1])] += 1
        self.server.messages.clear()
        if self.victim is not None and len(self.arrived) == self.count // 2:
            os.kill(self.victim, signal.SIGKILL)
            self.victim = None

    async def mailwright(self, *options: str, kill: bool = False) -> dict[str, object]:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, *options, cwd=self.folder, stdout=asyncio.subprocess.PIPE
        )
        self.victim = process.pid if kill else None
        out, _ = await process.communicate()
        return json.loads(out) if out else {}

    async def run(self) -> list[list[str]]:
        self.server = ScriptedServer(record_limit=0, on_message=self.took)
        async with self.server:
            connection = {"provider": "smtp", "host": self.server.host, "port": self.server.port, "tls": "none"}
            node = {"connection": connection, "from": "shop@example.org", "to": "{{ input.email }}",
                    "subject": "row {{ input.id }}", "content": "<p>Hello {{ input.name }}, thank you.</p>"}  # fmt: skip
            (self.folder / "node.json").write_text(json.dumps(node))
            rows = (f"{n},n{n}@example.org,Name {n}\n" for n in range(1, self.count + 1))
            (self.folder / "rows.csv").write_text("id,email,name\n" + "".join(rows))
            whole = await self.mailwright("--receipts", "whole.jsonl")
            memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            self.arrived.clear()
            await self.mailwright(kill=True)
            at_kill = len(self.arrived)
            resumed = await self.mailwright("--resume")
        missing = set(range(1, self.count + 1)) - self.arrived.keys() - set(resumed["inFlight"])
        twice = sum(times > 1 for times in self.arrived.values())
        rate = whole["rows"] / whole["seconds"]
        return [
            ["uninterrupted", str(whole["sent"]), f"{rate:.0f}", f"{memory:.0f} MB", "", "", ""],
            [f"killed at {at_kill}, resumed", str(resumed["sent"]), f"{resumed['sent'] / resumed['seconds']:.0f}", "",
             str(len(resumed["inFlight"])), str(twice), str(len(missing))],
        ]  # fmt: skip


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    options, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(Run(Path(folder), options.rows).run())
    print(table(["run", "sent", "rows/s", "peak RSS", "unknown", "twice", "lost"], rows))


if __name__ == "__main__":
    main()
