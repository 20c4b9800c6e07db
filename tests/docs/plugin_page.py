"""The directory of known plugins: built-ins from the registry, contrib's from what they say of themselves."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from mailwright import Registry
from mailwright.testing.contracts.settings import setting_fields

CONTRIB = Path(__file__).parents[2] / "contrib"
BEGIN, END = "<!-- begin -->\n", "<!-- end -->\n"


def built_in() -> str:
    """A row for each entry point: what it adds, and what may be set."""
    registry = Registry(installed=False, environ={})
    rows = ["| plugin | adds | options |", "|---|---|---|"]
    for info in sorted(registry.plugins, key=lambda info: info.name):
        adds, options = list(info.adds), []
        for added in info.adds:
            for key in settings_of(registry, added):
                if key not in options:
                    options.append(key)
        if len(adds) > 6:
            adds = [f"{len(adds)} mail services: `mailwright providers` lists them"]
        rows.append(f"| `{info.name}` | {', '.join(adds)} | {', '.join(f'`{key}`' for key in options)} |")
    return "\n".join(rows) + "\n"


def settings_of(registry: Registry, added: str) -> list[str]:
    """Keys that a document may set for something that is added."""
    kind, _, name = added.partition(" ")
    find: dict[str, Any] = {
        "provider": registry._claims.records["provider"].get,
        "auth": registry._claims.records["auth"].get,
        "attachment": registry._claims.records["attachment"].get,
    }
    entry = find[kind](name) if kind in find else None
    return [] if entry is None else [field.name.strip("_") for field in setting_fields(entry.record.settings)]


def distributions() -> dict[str, list[str]]:
    """What is in contrib/, and the entry points each has."""
    found = {}
    for path in sorted(CONTRIB.glob("*/pyproject.toml")):
        project = tomllib.loads(path.read_text())["project"]
        found[project["name"]] = sorted(project.get("entry-points", {}).get("mailwright", {}))
    return found
