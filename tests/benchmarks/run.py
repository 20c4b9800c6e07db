"""What `nox -s bench` runs: every suite of this folder, each a script that prints Markdown tables.

    python tests/benchmarks/run.py [SUITE ...] [options handed to each suite]

A suite is a file beside this one whose name has no leading underscore. Peers are measured in the same run where they are
installed and named where they are absent.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FIRST = ("imports", "compose", "smtp")


def suites() -> list[str]:
    """Names of the suites, the well-known ones first."""
    found = sorted(path.stem for path in HERE.glob("*.py") if path.stem != "run" and not path.stem.startswith("_"))
    return sorted(found, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))


def main() -> None:
    """Run the suites that are asked for; all of them where none is named."""
    known = suites()
    asked = [argument for argument in sys.argv[1:] if argument in known]
    options = [argument for argument in sys.argv[1:] if argument not in known]
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"
    )
    for name in asked or known:
        print(f"\n## {name}", flush=True)
        subprocess.run([sys.executable, str(HERE / f"{name}.py"), *options], check=True)


if __name__ == "__main__":
    main()
