"""`mailwright outbox …`: commands and their options; what they do is in `outbox_work` and `outbox_look`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from mailwright.cli.commands import HELP, Json, run

LONGEST: Final = 36500
"""Days of a century: dates further away cannot be shown."""
app = typer.Typer(
    name="outbox",
    help="Durable sending: work, look, and intervene.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=HELP,
)
suppressions = typer.Typer(
    help="Addresses that are not mailed to any more.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(suppressions, name="suppressions")

Url = Annotated[
    str | None,
    typer.Option(
        "--outbox",
        envvar="MAILWRIGHT_OUTBOX",
        show_envvar=True,
        metavar="URL",
        help="sqlite:///file, postgresql://…, …; absent: a file in your state folder.",
    ),
]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Messages; or choose them by options.")]
State = Annotated[
    str | None, typer.Option("--state", metavar="STATE[,STATE]", help="Only those in this state, or one of several.")
]
Tag = Annotated[str | None, typer.Option("--tag", metavar="TAG", help="Only those with this tag.")]
Days = Annotated[
    float | None,
    typer.Option("--older-than", min=0, max=LONGEST, metavar="DAYS", help="Only those unchanged for so many days."),
]
AttachRoot = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder that file attachments may come from.")]
Addresses = Annotated[list[str], typer.Argument(metavar="ADDRESS", show_default=False)]
For = Annotated[float, typer.Option(min=0.001, max=LONGEST, metavar="DAYS", help="For so long.")]
Why = Annotated[str, typer.Option(metavar="TEXT", help="What `list` says of them.")]


@app.command()
def init(outbox: Url = None) -> None:
    """Make the outbox; safe to repeat."""
    run("outbox_look.migrate", outbox)


@app.command()
def migrate(outbox: Url = None) -> None:
    """Bring its tables up to date; safe to repeat."""
    run("outbox_look.migrate", outbox)


@app.command()
def work(
    outbox: Url = None,
    concurrency: Annotated[int, typer.Option(min=1, metavar="N", help="Messages under way at one time.")] = 20,
    metrics: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Serve /metrics and /healthz there.")] = None,
    until_empty: Annotated[bool, typer.Option("--until-empty", help="End when nothing is due any more.")] = False,
    keep_sent: Annotated[
        float, typer.Option(min=0, max=LONGEST, metavar="DAYS", help="How long sent messages stay in lists.")
    ] = 7,
    keep_failed: Annotated[
        float, typer.Option(min=0, max=LONGEST, metavar="DAYS", help="How long failed ones can be retried.")
    ] = 30,
    keep_content: Annotated[bool, typer.Option("--keep-content", help="Keep what sent messages said too.")] = False,
) -> None:
    """Send what is due. SIGTERM or Ctrl-C lets messages under way end."""
    run(
        "outbox_work.work",
        outbox,
        concurrency=concurrency,
        metrics=metrics,
        until_empty=until_empty,
        keep=(keep_sent, keep_failed, keep_content),
    )


@app.command()
def enqueue(
    node: Annotated[Path, typer.Argument(metavar="NODE", help="A node document.")],
    outbox: Url = None,
    state: Annotated[Path | None, typer.Option("--state", metavar="FILE", help="The flow's state.")] = None,
    each: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One message for each row of a CSV or JSON lines file.")
    ] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="Not before: 2026-12-24T18:00+01:00.")] = None,
    priority: Annotated[
        int, typer.Option(min=-1000, max=1000, metavar="N", help="Higher goes first; -1000 to 1000.")
    ] = 0,
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="To filter by; repeat it.")] = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Stored once in a week; with --each: every row, once under it.")
    ] = None,
    hold: Annotated[bool, typer.Option("--hold", help="Store it held.")] = False,
    attach_root: AttachRoot = None,
    json: Json = False,
) -> None:
    """Store a node's message, or one for each row, for a worker."""
    run("outbox_work.enqueue", node, outbox, state=state, each=each, at=at, priority=priority, tags=tuple(tag or ()),
        key=key, hold=hold, attach_root=attach_root, json=json,
    )  # fmt: skip


@app.command("list")
def list_(
    outbox: Url = None,
    state: State = None,
    tag: Tag = None,
    limit: Annotated[int, typer.Option(min=1, max=10000, metavar="N", help="At most so many.")] = 30,
    before: Annotated[str | None, typer.Option(metavar="ID", help="Older than this one: the next page.")] = None,
    json: Json = False,
) -> None:
    """Messages, newest first."""
    run("outbox_look.list_", outbox, state=state, tag=tag, limit=limit, before=before, json=json)


@app.command()
def show(job: Annotated[str, typer.Argument(metavar="ID")], outbox: Url = None, json: Json = False) -> None:
    """What became of one message, recipient by recipient."""
    run("outbox_look.show", job, outbox, json=json)


@app.command()
def stats(outbox: Url = None, tag: Tag = None, json: Json = False) -> None:
    """Messages by state."""
    run("outbox_look.stats", outbox, tag=tag, json=json)


@app.command()
def watch(
    outbox: Url = None,
    tag: Tag = None,
    every: Annotated[float, typer.Option(min=0.1, max=3600, metavar="SECONDS", help="How often.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
) -> None:
    """A live table: states, rates, ages, next tries."""
    run("outbox_watch.watch", outbox, tag=tag, every=every, once=once)


def _verb(verb: str, says: str) -> None:
    def command(
        ids: Ids = None, outbox: Url = None, state: State = None, tag: Tag = None, older_than: Days = None,
        json: Json = False,
    ) -> None:  # fmt: skip
        run("outbox_look.change", verb, ids, outbox, state=state, tag=tag, older_than=older_than, json=json)

    command.__doc__ = says
    app.command(verb)(command)


for _name, _says in (
    (
        "retry",
        "Send again what ended otherwise than sent.\n\nFailed, held, cancelled; or unknown, which may then arrive twice.",
    ),
    ("cancel", "Never send what is not on its way yet."),
    ("hold", "Keep back what is not on its way yet."),
    ("release", "Send what was held."),
    ("purge", "Forget what has ended."),
):
    _verb(_name, _says)


@suppressions.command("list")
def suppressions_list(outbox: Url = None, json: Json = False) -> None:
    """All addresses, until when and why."""
    run("outbox_look.suppressed", outbox, json=json)


@suppressions.command("add")
def suppressions_add(
    addresses: Addresses,
    outbox: Url = None,
    reason: Why = "by hand",
    days: For = 90.0,
) -> None:
    """Do not mail to these addresses."""
    run("outbox_look.suppress", addresses, outbox, reason=reason, days=days)


@suppressions.command("remove")
def suppressions_remove(addresses: Addresses, outbox: Url = None) -> None:
    """Mail to these addresses again."""
    run("outbox_look.unsuppress", addresses, outbox)


@suppressions.command("import")
def suppressions_import(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An address a line; lines that begin with # are none.")],
    outbox: Url = None,
    reason: Why = "imported",
    days: For = 3650.0,
) -> None:
    """Do not mail to the addresses in a file."""
    run("outbox_look.suppress_file", file, outbox, reason=reason, days=days)
