"""`mailwright outbox watch`: a live table."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, get_args

from mailwright import Outbox
from mailwright.cli.outbox_look import must_exist, span
from mailwright.cli.output import DELIVERED
from mailwright.spi import Job, JobState

if TYPE_CHECKING:
    from rich.console import Group


_SHOWN: Final = 8
_LOOKED_AT: Final = 100


def watch(url: str | None, *, tag: str | None, every: float, once: bool) -> int:
    """Until Ctrl-C."""
    from rich.console import Console  # noqa: PLC0415 - only this command
    from rich.live import Live  # noqa: PLC0415

    console = Console(highlight=False)

    async def whole() -> None:
        await must_exist(outbox := Outbox(url))
        async with outbox:
            last: tuple[float, Mapping[str, float]] | None = None
            with Live(console=console, auto_refresh=False, transient=False) as live:
                while True:
                    at = time.monotonic()
                    found = await outbox.stats(tag=tag)
                    trouble = await _trouble(outbox, tag)
                    live.update(_view(outbox.url, found, trouble, last, at), refresh=True)
                    last = (at, found)
                    if once:
                        return
                    await asyncio.sleep(max(every, time.monotonic() - at))  # counting millions may take longer

    try:
        asyncio.run(whole())
    finally:
        if not console.is_terminal:
            console.print()
    return DELIVERED


async def _trouble(outbox: Outbox, tag: str | None) -> list[Job]:
    """A few that somebody may want to look at: kept back, or tried before."""
    kept = await outbox.list(state=("held", "unknown", "quarantined"), tag=tag, limit=_SHOWN)
    tried = [job for job in await outbox.list(state="queued", tag=tag, limit=_LOOKED_AT) if job.attempts]
    return [*(job for job in kept if job.reason or job.attempts), *tried][:_SHOWN]


def _view(
    url: str,
    found: Mapping[str, float],
    trouble: Sequence[Job],
    last: tuple[float, Mapping[str, float]] | None,
    at: float,
) -> Group:
    from rich.console import Group  # noqa: PLC0415 - only this command
    from rich.table import Column, Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    counts = Table("state", "messages", "a second", box=None, pad_edge=False)
    for state in get_args(JobState):
        if not found.get(state) and state not in {"queued", "sending", "unknown", "sent", "failed"}:
            continue
        rate = ""
        if last is not None and at > last[0]:
            change = (found.get(state, 0) - last[1].get(state, 0)) / (at - last[0])
            rate = f"{change:+.0f}" if abs(change) >= 0.5 else ""
        counts.add_row(state, f"{found.get(state, 0):g}", rate)
    waiting = (
        f"due {found['due']:g}, the oldest for {span(found['oldest_due_s'])}" if found["due"] else "nothing is due"
    )
    jobs = Table(Column("id", no_wrap=True), "state", "tries", "next try", "reason", box=None, pad_edge=False)
    now = time.time()
    for job in trouble:
        later = span(job.run_at - now) if job.state == "queued" and job.run_at > now else ""
        jobs.add_row(job.id, job.state, str(job.attempts), later, Text(job.reason[:80]))
    return Group(Text(f"{url}   {waiting}"), Text(""), counts, Text(""), jobs)
