"""`mailwright plugins`: what is installed, why something is not, and what the user decides about it."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from attrs import asdict, evolve

from mailwright.choices import choices_file, read_choices, write_choices
from mailwright.cli.output import show_json
from mailwright.errors import PluginError
from mailwright.registry import PluginInfo, default_registry


def run(*, json: bool) -> int:
    """A table of every plugin."""
    infos = default_registry().plugins
    if json:
        show_json([asdict(info) for info in infos])
        return 0
    from rich.console import Console  # noqa: PLC0415 - not for --json
    from rich.table import Table  # noqa: PLC0415

    table = Table("plugin", "adds", "status", "distribution", "ms", box=None, pad_edge=False)
    for info in infos:
        status = info.status if not info.reason else f"{info.status}: {info.reason}"
        table.add_row(info.name, _adds(info), status, f"{info.distribution} {info.version}", f"{info.load_ms:.1f}")
    Console(markup=False, highlight=False).print(table)
    return 0


def info(name: str, *, json: bool) -> int:
    """Everything about the plugins of one name."""
    found = _named(name)
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
    [first, *_] = _named(name)
    path = choices_file()
    choices = read_choices(path)
    others = tuple(item for item in choices.disabled if item != first.name)
    write_choices(path, evolve(choices, disabled=others if enable else (*others, first.name)))
    print(f"{first.name} is {'enabled' if enable else 'disabled'} ({path})")  # noqa: T201 - the command's answer
    return 0


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
