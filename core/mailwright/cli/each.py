"""`mailwright send NODE --each ROWS`: one node for every row, resumable after a crash."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen

from mailwright import FlowState, NodeOutcome, SendEmailNode, background, load_node
from mailwright.cli.journal import Journal
from mailwright.cli.output import DELIVERED, FAILED, UNKNOWN, show_json
from mailwright.cli.rows import Rows


@frozen(kw_only=True)
class EachOptions:
    """What ``--each`` takes.

    Args:
        rows: CSV or JSON lines.
        receipts: Where receipts go; None: beside the rows.
        resume: Go on with an earlier run.
        retry_failed: When going on, try rows again that failed.
        concurrency: Messages under way at one time.
    """

    rows: Path
    receipts: Path | None = None
    resume: bool = False
    retry_failed: bool = False
    concurrency: int = 20


class Progress(Protocol):
    """Hears of every settled row."""

    def __call__(self, status: str) -> None:
        """One more row."""
        ...


def run(node: Path, common: FlowState, options: EachOptions, *, node_options: dict[str, Any], json: bool) -> int:
    """Send, write receipts, and tell how many went."""
    loaded = load_node(node, **node_options)
    rows = Rows.of(options.rows)
    receipts = options.receipts or options.rows.with_name(options.rows.name + ".receipts.jsonl")
    with Journal(receipts, fingerprint=rows.fingerprint, resume=options.resume, again=options.retry_failed) as journal:
        counts: Counter[str] = Counter()
        skipped = len(journal.settled)
        started = time.perf_counter()
        with _bar(rows, quiet=json) as progress:
            for _ in range(skipped):
                progress("")
            sending = _send(
                loaded, rows, common, journal, concurrency=options.concurrency, counts=counts, progress=progress
            )
            background.run(sending)
        seconds = time.perf_counter() - started
        found = {
            "rows": sum(counts.values()),
            **{status: counts[status] for status in ("sent", "partial", "failed", "unknown")},
            "skipped": skipped,
            "before": journal.before,
            "inFlight": journal.unknown,
            "seconds": round(seconds, 3),
            "receipts": str(receipts),
        }
    if json:
        show_json({"ok": not (counts["failed"] or counts["unknown"] or journal.unknown), **found})
    else:
        _tell(found)
    if counts["unknown"] or journal.unknown:
        return UNKNOWN
    return FAILED if counts["failed"] else DELIVERED


async def _send(
    node: SendEmailNode,
    rows: Rows,
    common: FlowState,
    journal: Journal,
    *,
    concurrency: int,
    counts: Counter[str],
    progress: Progress,
) -> None:
    async def committing(row: int) -> None:
        journal.committing(row)

    waiting = ((number, state) for number, state in rows.states(common) if number not in journal.settled)
    outcomes: AsyncIterator[tuple[int, NodeOutcome]] = node.run_each(
        waiting, concurrency=concurrency, on_commit=committing
    )
    async for row, outcome in outcomes:
        journal.settle(row, outcome.result)
        status = outcome.result["status"] if outcome.ok or outcome.result["status"] == "unknown" else "failed"
        counts[status] += 1
        progress(status)


@contextmanager
def _bar(rows: Rows, *, quiet: bool) -> Iterator[Progress]:
    """A progress bar on the error stream, where somebody looks at it."""
    if quiet or not sys.stderr.isatty():
        yield lambda status: None
        return
    from rich.console import Console  # noqa: PLC0415 - for people only
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=rows.about)
        failed = 0

        def advance(status: str) -> None:
            nonlocal failed
            failed += status in {"failed", "unknown"}
            bar.update(task, advance=1, description=f"{failed} not sent" if failed else "")

        yield advance


def _tell(found: dict[str, Any]) -> None:
    parts = [f"{found[status]} {status}" for status in ("sent", "partial", "failed", "unknown") if found[status]]
    rate = found["rows"] / found["seconds"] if found["seconds"] else 0
    lines = [f"{found['rows']} rows: {', '.join(parts) or 'nothing to do'} ({rate:.0f} a second)"]
    if found["skipped"]:
        lines.append(f"{found['skipped']} rows were settled before and not sent again")
    if found["inFlight"]:
        shown = ", ".join(map(str, found["inFlight"][:20])) + (", …" if len(found["inFlight"]) > 20 else "")
        lines.append(f"unknown, in flight when the run before ended, not sent again: rows {shown}")
    lines.append(f"receipts: {found['receipts']}")
    sys.stdout.write("\n".join(lines) + "\n")
