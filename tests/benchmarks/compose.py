"""Compose five workloads against nodemailer and the stdlib: interleaved pairs, messages per CPU second.

    MAILWRIGHT_NODEMAILER=/path/with/node_modules python tests/benchmarks/compose.py [--rounds 5] [--seconds 1]

Each figure counts everything from the user's values to the last octet. Every run is a fresh process; a round runs each
tool once, in turning order; ratios are taken within rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

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
WORKLOADS: dict[str, tuple[str, str | None]] = {
    "text-ascii": (TEXT, None),
    "text-8bit": (TEXT_8, None),
    "html-5k": (TEXT, HTML),
    "attachment-1M": (TEXT, HTML),
    "attachment-25M": (TEXT, HTML),
}


def tools() -> dict[str, list[str]]:
    """Commands of the tools that are there, each to be followed by the seconds."""
    found = {name: [sys.executable, str(PEERS / "compose_python.py"), name] for name in ("mailwright", "stdlib")}
    node = shutil.which("node")
    if node and os.environ.get("MAILWRIGHT_NODEMAILER"):
        found["nodemailer"] = [node, str(PEERS / "nodemailer_compose.js")]
    return found


def run(command: list[str], workload: str, seconds: float) -> dict[str, Any]:
    """One run of one tool."""
    text, html = WORKLOADS[workload]
    given = json.dumps({"workload": workload, "text": text, "html": html})
    done = subprocess.run([*command, str(seconds)], input=given, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    """Print a table per workload."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--workload", choices=WORKLOADS, action="append")
    options = parser.parse_args()
    commands = tools()
    names = list(commands)
    for workload in options.workload or WORKLOADS:
        rounds = []
        for number in range(options.rounds):
            turn = names[number % len(names) :] + names[: number % len(names)]
            rounds.append({name: run(commands[name], workload, options.seconds) for name in turn})
        print(
            f"\n{workload}\n{'tool':<12}{'msgs/CPU s':>12}{'mailwright is':>16}{'(spread)':>18}{'octets':>10}{'RSS MiB':>9}"
        )
        for name in names:
            rates = [one[name]["rate"] for one in rounds]
            ratios = sorted(one["mailwright"]["rate"] / one[name]["rate"] for one in rounds)
            last = rounds[-1][name]
            spread = f"{ratios[0]:.1f}..{ratios[-1]:.1f}"
            print(
                f"{name:<12}{median(rates):>12.1f}{median(ratios):>15.2f}x{spread:>18}"
                f"{last['octets']:>10}{max(one[name]['rss'] for one in rounds):>9.0f}"
            )


if __name__ == "__main__":
    main()
