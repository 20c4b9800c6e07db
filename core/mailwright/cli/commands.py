"""How a command is run: imported when it is called; its outcome is the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer

HELP: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"]}
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def run(command: str, *arguments: Any, plugins: Sequence[Path] | None = None, **options: Any) -> None:
    """Turn what a command returns into the exit code, and every expected error into one clear message.

    Args:
        command: Module and function below `mailwright.cli`, as ``send.run``; imported now, so that ``--help`` is quick.
        arguments: For it.
        plugins: Hook files to load before: the user names them, never a document.
        options: For it.
    """
    from mailwright.errors import MailwrightError  # noqa: PLC0415 - after --help

    module, _, name = command.partition(".")
    try:
        if plugins:
            from mailwright.registry import hand_in  # noqa: PLC0415 - rarely used

            hand_in(plugins)
        code = getattr(import_module(f"mailwright.cli.{module}"), name)(*arguments, **options)
    except MailwrightError as error:
        from mailwright.cli.output import complain  # noqa: PLC0415 - errors only

        code = complain(error, json=bool(options.get("json")))
    except KeyboardInterrupt:
        code = 130
    raise typer.Exit(code)
