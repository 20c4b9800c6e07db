"""`mailwright plugins`: what is installed, why something is not, and what the user decides about it."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from attrs import asdict, evolve

from mailwright.choices import choices_file, read_choices, write_choices
from mailwright.cli.output import show_json
from mailwright.errors import PluginError
from mailwright.registry import PluginInfo, default_registry

_HEAD = ("plugin", "version", "distribution", "status", "ms", "adds")


def run(*, json: bool) -> int:
    """A table of every plugin; below it why one was left out."""
    registry = default_registry()
    infos = registry.plugins
    if json:
        show_json([asdict(info) for info in infos])
        return 0
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 1000
    for line in (*_table(infos, width), *_reasons(infos, width)):
        print(line)  # noqa: T201 - the command's answer
    for word in registry.unmatched:
        sys.stderr.write(
            f"warning: no plugin or distribution is called {word!r}, which is allowed or disabled by name\n"
        )
    return 0


def _table(infos: Sequence[PluginInfo], width: int) -> Iterator[str]:
    """Columns; what a plugin adds wraps in its column, or stands below where the terminal is narrow."""
    rows = [
        (info.name, info.version, info.distribution, info.status, f"{info.load_ms:.1f}", _adds(info)) for info in infos
    ]
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    start = sum(widths[:-1]) + 2 * len(widths[:-1])
    below = width - start < 30
    for row in (_HEAD, *rows):
        cells = [
            cell.rjust(size) if index == 4 else cell.ljust(size)
            for index, (cell, size) in enumerate(zip(row, widths, strict=True))
        ]
        head, adds = "  ".join(cells[:-1]), row[-1]
        if below:
            yield head.rstrip()
            yield from textwrap.wrap(adds, width, initial_indent="    ", subsequent_indent="    ")
        else:
            first, *more = textwrap.wrap(adds, width - start) or [""]
            yield f"{head}  {first}".rstrip()
            yield from (" " * start + line for line in more)


def _reasons(infos: Sequence[PluginInfo], width: int) -> Iterator[str]:
    for info in infos:
        if info.reason:
            yield ""
            text = f"{info.name} of {info.distribution} is {info.status}: {info.reason}"
            yield from textwrap.wrap(text, width, subsequent_indent="    ", break_on_hyphens=False)


def info(name: str, *, json: bool) -> int:
    """Everything about the plugins of one name, of one distribution, or that add something of that name."""
    infos = default_registry().plugins
    found = [item for item in infos if name in {item.name, item.distribution, *_added(item)}] or _named(name)
    if json:
        show_json([asdict(item) for item in found])
        return 0
    from rich.console import Console  # noqa: PLC0415 - not for --json

    console = Console(markup=False, highlight=False)
    for item in found:
        console.print(item.name)
        console.print(f"  from     {item.distribution} {item.version}".rstrip())
        console.print(f"  status   {item.status}" + (f": {item.reason}" if item.reason else ""))
        for added in item.adds:
            console.print(f"  adds     {added}{_title(added)}")
        console.print(f"  loading  {item.load_ms:.1f} ms")
    return 0


def choose(name: str, *, enable: bool) -> int:
    """Remember whether a plugin is wanted."""
    wanted = _wanted(name)
    path = choices_file()
    choices = read_choices(path)
    others = tuple(item for item in choices.disabled if item != wanted)
    write_choices(path, evolve(choices, disabled=others if enable else (*others, wanted)))
    print(f"{wanted} is {'enabled' if enable else 'disabled'} ({path})")  # noqa: T201 - the command's answer
    if enable and wanted in {word.strip() for word in os.environ.get("MAILWRIGHT_DISABLED_PLUGINS", "").split(",")}:
        sys.stderr.write("warning: MAILWRIGHT_DISABLED_PLUGINS still disables it\n")
    return 0


def _wanted(name: str) -> str:
    """A plugin's name, or the distribution that tells two of one name apart."""
    infos = default_registry().plugins
    if any(item.distribution == name and item.distribution != "mailwright" for item in infos):
        return name
    owners = {item.distribution for item in _named(name)}
    if len(owners) > 1:
        raise PluginError(
            f"{len(owners)} plugins are called {name!r}: name a distribution, {' or '.join(sorted(owners))}"
        )
    return name


def new(name: str, kind: str, folder: Path | None) -> int:
    """Write a distribution that is ready to be published."""
    from mailwright.cli import scaffold  # noqa: PLC0415 - only this command needs it

    made = scaffold.write(name, kind, folder or Path())
    for line in scaffold.next_steps(made):
        print(line)  # noqa: T201 - the command's answer
    return 0


def _named(name: str) -> list[PluginInfo]:
    infos = default_registry().plugins
    found = [item for item in infos if item.name == name]
    if not found:
        near = get_close_matches(name, [item.name for item in infos], n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see: mailwright plugins"
        raise PluginError(f"no plugin is called {name!r}: {hint}")
    return found


def _added(item: PluginInfo) -> Iterator[str]:
    return (added.partition(" ")[2] for added in item.adds)


def _adds(item: PluginInfo, most: int = 4) -> str:
    shown = ", ".join(item.adds[:most])
    return shown if len(item.adds) <= most else f"{shown} and {len(item.adds) - most} more"


def _title(added: str) -> str:
    kind, _, name = added.partition(" ")
    if kind not in {"provider", "auth", "attachment"}:
        return ""
    try:
        title, _ = default_registry().label(kind, name)  # type: ignore[arg-type]
    except PluginError as error:
        return f"  {error.message}"
    return f"  {title}" if title else ""
