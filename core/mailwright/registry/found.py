"""Entry points that are installed, and the distributions they came with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

from attrs import frozen

GROUP: Final = "mailwright"
HOME: Final = "mailwright"


class EntryPoint(Protocol):
    """What the registry reads of `importlib.metadata.EntryPoint`."""

    @property
    def name(self) -> str:
        """What users type to disable it."""
        ...

    def load(self) -> Any:
        """Import the module."""
        ...


@frozen(kw_only=True)
class Found:
    """An entry point with the distribution that owns it."""

    distribution: str
    version: str
    entry_point: EntryPoint


def own_entry_points() -> Iterable[Found]:
    """Of the built-in plugins."""
    from importlib import metadata  # noqa: PLC0415 - 70 ms that a start without plugins does not pay

    try:
        home = metadata.distribution(HOME)
    except metadata.PackageNotFoundError:
        return
    for entry_point in home.entry_points:
        if entry_point.group == GROUP:
            yield Found(distribution=HOME, version=home.version, entry_point=entry_point)


def other_entry_points() -> Iterable[Found]:
    """Of everybody else's."""
    from importlib import metadata  # noqa: PLC0415 - as above

    for entry_point in metadata.entry_points(group=GROUP):
        distribution = entry_point.dist
        name = canonical(distribution.name) if distribution else "?"
        if name != HOME:
            version = distribution.version if distribution else ""
            yield Found(distribution=name, version=version, entry_point=entry_point)


def canonical(name: str) -> str:
    """As names of distributions are compared."""
    return name.lower().replace("_", "-").replace(".", "-")
