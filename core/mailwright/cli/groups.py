"""`mailwright plugins | auth | connections …`: commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mailwright.cli.commands import Json, run

plugins = typer.Typer(help="List, choose and write plugins; say why one was left out.")
PluginName = Annotated[str, typer.Argument(metavar="PLUGIN", help="As `mailwright plugins` lists it.")]


@plugins.callback(invoke_without_command=True)
def plugins_list(context: typer.Context, json: Json = False) -> None:
    """List, choose and write plugins; say why one was left out."""
    if context.invoked_subcommand is None:
        run("plugins.run", json=json)


@plugins.command("info")
def plugins_info(name: PluginName, json: Json = False) -> None:
    """Show what one plugin adds, where it is from, and how it loaded."""
    run("plugins.info", name, json=json)


@plugins.command("enable")
def plugins_enable(name: PluginName) -> None:
    """Use a plugin again."""
    run("plugins.choose", name, enable=True)


@plugins.command("disable")
def plugins_disable(name: PluginName) -> None:
    """Leave a plugin out from now on."""
    run("plugins.choose", name, enable=False)


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
    """Write a plugin that is ready to publish.

    A package with tests that pass, types, README and changelog.
    """
    run("plugins.new", name, kind, folder)


auth = typer.Typer(no_args_is_help=True, help="Log in, and look after the tokens of saved connections.")
SavedName = Annotated[str, typer.Argument(metavar="NAME", help="A saved connection.")]


@auth.command("login")
def auth_login(
    name: SavedName,
    device: Annotated[bool, typer.Option("--device", help="Log in on another device (Microsoft; not Google).")] = False,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the browser.")] = True,
) -> None:
    """Log in with the provider; keep the tokens."""
    run("auth.login", name, device=device, browser=browser)


@auth.command("status")
def auth_status(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A saved connection.")] = None, json: Json = False
) -> None:
    """Show which tokens are kept, and until when they are good."""
    run("auth.status", name, json=json)


@auth.command("refresh")
def auth_refresh(name: SavedName) -> None:
    """Get a new access token now."""
    run("auth.refresh", name)


@auth.command("reset")
def auth_reset(name: SavedName) -> None:
    """Forget cached tokens; the document's credential counts again."""
    run("auth.reset", name)


@auth.command("logout")
def auth_logout(name: SavedName) -> None:
    """Give the tokens back to the provider, and forget them."""
    run("auth.logout", name)


connections = typer.Typer(no_args_is_help=True, help="Saved connections: make, look at, try, take away.")
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
    from mailwright.cli.connections import Wanted  # noqa: PLC0415 - after --help

    wanted = Wanted(
        provider=provider, address=address, auth=auth_, set=set_ or (), secrets=secret or (), keep=keep, project=project,
        replace=replace,
    )  # fmt: skip
    run("connections.add", name, wanted)


@connections.command("list")
def connections_list(json: Json = False) -> None:
    """Names, providers, files."""
    run("connections.list_", json=json)


@connections.command("show")
def connections_show(name: SavedName, json: Json = False) -> None:
    """Show one without its secrets, and what to watch out for."""
    run("connections.show", name, json=json)


@connections.command("verify")
def connections_verify(name: SavedName) -> None:
    """Connect, encrypt and log in; send nothing."""
    run("connections.verify", name)


@connections.command("remove")
def connections_remove(
    name: SavedName, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Take one away, with its secrets and tokens."""
    run("connections.remove", name, yes=yes)
