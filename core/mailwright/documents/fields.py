"""Fields of settings classes, and the keys that documents write them with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import attrs

from mailwright.documents.catalogue import hint
from mailwright.documents.kinds import kind_of, wrong
from mailwright.documents.problems import Collector


def key_of(attribute: attrs.Attribute[Any]) -> str:
    """The canonical key of a field: ``from_`` is ``from``."""
    return attribute.name.strip("_")


def camel(key: str) -> str:
    """``store_result`` → ``storeResult``."""
    head, *rest = key.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def fields(cls: type) -> tuple[attrs.Attribute[Any], ...]:
    """Fields of an attrs class that documents can set, with resolved types."""
    return _fields(cls)  # mypy takes no class for an argument of a cached function's own type


@cache
def _fields(cls: type) -> tuple[attrs.Attribute[Any], ...]:
    attrs.resolve_types(cls)
    return tuple(attribute for attribute in attrs.fields(cls) if attribute.init)


def spellings(cls: type) -> Mapping[str, str]:
    """Every accepted key → canonical key."""
    return _spellings(cls)


@cache
def _spellings(cls: type) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for attribute in fields(cls):
        key = key_of(attribute)
        for spelling in (key, *attribute.metadata.get("aliases", ())):
            found[spelling] = key
            found.setdefault(camel(spelling), key)
    return MappingProxyType(found)


def canonical_keys(
    cls: type, data: object, collect: Collector, *, extra: Collection[str] = ()
) -> dict[str, tuple[str, Any]]:
    """Sort a mapping by canonical keys.

    Args:
        cls: Whose keys.
        data: The object as written.
        collect: Takes unknown keys and keys given twice.
        extra: Keys that belong to someone else, passed over.

    Returns:
        Canonical key → (spelling, value).
    """
    if not isinstance(data, Mapping):
        raise wrong("an object", data)
    known, found = spellings(cls), dict[str, tuple[str, Any]]()
    for spelling, value in data.items():
        if not isinstance(spelling, str):
            collect.add("unknown-key", f"keys are text, not {kind_of(spelling)}: {spelling!r}")
            continue
        if spelling in extra:
            continue
        key = known.get(spelling)
        if key is None:
            advice = hint(spelling, set(known.values()))
            collect.add("unknown-key", f"unknown key{f'; {advice}' if advice else ''}", spelling)
        elif key in found:
            collect.add("duplicate-key", f"the same as {found[key][0]!r}; give one of them", spelling)
        else:
            found[key] = (spelling, value)
    return found


def is_default(attribute: attrs.Attribute[Any], value: object) -> bool:
    """Whether a field holds what it would hold unwritten."""
    default: Any = attribute.default
    if default is attrs.NOTHING:
        return False
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        if default.takes_self:
            return False
        default = default.factory()
    return type(default) is type(value) and bool(default == value)
