"""Start-up cost: CPU time of fresh processes, in interleaved pairs with what they are measured against."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

from _pairs import interleaved, ratio, table

HELP = "import sys; sys.argv = ['mailwright', '--help']; from mailwright.cli import main; main()"
ROWS = {
    "from mailwright import Mailer, Message": ("from mailwright import Mailer, Message", "import aiosmtplib"),
    "mailwright --help": (HELP, "import typer, rich.console"),
}


def cpu_ms(statement: str) -> dict[str, float]:
    """CPU time of a process that runs one statement."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"ms": (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    options, _ = parser.parse_known_args()
    rows = []
    for name, (ours, reference) in ROWS.items():
        statements = {"ours": ours, "reference": reference}
        rounds = interleaved(["ours", "reference"], lambda tool, both=statements: cpu_ms(both[tool]), options.rounds)
        mine, theirs = (sorted(one[tool]["ms"] for one in rounds)[len(rounds) // 2] for tool in statements)
        rows.append([name, f"{mine:.0f}", f"`{reference}`", f"{theirs:.0f}", ratio(rounds, "ours", "reference", "ms")])
    print(table(["what", "CPU ms", "reference", "CPU ms", "ratio"], rows))


if __name__ == "__main__":
    main()
