"""What to say of a name that nobody has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from mailwright.registry.claims import PluginInfo
from mailwright.vetting import Kind

_SHOWN: Final = 20
"""Names in an error."""
WORDS: Final[Mapping[Kind, str]] = MappingProxyType({
    "provider": "provider",
    "auth": "auth.type",
    "attachment": "attachment type",
    "secret": "secret scheme",
    "queue": "outbox engine",
})  # fmt: skip
"""What documents call each kind."""
KNOWN_DISTRIBUTIONS: Final[Mapping[tuple[Kind, str], str]] = MappingProxyType({
    ("provider", "graph"): "mailwright-graph",
    ("provider", "microsoft-graph"): "mailwright-graph",
    ("provider", "gmail-api"): "mailwright-gmail-api",
    ("provider", "ses-api"): "mailwright-ses",
    ("provider", "postmark-api"): "mailwright-postmark",
    ("auth", "aws"): "mailwright-ses",
    ("auth", "postmark-token"): "mailwright-postmark",
    ("queue", "postgresql"): "mailwright-pgqueuer",
    ("queue", "postgres"): "mailwright-pgqueuer",
    ("queue", "amqp"): "mailwright-taskiq",
    ("queue", "amqps"): "mailwright-taskiq",
})  # fmt: skip


def _install_hint(kind: Kind, name: str) -> str:
    """Only distributions of our own are ever recommended: a document must not choose what a user installs."""
    known = KNOWN_DISTRIBUTIONS.get((kind, name))
    return f" (pip install {known})" if known else ""


def unknown(kind: Kind, name: str, *, known: Iterable[str], plugins: Iterable[PluginInfo]) -> str:
    """The nearest name, what could be installed, and plugins that were left out.

    Args:
        kind: Of what was asked for.
        name: As it was asked for.
        known: Names there are.
        plugins: All of them.
    """
    from difflib import get_close_matches  # noqa: PLC0415 - errors only

    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    broken = [info for info in plugins if info.status != "active"]
    some = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    hint = f"did you mean {near[0]!r}?" if near else f"there are {some or 'none'}"
    left_out = "".join(
        f"; plugin {info.name} of {info.distribution} is {info.status}: {info.reason}" for info in broken[:2]
    )
    left_out += f"; {len(broken) - 2} more are left out: mailwright plugins" if len(broken) > 2 else ""
    return f"unknown {WORDS[kind]} {name!r}: {hint}{_install_hint(kind, name)}{left_out}"
