"""Sending over SMTP: nodemailer's pool, aiosmtplib and postfix's smtp-source in the same rounds.

    python tests/benchmarks/smtp.py [--rounds 5] [--workload NAME ...]

The server is postfix's smtp-sink where it is installed, else a sink of our own; with latency always our own, which delays
every reply. Rates are messages a second of wall time: client and server share the machine. CPU is the client's own. Work is
a process's first messages, after two for each session; *warm* it has sent as many as are measured, or more, before: that
matters to just-in-time compilers. nodemailer is found by MAILWRIGHT_NODEMAILER, a folder whose node_modules holds it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from _pairs import interleaved, measure, ratio, table

HERE = Path(__file__).parent
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
RAW = (
    "From: me@example.org\r\nTo: you@example.net\r\nSubject: Hello\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n"
    "Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
)
RAW += "Lorem ipsum dolor sit amet, consectetur adipiscing elit.\r\n" * ((1000 - len(RAW)) // 58)
TEXT = "Dear reader,\n\n" + "Lorem ipsum dolor sit amet, consectetur adipiscing elit.\n" * 5
HTML = "<p>Dear reader,</p>" + "<p>Lorem ipsum dolor sit amet, <b>consectetur</b> adipiscing elit.</p>\n" * 5
CHUNKING = {"extensions": ["PIPELINING", "CHUNKING", "8BITMIME"], "on_unknown": "retry", "at_once": 16}
"""Work that may be sent again where its outcome is unknown, at a server that takes whole messages in chunks."""
ONE_BODY = frozenset({"smtp-source", "bare pipelining"})
"""What sends one body again and again: a program in C, and the ceiling of what asyncio can do."""
WORKLOADS: dict[str, dict[str, Any]] = {
    "send 1 kB, 10 sessions": {"count": 4000, "sessions": 10},
    "send 1 kB, 10 sessions, warm": {"count": 4000, "sessions": 10, "warm": 8000},
    "send 1 kB, one session": {"count": 2000, "sessions": 1},
    "send 1 kB, one session, 20 ms": {"count": 100, "sessions": 1, "delay": 20},
    "send 1 kB, one session, 20 ms, CHUNKING": {"count": 200, "sessions": 1, "delay": 20, **CHUNKING},
    "bulk: 10 000 distinct, 10 sessions": {"count": 10000, "sessions": 10, "distinct": True},
    "bulk: 10 000 distinct, 10 sessions, warm": {"count": 10000, "sessions": 10, "distinct": True, "warm": 10000},
}


@contextlib.contextmanager
def sink(delay: int, extensions: Sequence[str] = ()) -> Iterator[int]:
    """A server's port."""
    fast = shutil.which("smtp-sink", path=PATH)
    if fast and not delay and not extensions:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        command = [fast, *user, f"127.0.0.1:{port}", "1000"]
    else:
        command = [sys.executable, str(HERE / "_sink.py"), str(delay), *extensions]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        if command[0] != fast:
            port = int(server.stdout.readline())
        try:
            _reachable(port)
            yield port
        finally:
            server.kill()


def _reachable(port: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    msg = "the sink does not answer"
    raise SystemExit(msg)


def source(work: dict[str, Any]) -> dict[str, Any]:
    """Postfix's own load generator; its CPU time is that of the child."""
    command = [
        str(shutil.which("smtp-source", path=PATH)), "-s", str(work["sessions"]), "-m", str(work["count"]), "-l", "1000",
        "-f", "me@example.org", "-t", "you@example.net", "-d", f"127.0.0.1:{work['port']}",
    ]  # fmt: skip
    start, before = time.perf_counter(), os.times().children_user + os.times().children_system
    subprocess.run(command, check=True, capture_output=True)
    seconds, used = time.perf_counter() - start, os.times().children_user + os.times().children_system - before
    return {"rate": work["count"] / seconds, "cpu": used / work["count"] * 1e6, "rss": 0}


def tools() -> tuple[dict[str, Any], dict[str, str]]:
    """What is here, and why the others are not."""
    python = [sys.executable, str(HERE / "peers" / "send_python.py")]
    found: dict[str, Any] = {"mailwright": [*python, "mailwright"]}
    if importlib.util.find_spec("uvloop"):
        found["mailwright, uvloop"] = [*python, "mailwright-uvloop"]
    found["aiosmtplib"] = [*python, "aiosmtplib"]
    absent = {}
    if shutil.which("node") and os.environ.get("MAILWRIGHT_NODEMAILER"):
        found["nodemailer pool"] = ["node", str(HERE / "peers" / "nodemailer_send.js")]
    else:
        absent["nodemailer pool"] = "needs node, and MAILWRIGHT_NODEMAILER"
    if shutil.which("smtp-source", path=PATH):
        found["smtp-source"] = source
    else:
        absent["smtp-source"] = "needs postfix"
    found["bare pipelining"] = [sys.executable, str(HERE / "peers" / "send_bare.py")]
    return found, absent


def report(name: str, commands: dict[str, Any], rounds: int) -> str:
    """One table."""
    work = {"distinct": False, "raw": RAW, "text": TEXT, "html": HTML, "delay": 0, **WORKLOADS[name]}
    taking_part = [tool for tool in commands if not (work["distinct"] and tool in ONE_BODY)]

    def one(tool: str) -> dict[str, Any]:
        with sink(work["delay"], work.get("extensions", ())) as port:
            command = commands[tool]
            given = {**work, "port": port}
            return command(given) if callable(command) else measure(command, json.dumps(given))

    measured = interleaved(taking_part, one, rounds)
    rivals = [tool for tool in taking_part if not tool.startswith("mailwright")]
    rows = []
    for tool in taking_part:
        ours = tool.startswith("mailwright")
        ratios = [ratio(measured, tool, rival) if ours else "" for rival in rivals]
        ratios += [ratio(measured, rival, tool, "cpu") if ours else "" for rival in rivals]
        figures = [median(each[tool][figure] for each in measured) for figure in ("rate", "cpu", "rss")]
        rows.append(
            [tool, f"{figures[0]:.0f}", f"{figures[1]:.0f}", f"{figures[2]:.0f}" if figures[2] else "", *ratios]
        )
    head = [name, "messages/s", "CPU µs each", "peak MiB", *(f"to {rival}" for rival in rivals)]
    head += [f"CPU of {rival}" for rival in rivals]
    return table(head, rows)


def main() -> None:
    """Print a table for each workload."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workload", action="append", choices=WORKLOADS)
    options, _ = parser.parse_known_args()
    commands, absent = tools()
    for name in options.workload or WORKLOADS:
        print(f"\n{report(name, commands, options.rounds)}", flush=True)
    for name, reason in absent.items():
        print(f"\nabsent: {name} ({reason})")


if __name__ == "__main__":
    main()
