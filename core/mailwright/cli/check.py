"""`mailwright check`: every mistake in a node document."""

from __future__ import annotations

from pathlib import Path

from mailwright import check_node
from mailwright.cli.output import DELIVERED, WRONG, complain, read_state, show_json
from mailwright.errors import DocumentError


def run(node: Path, state: Path | None, *, attach_root: Path | None, json: bool) -> int:
    """Print every mistake."""
    given = read_state(state) if state is not None else None
    problems = check_node(node, given, attach_root=attach_root, resolve=True)
    if json:
        show_json([{"code": p.code, "path": p.path, "message": p.message} for p in problems])
        return WRONG if problems else DELIVERED
    if problems:
        return complain(DocumentError(problems, source=node.name))
    from rich.console import Console  # noqa: PLC0415 - only when all is well

    Console().print(f"[green]✓[/] {node.name}: no mistakes found")
    return DELIVERED
