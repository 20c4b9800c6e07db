"""Commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

EPILOG = "Exit codes: 0 sent or fine · 1 not delivered · 2 wrong input, nothing was sent · 3 outcome unknown"

app = typer.Typer(
    name="mailwright",
    help="Send e-mail: documents in, mail and receipts out. Start with: mailwright demo",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts in half the time
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
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
    from mailwright.cli import demo as command  # noqa: PLC0415 - only this command needs it

    _run(command.run, json=json)


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
    from mailwright.cli import send as command  # noqa: PLC0415 - only this command needs it

    options = _options(to, cc, bcc, from_, reply_to, subject, html, text, attach)
    bulk = (each, receipts, resume, retry_failed, concurrency)
    _run(
        _with(plugin, command.run), source, state, bulk=bulk, render_timeout=render_timeout, connection=connection, options=options, attach_root=attach_root, dry_run=dry_run,
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
    from mailwright.cli import check as command  # noqa: PLC0415 - only this command needs it

    _run(_with(plugin, command.run), node, state, attach_root=attach_root, original=original, output=output, json=json)


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
    from mailwright.cli import compose as command  # noqa: PLC0415 - only this command needs it

    options = _options(to, cc, bcc, from_, reply_to, subject, html, text, attach)
    _run(
        _with(plugin, command.run), node, state, connection=connection, options=options, output=output, attach_root=attach_root,
        json=json,
    )  # fmt: skip


@app.command()
def schema(kind: Annotated[Literal["node", "connection"], typer.Argument(help="Which document.")] = "node") -> None:
    """Print the JSON Schema of a document, plugins included."""
    from mailwright.cli import schema as command  # noqa: PLC0415 - only this command needs it

    _run(command.run, kind)


plugins = typer.Typer(help="List plugins, and why one was left out; choose and write them.")
app.add_typer(plugins, name="plugins")
PluginName = Annotated[str, typer.Argument(metavar="PLUGIN", help="As `mailwright plugins` lists it.")]


@plugins.callback(invoke_without_command=True)
def plugins_list(context: typer.Context, json: Json = False) -> None:
    """List plugins, and why one was left out; choose and write them."""
    if context.invoked_subcommand is None:
        from mailwright.cli import plugins as command  # noqa: PLC0415 - only this command needs it

        _run(command.run, json=json)


@plugins.command("info")
def plugins_info(name: PluginName, json: Json = False) -> None:
    """Show what one plugin adds, where it is from, and how it loaded."""
    from mailwright.cli import plugins as command  # noqa: PLC0415 - only this command needs it

    _run(command.info, name, json=json)


@plugins.command("enable")
def plugins_enable(name: PluginName) -> None:
    """Use a plugin again."""
    from mailwright.cli import plugins as command  # noqa: PLC0415 - only this command needs it

    _run(command.choose, name, enable=True)


@plugins.command("disable")
def plugins_disable(name: PluginName) -> None:
    """Leave a plugin out from now on."""
    from mailwright.cli import plugins as command  # noqa: PLC0415 - only this command needs it

    _run(command.choose, name, enable=False)


@plugins.command("new")
def plugins_new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Such as acme: the distribution becomes mailwright-acme.")
    ],
    kind: Annotated[
        Literal["provider", "auth", "attachment", "secret", "queue", "hooks"], typer.Option(help="What it brings.")
    ] = "provider",
    folder: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write it; default: here.")] = None,
) -> None:
    """Write a plugin that is ready to publish: package, tests that pass, README."""
    from mailwright.cli import plugins as command  # noqa: PLC0415 - only this command needs it

    _run(command.new, name, kind, folder)


@app.command()
def providers(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A service, an alias, or a domain.")] = None,
    json: Json = False,
) -> None:
    """List mail services; explain one of them."""
    from mailwright.cli import providers as command  # noqa: PLC0415 - only this command needs it

    _run(command.run, name, json=json)


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="0 is a free one.")] = 1025,
    folder: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep each message there as .eml.")] = None,
    json: Json = False,
) -> None:
    """Be an inbox on this machine until Ctrl-C."""
    from mailwright.cli import sandbox as command  # noqa: PLC0415 - only this command needs it

    _run(command.run, port, folder, json=json)


auth = typer.Typer(no_args_is_help=True, help="Log in, and look after the tokens of saved connections.")
app.add_typer(auth, name="auth")
SavedName = Annotated[str, typer.Argument(metavar="NAME", help="A saved connection.")]


@auth.command("login")
def auth_login(
    name: SavedName,
    device: Annotated[bool, typer.Option("--device", help="Log in on another device (Microsoft; not Google).")] = False,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the browser.")] = True,
) -> None:
    """Log in with the provider; keep the tokens."""
    from mailwright.cli import auth as command  # noqa: PLC0415 - only this command needs it

    _run(command.login, name, device=device, browser=browser)


@auth.command("status")
def auth_status(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A saved connection.")] = None, json: Json = False
) -> None:
    """Show which tokens are kept, and until when they are good."""
    from mailwright.cli import auth as command  # noqa: PLC0415 - only this command needs it

    _run(command.status, name, json=json)


@auth.command("refresh")
def auth_refresh(name: SavedName) -> None:
    """Get a new access token now."""
    from mailwright.cli import auth as command  # noqa: PLC0415 - only this command needs it

    _run(command.refresh, name)


@auth.command("reset")
def auth_reset(name: SavedName) -> None:
    """Forget cached tokens; the document's credential counts again."""
    from mailwright.cli import auth as command  # noqa: PLC0415 - only this command needs it

    _run(command.reset, name)


