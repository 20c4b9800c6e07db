"""What `nox -s bench` runs: start-up cost, composing. Peers are measured in the same run where they are installed.

Set MAILWRIGHT_NODEMAILER to a folder whose node_modules holds nodemailer to compare with it.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent


def cpu_ms(statement: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def compare(name: str, ours: str, reference: str, rounds: int = 15) -> None:
    pairs = [(cpu_ms(ours), cpu_ms(reference)) for _ in range(rounds)]
    mine, theirs = (median(column) for column in zip(*pairs, strict=True))
    print(f"{name}: {mine:.0f} ms CPU, reference {theirs:.0f} ms, ratio {median(a / b for a, b in pairs):.2f}")


def main() -> None:
    compare("from mailwright import Mailer, Message", "from mailwright import Mailer, Message", "import aiosmtplib")
    help_ = "import sys; sys.argv = ['mailwright', '--help']; from mailwright.cli import main; main()"
    compare("mailwright --help", help_, "import typer, rich.console")
    subprocess.run([sys.executable, str(HERE / "compose.py"), *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
