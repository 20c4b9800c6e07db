"""What documents need to know about plugins: which settings belong to which name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Literal, Protocol, runtime_checkable

from mailwright.model import Settings

Kind = Literal["provider", "auth", "attachment"]


class Catalogue(Protocol):
    """Settings classes by name. Each lookup raises `PluginError` for a name it does not know."""

    def provider_settings(self, name: str) -> type[Settings]:
        """Settings of a provider."""
        ...

    def auth_settings(self, name: str) -> type[Settings]:
        """Settings of an authentication method."""
        ...

    def attachment_settings(self, name: str) -> type[Settings]:
        """Settings of an attachment source."""
        ...

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Every known name of one kind."""
        ...


@runtime_checkable
class Labelled(Protocol):
    """A catalogue that can also describe its entries to people."""

    def label(self, kind: Kind, name: str) -> tuple[str, str]:
        """Title and note of one entry; empty where there is none."""
        ...


def settings_class(catalogue: Catalogue, kind: Kind, name: str) -> type[Settings]:
    """Look one settings class up.

    Raises:
        PluginError: When nothing has that name.
    """
    if kind == "provider":
        return catalogue.provider_settings(name)
    if kind == "auth":
        return catalogue.auth_settings(name)
    return catalogue.attachment_settings(name)


def hint(word: str, known: Iterable[str]) -> str:
    """``did you mean 'subject'?``, or the choices when nothing is near and they are few, or nothing."""
    names = sorted(known)
    if near := get_close_matches(word, names, n=1, cutoff=0.6):
        return f"did you mean {near[0]!r}?"
    if 0 < len(names) <= 12:
        return f"one of {', '.join(names)}"
    return ""
