"""Models → plain values: the inverse of `converter`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

import attrs

from mailwright.documents.fields import fields, is_default, key_of
from mailwright.model import Address, Secret


def plain(value: object) -> Any:
    """Plain values for a document; fields at their default are left out."""
    if isinstance(value, Secret):
        return value.reference
    if isinstance(value, (Address, PurePath)):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if attrs.has(type(value)):
        return plain_fields(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (frozenset, set)):
        return sorted(plain(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def plain_fields(value: object, *, skip: Collection[str] = ()) -> dict[str, Any]:
    """As `plain`, for an attrs instance."""
    found: dict[str, Any] = {}
    for attribute in fields(type(value)):
        item = getattr(value, attribute.name)
        if attribute.name not in skip and not is_default(attribute, item):
            found[key_of(attribute)] = plain(item)
    return found
