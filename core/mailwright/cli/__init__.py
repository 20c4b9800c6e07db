"""The command line. Each command calls one public function; what it needs is imported inside it."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of ``mailwright``."""
    try:
        from mailwright.cli.app import app  # noqa: PLC0415 - typer and rich are an extra
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich", "click"}:
            raise
        sys.stderr.write('The command line needs an extra: pip install "mailwright[cli]"\n')
        sys.exit(2)
    app()
