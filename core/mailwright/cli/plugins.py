"""`mailwright plugins`: what is installed, and why something is not."""

from __future__ import annotations

from attrs import asdict

from mailwright.cli.output import show_json
from mailwright.registry import default_registry


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
        table.add_row(
            info.name, ", ".join(info.adds), status, f"{info.distribution} {info.version}", f"{info.load_ms:.1f}"
        )
    Console().print(table)
    return 0
