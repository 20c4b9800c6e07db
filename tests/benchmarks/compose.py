"""Composing: five workloads and a large file against nodemailer, PHPMailer, JavaMail and the stdlib, per CPU second.

    python tests/benchmarks/compose.py [--rounds 5] [--seconds 1] [--workload NAME ...]

Workloads named first-… take the first messages of a process, as a job run by cron does; the others a process that has
warmed up: just-in-time compilers need some thousand messages, and their threads' CPU seconds count.
Each figure counts everything from the user's values to the last octet, validation included. Every measurement is a fresh
process; a round measures each tool once, in turning order; ratios are taken within rounds. Where the peers are found:

    nodemailer   MAILWRIGHT_NODEMAILER: a folder whose node_modules holds it
    PHPMailer    MAILWRIGHT_PHPMAILER, or Debian's libphp-phpmailer, with php
    JavaMail     MAILWRIGHT_JAVAMAIL: a class path with its jar and activation's; or Debian's libmail-java; with a JDK
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from _pairs import interleaved, measure, ratio, table

PEERS = Path(__file__).parent / "peers"
TEXT = "Dear reader,\n\n" + "Lorem ipsum dolor sit amet, consectetur adipiscing elit.\n" * 5
TEXT_8 = "Liebe Leserin, lieber Leser,\n\n" + "Schöne Grüße aus Köln, und bis bald im Café am Fluß!\n" * 5
HTML = (
    '<!DOCTYPE html>\n<html lang="de"><head><meta charset="utf-8"></head>\n<body>\n'
    + "".join(
        f'<p style="margin: 0; color: #333">Zeile {n}: schöne Grüße, <a href="https://example.org/news?id={n}">mehr dazu</a> auf'
        " unserer Seite.</p>\n"
        for n in range(38)
    )
    + "</body></html>\n"
)
FILE = "file-200M"
WORKLOADS: dict[str, dict[str, Any]] = {
    "text-ascii": {"text": TEXT},
    "text-8bit": {"text": TEXT_8},
    "html-5k": {"text": TEXT, "html": HTML},
    "first-500-text": {"text": TEXT, "first": 500},
    "first-500-html": {"text": TEXT, "html": HTML, "first": 500},
    "attachment-1M": {"text": TEXT, "html": HTML, "size": 1 << 20},
    "attachment-25M": {"text": TEXT, "html": HTML, "size": 25 << 20},
    FILE: {"text": TEXT, "html": HTML},
}
OURS = ("mailwright", "mailwright-plain")
STREAMING = {*OURS, "nodemailer", "javamail"}
DEBIAN_JARS = ("javax.mail.jar", "javax.activation.jar", "activation.jar", "jakarta.activation.jar")


class Tool:
    """A command that reads work and prints figures."""

    def __init__(self, *command: str, lines: bool = False) -> None:
        self.command = command
        self._lines = lines

    def run(self, work: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Measure once."""
        given = {"text": "", "html": None, "size": 0, "file": None, "first": 0, **work}
        if self._lines:
            pairs = [(key, str(value).replace("\n", "\\n")) for key, value in given.items() if value]
            return measure([*self.command, str(seconds)], "\n".join(f"{key}\t{value}" for key, value in pairs))
        return measure([*self.command, str(seconds)], json.dumps(given))


def javamail(folder: Path) -> Tool | str:
    """Compile its peer once."""
    java = Path("/usr/share/java")
    jars = [str(java / name) for name in DEBIAN_JARS if (java / name).exists()]
    classpath = os.environ.get("MAILWRIGHT_JAVAMAIL") or os.pathsep.join(jars)
    if not shutil.which("javac") or "mail" not in classpath:
        return "needs a JDK and libmail-java"
    compiled = subprocess.run(
        ["javac", "-cp", classpath, "-d", str(folder), str(PEERS / "JavaMailCompose.java")],
        capture_output=True,
        text=True,
        check=False,
    )
    if compiled.returncode:
        return compiled.stderr.strip().splitlines()[-1]
    return Tool("java", "-cp", f"{classpath}{os.pathsep}{folder}", "JavaMailCompose", lines=True)


def tools(folder: Path) -> tuple[dict[str, Tool], dict[str, str]]:
    """The tools that are here, and why the others are not."""
    python = str(PEERS / "compose_python.py")
    found = {name: Tool(sys.executable, python, name) for name in (*OURS, "stdlib")}
    absent = {}
    if shutil.which("node") and os.environ.get("MAILWRIGHT_NODEMAILER"):
        found["nodemailer"] = Tool("node", str(PEERS / "nodemailer_compose.js"))
    else:
        absent["nodemailer"] = "needs node, and MAILWRIGHT_NODEMAILER"
    home = os.environ.setdefault("MAILWRIGHT_PHPMAILER", "/usr/share/php/libphp-phpmailer")
    if shutil.which("php") and Path(home, "src/PHPMailer.php").exists():
        found["phpmailer"] = Tool("php", str(PEERS / "phpmailer_compose.php"))
    else:
        absent["phpmailer"] = "needs php and libphp-phpmailer"
    java = javamail(folder)
    if isinstance(java, Tool):
        found["javamail"] = java
    else:
        absent["javamail"] = java
    return found, absent


@contextmanager
def given(workload: str, folder: Path) -> Iterator[dict[str, Any]]:
    """The work, with its file where it has one."""
    work = dict(WORKLOADS[workload])
    if workload != FILE:
        yield work
        return
    path = folder / "report.bin"
    with path.open("wb") as file:
        for _ in range(200):
            file.write(bytes(range(256)) * 4096)
    try:
        yield {**work, "file": str(path)}
    finally:
        path.unlink()


def takes_part(name: str, workload: str) -> bool:
    """Who streams takes the large file; pybase64 matters for attachments only."""
    if name == "mailwright-plain":
        return workload.startswith(("attachment", "file"))
    return workload != FILE or name in STREAMING


def report(workload: str, commands: dict[str, Tool], folder: Path, options: argparse.Namespace) -> str:
    """One table."""
    names = [name for name in commands if takes_part(name, workload)]
    ours = [name for name in names if name in OURS]
    with given(workload, folder) as work:
        rounds = interleaved(names, lambda name: commands[name].run(work, options.seconds), options.rounds)
    rows = [
        [
            name,
            f"{median(one[name]['rate'] for one in rounds):.{0 if rounds[0][name]['rate'] > 100 else 2}f}",
            *(ratio(rounds, mine, name) if mine != name else "" for mine in ours),
            str(rounds[-1][name]["octets"]),
            f"{max(one[name]['rss'] for one in rounds):.0f}",
        ]
        for name in names
    ]
    return table(["tool", "messages/CPU s", *(f"{mine} to it" for mine in ours), "octets", "peak RSS MiB"], rows)


def main() -> None:
    """Print a table per workload."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--workload", choices=WORKLOADS, action="append")
    options, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands, absent = tools(folder)
        for peer, reason in absent.items():
            print(f"absent: {peer} ({reason})")
        for workload in options.workload or WORKLOADS:
            print(f"\n{workload}\n\n{report(workload, commands, folder, options)}", flush=True)


if __name__ == "__main__":
    main()
