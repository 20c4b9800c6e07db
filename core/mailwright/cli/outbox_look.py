"""`mailwright outbox list | show | stats | retry … | suppressions | init`."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from mailwright import Address, Outbox, background
from mailwright.cli.output import DELIVERED, FAILED, show_json
from mailwright.errors import ConfigurationError, MailwrightError
from mailwright.outbox.verbs import FITS
from mailwright.spi import Job, JobState, JobVerb

T = TypeVar("T")


def opened(url: str | None, what: Callable[[Outbox], Awaitable[T]]) -> T:
    """Do something with the outbox; a slip in its name must not make an empty one.

    Raises:
        ConfigurationError: There is none.
    """

    async def whole() -> T:
        await must_exist(outbox := Outbox(url))
        async with outbox:
            return await what(outbox)

    return background.run(whole())


def made(url: str | None, what: Callable[[Outbox], Awaitable[T]]) -> T:
    """Do something with the outbox, which is made if it is missing."""

    async def whole() -> T:
        async with Outbox(url) as outbox:
            return await what(outbox)

    return background.run(whole())


async def must_exist(outbox: Outbox) -> None:
    """See `opened`."""
    if not await outbox.exists():
        msg = f"there is no outbox at {outbox.url} yet: `mailwright outbox init` makes it, as the first message does"
        raise ConfigurationError(msg)


def states(text: str | None) -> tuple[JobState, ...] | None:
    """Names with commas between.

    Raises:
        ConfigurationError: One is none.
    """
    if text is None:
        return None
    known = get_args(JobState)
    for name in (found := [word.strip() for word in text.split(",") if word.strip()]):
        if name not in known:
            msg = f"--state: {name!r} is not one of {', '.join(known)}"
            raise ConfigurationError(msg)
    if not found:  # an unset variable of a script must not mean all of them
        msg = f"--state: is empty; name some of {', '.join(known)}"
        raise ConfigurationError(msg)
    return tuple(cast("list[JobState]", found))


def migrate(url: str | None) -> int:
    """Make or update the tables."""

    async def what(outbox: Outbox) -> str:
        return f"{outbox.url} is ready (version {await outbox.migrate()})"

    _say(made(url, what))
    return DELIVERED


def list_(url: str | None, *, state: str | None, tag: str | None, limit: int, before: str | None, json: bool) -> int:
    """Newest first."""
    chosen = states(state)
    jobs = opened(url, lambda outbox: outbox.list(state=chosen, tag=tag, limit=limit, before=before))
    if json:
        show_json([plain(job) for job in jobs])
        return DELIVERED
    if not jobs:
        sys.stderr.write("no messages\n")
        return DELIVERED
    now = datetime.now(UTC).timestamp()
    table = [("id", "state", "age", "tries", "next try", "connection", "tags", "reason")]
    for job in jobs:
        later = job.run_at - now if job.state in {"queued", "scheduled"} else 0
        table.append((
            job.id, job.state, span(now - job.created), str(job.attempts), span(later) if later > 0 else "",
            job.connection, " ".join(job.tags), job.reason[:70],
        ))  # fmt: skip
    _say("\n".join(_aligned(table)))
    if len(jobs) == limit:
        sys.stderr.write(f"older ones: --before {jobs[-1].id}\n")
    return DELIVERED


def _aligned(table: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table; thousands of them, for which a table of rich takes a quarter of a minute."""
    from rich.cells import cell_len  # noqa: PLC0415 - not for --json

    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = [cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def show(job_id: str, url: str | None, *, json: bool) -> int:
    """One message."""

    async def what(outbox: Outbox) -> tuple[Job | None, Any]:
        return await outbox.job(job_id), await outbox.result(job_id)

    job, receipt = opened(url, what)
    if job is None or receipt is None:
        msg = f"the outbox has no message {job_id}"
        raise ConfigurationError(msg)
    found = plain(job) | {"result": receipt.to_result() | {"status": job.state}}
    if json:
        show_json(found)
        return DELIVERED
    _say(f"{job.id}  {job.state}" + (f": {job.reason}" if job.reason else ""))
    for name in ("message_id", "connection", "created", "due", "priority", "attempts", "on_unknown", "key", "tags"):
        if value := found[name]:
            _say(f"  {name.replace('_', ' ')}: {', '.join(value) if isinstance(value, list) else value}")
    for status in receipt.statuses:
        asked = "" if status.stage != "prepare" else "  nobody was asked"
        reply = f"  {status.reply}" if status.reply else asked
        _say(f"  {status.address}: {status.outcome}{reply}")
    if not receipt.statuses and receipt.envelope is not None:
        _say(f"  for: {', '.join(receipt.envelope.recipients)}")
    return DELIVERED


def stats(url: str | None, *, tag: str | None, json: bool) -> int:
    """Messages by state."""
    found = opened(url, lambda outbox: outbox.stats(tag=tag))
    if json:
        show_json(dict(found))
        return DELIVERED
    for state in get_args(JobState):
        if count := found.get(state):
            _say(f"{state:12} {count:>10g}")
    _say(f"{'due':12} {found['due']:>10g}" + (f"   oldest {span(found['oldest_due_s'])}" if found["due"] else ""))
    return DELIVERED


def change(
    verb: JobVerb,
    ids: Sequence[str] | None,
    url: str | None,
    *,
    state: str | None,
    tag: str | None,
    older_than: float | None,
    json: bool,
) -> int:
    """An operator's verb."""
    age = None if older_than is None else timedelta(days=older_than)
    chosen = states(state)

    async def what(outbox: Outbox) -> tuple[int, list[str]]:
        left = await _unfit(outbox, verb, ids or ())
        return await outbox.change(verb, ids or (), state=chosen, tag=tag, older_than=age), left

    count, left = opened(url, what)
    if json:
        show_json({"ok": not left, "changed": count} | ({"unchanged": left} if left else {}))
    else:
        for line in left:
            sys.stderr.write(f"{line}\n")
        _say(f"{verb}: {count} message{'s' if count != 1 else ''}")
    return FAILED if ids and (left or not count) else DELIVERED


async def _unfit(outbox: Outbox, verb: JobVerb, ids: Sequence[str]) -> list[str]:
    """Which of the named messages a verb is not for, and why."""
    found = []
    for job_id in ids:
        job = await outbox.job(job_id)
        if job is None:
            found.append(f"{job_id}: there is no such message")
        elif job.state not in FITS[verb]:
            found.append(f"{job_id}: {verb} is not for a message that is {job.state}")
        elif verb == "retry" and not job.payload:
            found.append(f"{job_id}: its content is gone")
    return found


def suppressed(url: str | None, *, json: bool) -> int:
    """All suppressions."""

    async def what(outbox: Outbox) -> list[dict[str, str]]:
        return [
            {"address": entry.address, "until": _moment(entry.until), "reason": entry.reason}
            async for entry in outbox.suppressions()
        ]

    found = opened(url, what)
    if json:
        show_json(found)
    else:
        for entry in found:
            _say(f"{entry['address']}  until {entry['until']}  {entry['reason']}")
        if not found:
            sys.stderr.write("no addresses\n")
    return DELIVERED


def suppress(addresses: Sequence[str], url: str | None, *, reason: str, days: float) -> int:
    """Add."""
    emails = [Address(address).email for address in addresses]

    async def what(outbox: Outbox) -> None:
        await outbox.suppress(emails, reason=reason, days=days)

    made(url, what)
    _say(f"suppressed: {len(emails)}")
    return DELIVERED


def suppress_file(file: Path, url: str | None, *, reason: str, days: float) -> int:
    """Add those of a file; nothing is added if a line is wrong."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{file}: cannot be read: {error.strerror if isinstance(error, OSError) else 'it is not UTF-8'}"
        raise ConfigurationError(msg) from error
    addresses = []
    for number, line in enumerate(lines, 1):
        try:
            addresses += [Address(line).email] if line and not line.startswith("#") else []
        except MailwrightError as error:
            msg = f"{file}:{number}: {error.message}"
            raise ConfigurationError(msg) from error
    return suppress(addresses, url, reason=reason, days=days)


def unsuppress(addresses: Sequence[str], url: str | None) -> int:
    """Remove."""
    count = opened(url, lambda outbox: outbox.unsuppress(addresses))
    _say(f"removed: {count}")
    return DELIVERED if count else FAILED


def plain(job: Job) -> dict[str, Any]:
    """A row for programs and people."""
    return {
        "id": job.id, "state": job.state, "message_id": job.message_id, "connection": job.connection,
        "created": _moment(job.created), "updated": _moment(job.updated),
        "due": _moment(job.run_at) if job.state in {"queued", "scheduled"} else None, "priority": job.priority,
        "attempts": job.attempts, "on_unknown": job.on_unknown, "key": job.key, "tags": list(job.tags), "reason": job.reason,
    }  # fmt: skip


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def span(seconds: float) -> str:
    """A time for people: 4 s, 12 min, 3 h, 5 d."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _say(text: str) -> None:
    from rich.console import Console  # noqa: PLC0415 - not for --json

    Console(highlight=False, markup=False, soft_wrap=True).print(text)
