"""Objects whose class a plugin brings: ``{type: …, …}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cattrs import Converter

from mailwright.documents.catalogue import Catalogue, Kind, settings_class
from mailwright.documents.converter import structure_class
from mailwright.documents.kinds import kind_of, wrong
from mailwright.documents.plain import plain
from mailwright.documents.problems import Invalid
from mailwright.errors import PluginError
from mailwright.model import Settings

_EXAMPLES: dict[Kind, str] = {"auth": "basic or oauth2", "attachment": "file, url or text", "provider": "smtp"}


def structure_tagged(converter: Converter, data: object, kind: Kind, catalogue: Catalogue) -> tuple[str, Settings]:
    """Choose the settings class by ``type`` and structure the rest with it."""
    if not isinstance(data, Mapping):
        raise wrong("an object with a type", data)
    if "type" not in data:
        raise Invalid(("missing", ("type",), f"missing: {_EXAMPLES[kind]}, or another plugin's"))
    name = data["type"]
    if type(name) is not str:
        raise Invalid(("wrong-type", ("type",), f"text, not {kind_of(name)}"))
    cls = find(catalogue, kind, name, "type")
    rest = {key: value for key, value in data.items() if key != "type"}
    return name, structure_class(converter, cls, rest)


def find(catalogue: Catalogue, kind: Kind, name: str, *steps: str) -> type[Settings]:
    """Look a class up; a miss is a mistake at `steps`."""
    try:
        return settings_class(catalogue, kind, name)
    except PluginError as error:
        raise Invalid((f"unknown-{kind}", steps, error.message)) from None


def plain_tagged(name: str, settings: Settings) -> dict[str, Any]:
    """The inverse."""
    return {"type": name, **plain(settings)}
