"""Settings of plugins, and secrets."""

from __future__ import annotations

from attrs import field, frozen


@frozen(kw_only=True)
class Settings:
    """Base of every plugin's settings: a frozen attrs class, structured from a document by its `type`.

    Field metadata that documents understand: ``{"title": str, "description": str, "secret": bool, "template": bool,
    "aliases": tuple[str, ...]}``.
    """


@frozen
class Secret:
    """A literal or a reference (``env:NAME``, ``file:PATH``, ``keyring:SERVICE/USER``, or a plugin's scheme).

    Never reveals itself: not in ``repr``, ``str`` or errors. Only `Opening.reveal` turns it into text.
    """

    reference: str = field(repr=False)

    def __str__(self) -> str:
        return "***"
