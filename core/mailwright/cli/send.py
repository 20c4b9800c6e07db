"""`mailwright send`: run a node, or show what it would send."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mailwright import FlowState, NodeOutcome, load_node
from mailwright.cli.output import DELIVERED, complain, exit_code, read_state, show_json
from mailwright.errors import FlowStopped


def run(node: Path, state: Path | None, *, attach_root: Path | None, dry_run: bool, json: bool) -> int:
    """Run a node and tell how it went."""
    given = read_state(state)
    if dry_run:
        return _show(node, given, attach_root=attach_root, json=json)
    loaded = load_node(node, attach_root=attach_root)
    try:
        outcome = loaded.run_sync(given)
    except FlowStopped as stopped:
        outcome = stopped.outcome
    if json:
        show_json({"ok": outcome.ok, "result": outcome.result, "changes": [list(change) for change in outcome.changes]})
    elif outcome.ok:
        _tell(outcome)
    if outcome.ok:
        return DELIVERED
    assert outcome.error is not None
    return exit_code(outcome.error) if json else complain(outcome.error)


def _tell(outcome: NodeOutcome) -> None:
    from rich.console import Console  # noqa: PLC0415 - not for --json

    result: dict[str, Any] = outcome.result
    console = Console(highlight=False)
    console.print(f"[green]✓[/] {result['status']}: ", end="")
    console.print(", ".join(result.get("accepted", [])), markup=False)
    if result.get("response"):
        console.print(f"  {result['messageId']}  {result['response']}", markup=False)
    for rejected in result.get("rejectedErrors", []):
        console.print(f"  rejected: {rejected['recipient']} {rejected.get('response', '')}", markup=False)


def _show(node: Path, state: FlowState, *, attach_root: Path | None, json: bool) -> int:
    """Everything but the connection."""
    from mailwright.cli.letter import make_letter  # noqa: PLC0415 - only for --dry-run

    letter = make_letter(node, state, attach_root=attach_root)
    if json:
        show_json({"ok": True, "dryRun": True, **letter.summary()})
        return DELIVERED
    from rich.console import Console  # noqa: PLC0415 - not for --json

    console = Console(highlight=False, markup=False, soft_wrap=True)
    route = letter.route
    where = f", {route['host']}:{route['port']}, TLS: {route['tls']}" if "host" in route else ""
    console.print(f"not sent: {letter.composed.size} bytes for {', '.join(letter.recipients)}")
    if letter.kept_back:
        console.print(f"kept back by allow_recipients: {', '.join(letter.kept_back)}")
    console.print(f"by {route['provider']}{where}, login: {route['auth'] or 'none'}, return path: {letter.sender}\n")
    for name, value in letter.headers:
        console.print(f"{name}: {value}")
    return DELIVERED
