"""`mailwright sandbox`: a development inbox."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Never

from rich.console import Console

from mailwright.cli.output import DELIVERED
from mailwright.errors import ConfigurationError
from mailwright.testing import Sandbox


def run(port: int, folder: Path | None) -> int:
    """Stay until Ctrl-C, printing a line for each message."""
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"{folder}: {error.strerror}; choose another folder"
            raise ConfigurationError(msg) from None
    try:
        with Sandbox(folder, tls="none", port=port, login=False) as box:
            _watch(box)
    except KeyboardInterrupt:
        return DELIVERED
    except OSError as error:
        msg = f"port {port}: {error.strerror}; choose another with --port, or 0 for a free one"
        raise ConfigurationError(msg) from None


def _watch(box: Sandbox) -> Never:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(
        f'Listening on {box.host}:{box.port} (provider = "sandbox", MAILWRIGHT_SANDBOX={box.host}:{box.port}). '
        "Ctrl-C ends."
    )
    shown = 0
    while True:
        for message in box.messages[shown:]:
            shown += 1
            where = f"  {message.path}" if message.path else ""
            console.print(f"{shown:4} {', '.join(message.recipients)}: {message.subject}{where}")
        time.sleep(0.2)
