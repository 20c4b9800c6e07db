"""Commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mailwright.cli.commands import HELP, Json, run
from mailwright.cli.groups import auth, connections, plugins
from mailwright.cli.outbox import app as outbox

EPILOG = "Exit codes: 0 sent or fine · 1 not delivered · 2 wrong input, nothing was sent · 3 outcome unknown"

app = typer.Typer(
    name="mailwright",
    help="Send e-mail: documents in, mail and receipts out. Start with: mailwright demo",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts in half the time
    context_settings=HELP,
)
app.add_typer(plugins, name="plugins")
app.add_typer(auth, name="auth")
app.add_typer(connections, name="connections")
app.add_typer(outbox, name="outbox")

State = Annotated[
    Path | None, typer.Option("--state", metavar="FILE", help="The flow's state: a file with input and context.")
]
Node = Annotated[Path, typer.Argument(metavar="NODE", help="A node document: JSON, TOML or YAML.")]
Addresses = list[str] | None
To = Annotated[Addresses, typer.Option(metavar="ADDRESSES", help="Recipients; repeat it, or separate by commas.")]
Cc = Annotated[Addresses, typer.Option(metavar="ADDRESSES", help="Further recipients.")]
Bcc = Annotated[Addresses, typer.Option(metavar="ADDRESSES", help="Recipients nobody sees.")]
From = Annotated[str | None, typer.Option("--from", metavar="ADDRESS", help="Author; default: the connection's.")]
ReplyTo = Annotated[Addresses, typer.Option(metavar="ADDRESSES", help="Where answers go.")]
Subject = Annotated[str | None, typer.Option(metavar="TEXT", help="Subject.")]
Html = Annotated[Path | None, typer.Option(metavar="FILE", help="File with the HTML body; - is stdin.")]
Text = Annotated[Path | None, typer.Option(metavar="FILE", help="File with the plain text; - is stdin.")]
Attach = Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Attach a file; repeat it.")]
ConnectionName = Annotated[
    str | None,
    typer.Option(
        "--connection",
        "-c",
        envvar="MAILWRIGHT_CONNECTION",
        metavar="NAME",
        help="Saved connection, document, or sandbox.",
    ),
]
Plugin = Annotated[
    list[Path] | None, typer.Option("--plugin", metavar="FILE", help="A Python file with hooks to load; repeat it.")
]
AttachRoot = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder that file attachments may come from.")]


def _version(value: bool) -> None:
    if value:
        from mailwright import __version__  # noqa: PLC0415 - rarely asked for

        typer.echo(f"mailwright {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take options before the command."""


@app.command()
def demo(json: Json = False) -> None:
    """Send a letter to a server of our own; show what happened."""
    run("demo.run", json=json)


@app.command()
def send(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="NODE|EML", help="A node document, or an .eml file (- is stdin). Without one: --to and text."
        ),
    ] = None,
    state: State = None,
    connection: ConnectionName = None,
    to: To = None,
    cc: Cc = None,
    bcc: Bcc = None,
    from_: From = None,
    reply_to: ReplyTo = None,
    subject: Subject = None,
    html: Html = None,
    text: Text = None,
    attach: Attach = None,
    attach_root: AttachRoot = None,
    each: Annotated[
        Path | None,
        typer.Option("--each", metavar="FILE", help="Send the node for every row of a .csv or .jsonl file."),
    ] = None,
    receipts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --each: receipts as JSON lines; default: beside the rows.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="With --each: go on; no row is sent twice.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="With --resume: failed rows too.")] = False,
    concurrency: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="With --each: messages under way.")
    ] = 20,
    render_timeout: Annotated[
        float | None, typer.Option(min=0.01, metavar="SECONDS", help="Templates are rendered in a process of its own.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent; connect to nothing.")] = False,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Send a node, a ready .eml, or a letter written here."""
    options = _options(to, cc, bcc, from_, reply_to, subject, html, text, attach)
    bulk = (each, receipts, resume, retry_failed, concurrency)
    run(
        "send.run", source, state, plugins=plugin, bulk=bulk, render_timeout=render_timeout, connection=connection, options=options, attach_root=attach_root, dry_run=dry_run,
        json=json,
    )  # fmt: skip


@app.command()
def check(
    node: Node,
    state: State = None,
    attach_root: AttachRoot = None,
    original: Annotated[
        bool, typer.Option("--original", help="The file holds the original Send Email node's settings.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="With --original: write our document.")
    ] = None,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Find every mistake in a node document, without network."""
    run("check.run", node, state, plugins=plugin, attach_root=attach_root, original=original, output=output, json=json)


@app.command()
def compose(
    node: Annotated[
        Path | None, typer.Argument(metavar="NODE", help="A node document. Without one: --to and text.")
    ] = None,
    state: State = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write there instead of stdout.")
    ] = None,
    connection: ConnectionName = None,
    to: To = None,
    cc: Cc = None,
    bcc: Bcc = None,
    from_: From = None,
    reply_to: ReplyTo = None,
    subject: Subject = None,
    html: Html = None,
    text: Text = None,
    attach: Attach = None,
    attach_root: AttachRoot = None,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Write a letter as .eml without sending it.

    Lifecycle hooks do not run.
    """
    options = _options(to, cc, bcc, from_, reply_to, subject, html, text, attach)
    run(
        "compose.run", node, state, plugins=plugin, connection=connection, options=options, output=output, attach_root=attach_root,
        json=json,
    )  # fmt: skip


@app.command()
def schema(kind: Annotated[Literal["node", "connection"], typer.Argument(help="Which document.")] = "node") -> None:
    """Print the JSON Schema of a document, plugins included."""
    run("schema.run", kind)


@app.command()
def providers(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A service, an alias, or a domain.")] = None,
    json: Json = False,
) -> None:
    """List mail services; explain one of them."""
    run("providers.run", name, json=json)


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="0 is a free one.")] = 1025,
    folder: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep each message there as .eml.")] = None,
    json: Json = False,
) -> None:
    """Be an inbox on this machine until Ctrl-C."""
    run("sandbox.run", port, folder, json=json)


@app.command()
def discover(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="A mail address.")],
    save: Annotated[str | None, typer.Option(metavar="NAME", help="Save the one you agree to under this name.")] = None,
    json: Json = False,
) -> None:
    """Find the SMTP server of an address.

    Asked are the built-in table, the domain's Autoconfig file, Mozilla's directory and SRV records.
    """
    run("connections.discover", address, save=save, json=json)


def _options(to: Addresses, cc: Addresses, bcc: Addresses, from_: str | None, reply_to: Addresses, *rest: Any) -> Any:
    from mailwright.cli.letter import Options  # noqa: PLC0415 - after --help

    subject, html, text, attach = rest
    return Options(
        to=to or (), cc=cc or (), bcc=bcc or (), from_=from_, reply_to=reply_to or (), subject=subject, html=html,
        text=text, attach=attach or (),
    )  # fmt: skip