@auth.command("logout")
def auth_logout(name: SavedName) -> None:
    """Give the tokens back to the provider, and forget them."""
    from mailwright.cli import auth as command  # noqa: PLC0415 - only this command needs it

    _run(command.logout, name)


connections = typer.Typer(no_args_is_help=True, help="Saved connections: make, look at, try, take away.")
app.add_typer(connections, name="connections")
NewName = Annotated[str, typer.Argument(metavar="NAME", help="Its name.")]


@connections.command("add")
def connections_add(
    name: NewName,
    provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="A service (see: mailwright providers), or smtp.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Mail address: names the provider and the user.")
    ] = None,
    auth_: Annotated[
        str | None, typer.Option("--auth", metavar="METHOD", help="basic, oauth2, none, or a plugin's.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Of the document, such as auth.user=…; repeat it."),
    ] = None,
    secret: Annotated[
        list[str] | None, typer.Option(metavar="FIELD", help="Field of auth whose value is asked for; repeat it.")
    ] = None,
    keep: Annotated[
        Literal["keyring", "file"] | None, typer.Option(help="Where secrets go; default: keyring if any.")
    ] = None,
    project: Annotated[bool, typer.Option("--project", help="Into ./mailwright.toml instead of your folder.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace one of this name.")] = False,
) -> None:
    """Make one by questions; options answer them."""
    from mailwright.cli import connections as command  # noqa: PLC0415 - only this command needs it

    wanted = command.Wanted(
        provider=provider, address=address, auth=auth_, set=set_ or (), secrets=secret or (), keep=keep, project=project,
        replace=replace,
    )  # fmt: skip
    _run(command.add, name, wanted)


@connections.command("list")
def connections_list(json: Json = False) -> None:
    """Names, providers, files."""
    from mailwright.cli import connections as command  # noqa: PLC0415 - only this command needs it

    _run(command.list_, json=json)


@connections.command("show")
def connections_show(name: SavedName, json: Json = False) -> None:
    """Show one without its secrets, and what to watch out for."""
    from mailwright.cli import connections as command  # noqa: PLC0415 - only this command needs it

    _run(command.show, name, json=json)


@connections.command("verify")
def connections_verify(name: SavedName) -> None:
    """Connect, encrypt and log in; send nothing."""
    from mailwright.cli import connections as command  # noqa: PLC0415 - only this command needs it

    _run(command.verify, name)


@connections.command("remove")
def connections_remove(
    name: SavedName, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Take one away, with its secrets and tokens."""
    from mailwright.cli import connections as command  # noqa: PLC0415 - only this command needs it

    _run(command.remove, name, yes=yes)


@app.command()
def discover(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="A mail address.")],
    save: Annotated[str | None, typer.Option(metavar="NAME", help="Save the one you agree to under this name.")] = None,
    json: Json = False,
) -> None:
    """Find the SMTP server of an address: table, Autoconfig, ISPDB, SRV records."""
    from mailwright.cli import connections as command  # noqa: PLC0415 - only this command needs it

    _run(command.discover, address, save=save, json=json)


def _with(files: list[Path] | None, command: Any) -> Any:
    """The command, after these hook files were loaded: the user names them, never a document."""

    def run(*arguments: Any, **options: Any) -> Any:
        if files:
            from mailwright.registry import hand_in  # noqa: PLC0415 - rarely used

            hand_in(files)
        return command(*arguments, **options)

    return run


def _options(to: Addresses, cc: Addresses, bcc: Addresses, from_: str | None, reply_to: Addresses, *rest: Any) -> Any:
    from mailwright.cli.letter import Options  # noqa: PLC0415 - after --help

    subject, html, text, attach = rest
    return Options(
        to=to or (), cc=cc or (), bcc=bcc or (), from_=from_, reply_to=reply_to or (), subject=subject, html=html,
        text=text, attach=attach or (),
    )  # fmt: skip


def _run(command: Any, *arguments: Any, **options: Any) -> None:
    """Turn what a command returns into the exit code, and every expected error into one clear message."""
    from mailwright.errors import MailwrightError  # noqa: PLC0415 - after --help

    try:
        code = command(*arguments, **options)
    except MailwrightError as error:
        from mailwright.cli.output import complain  # noqa: PLC0415 - errors only

        code = complain(error, json=bool(options.get("json")))
    except KeyboardInterrupt:
        code = 130
    raise typer.Exit(code)


from mailwright.cli.outbox import app as _outbox  # noqa: E402 - its commands use `run_command`

run_command = _run
app.add_typer(_outbox, name="outbox")
