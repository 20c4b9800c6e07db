"""`mailwright send`: run a node, send an ``.eml`` or a letter made of options; or show what would be sent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mailwright import FlowState, Receipt, SendError, background, load_node
from mailwright.cli.letter import Letter, Options, headers_of, node_letter, own_letter, ready_letter, route_of, summary
from mailwright.cli.output import DELIVERED, UNKNOWN, complain, exit_code, read_state, show_json
from mailwright.errors import ConfigurationError, FlowStopped, MailwrightError


def run(
    source: Path | None,
    state: Path | None,
    *,
    connection: str | None,
    options: Options,
    attach_root: Path | None,
    dry_run: bool,
    json: bool,
    bulk: tuple[Path | None, Path | None, bool, bool, int] = (None, None, False, False, 20),
    render_timeout: float | None = None,
) -> int:
    """Send, and tell how it went."""
    rows, receipts, resume, retry_failed, concurrency = bulk
    if rows is None and (receipts or resume or retry_failed):
        msg = "--receipts, --resume and --retry-failed belong to --each"
        raise ConfigurationError(msg)
    if rows is not None and (source is None or is_ready(source) or dry_run):
        msg = "--each: takes a node document, and no --dry-run; try one row with --state"
        raise ConfigurationError(msg)
    if source is None or is_ready(source):
        letter = own_letter(connection, options) if source is None else ready_letter(source, connection, options)
        return _show(letter, json=json) if dry_run else _send(letter, json=json)
    if unfit := (*(("--to",) if options.to else ()), *options.given):
        msg = f"{unfit[0]}: not with a node document, which says that itself"
        raise ConfigurationError(msg)
    given = read_state(state)
    node_options: dict[str, Any] = {"attach_root": attach_root, "render_timeout": render_timeout}
    if rows is not None:
        from mailwright.cli import each  # noqa: PLC0415 - bulk runs only

        bulk_options = each.EachOptions(
            rows=rows, receipts=receipts, resume=resume, retry_failed=retry_failed, concurrency=concurrency
        )
        return each.run(source, given, bulk_options, node_options=node_options, json=json)
    if dry_run:
        return _show(node_letter(source, given, **node_options), json=json)
    return _run(source, given, json=json, **node_options)


def is_ready(source: Path) -> bool:
    """Whether it is a message and not a node document."""
    return str(source) == "-" or source.suffix.lower() == ".eml"


def _run(node: Path, state: FlowState, *, json: bool, **node_options: Any) -> int:
    loaded = load_node(node, **node_options)
    try:
        outcome = loaded.run_sync(state)
    except FlowStopped as stopped:
        outcome = stopped.outcome
    if json:
        show_json({"ok": outcome.ok, "result": outcome.result, "changes": [list(change) for change in outcome.changes]})
    elif outcome.ok:
        _tell(outcome.result)
    if outcome.ok:
        return DELIVERED
    assert outcome.error is not None
    return exit_code(outcome.error) if json else complain(outcome.error)


def _send(letter: Letter, *, json: bool) -> int:
    async def sent() -> Receipt:
        async with letter.mailer as mailer:
            return await mailer.send(letter.message, envelope=letter.envelope)

    error: MailwrightError | None = None
    try:
        receipt = background.run(sent())
    except SendError as failed:
        receipt, error = failed.receipt, failed
    if json:
        show_json({"ok": error is None, "result": receipt.to_result()})
    elif error is None:
        _tell(receipt.to_result())
    if error is None:
        return DELIVERED if not receipt.unknown else UNKNOWN
    return exit_code(error) if json else complain(error)


def _tell(result: Mapping[str, Any]) -> None:
    from rich.console import Console  # noqa: PLC0415 - not for --json

    console = Console(highlight=False)
    console.print(f"[green]✓[/] {result['status']}: ", end="")
    console.print(", ".join(result.get("accepted", [])), markup=False)
    if result.get("response"):
        console.print(f"  {result['messageId']}  {result['response']}", markup=False)
    for rejected in result.get("rejectedErrors", []):
        console.print(f"  rejected: {rejected['recipient']} {rejected.get('response', '')}", markup=False)


def _show(letter: Letter, *, json: bool) -> int:
    """Everything but the connection."""
    draft = letter.draft()
    if json:
        show_json({"ok": True, "dryRun": True, **summary(draft)})
        return DELIVERED
    from rich.console import Console  # noqa: PLC0415 - not for --json

    console = Console(highlight=False, markup=False, soft_wrap=True)
    route = route_of(draft)
    where = f", {route['host']}:{route['port']}, TLS: {route['tls']}" if "host" in route else ""
    console.print(f"not sent: {draft.composed.size} bytes for {', '.join(draft.envelope.recipients)}")
    if draft.kept_back:
        console.print(f"kept back by allow_recipients: {', '.join(draft.kept_back)}")
    sender = draft.envelope.sender or "<>"
    console.print(f"by {route['provider']}{where}, login: {route['auth'] or 'none'}, return path: {sender}\n")
    for name, value in headers_of(draft):
        console.print(f"{name}: {value}")
    return DELIVERED
