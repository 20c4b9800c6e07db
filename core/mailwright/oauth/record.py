"""What is kept of a token between two runs: one line of JSON, opaque to stores. Pure."""

from __future__ import annotations

import json
from typing import Any

from attrs import asdict, evolve, field, frozen


@frozen(kw_only=True)
class Record:
    """A stored token.

    Attributes:
        access_token: The last one.
        expires_at: Seconds since 1970; None: not known.
        obtained_at: Likewise.
        refresh_token: The newest one; None: the document's still counts.
        lease: Who is renewing it just now, where the store has no lock.
        lease_until: Seconds since 1970.
    """

    access_token: str | None = field(default=None, repr=False)
    expires_at: float | None = None
    obtained_at: float | None = None
    refresh_token: str | None = field(default=None, repr=False)
    lease: str | None = None
    lease_until: float = 0.0

    def text(self) -> str:
        """For a store."""
        values = asdict(self, filter=lambda attribute, value: value not in {None, 0.0})
        return json.dumps({"v": 1, **values}, separators=(",", ":"), sort_keys=True)

    def same_token(self, other: Record) -> bool:
        """Whether nothing was renewed in between."""
        return (self.access_token, self.refresh_token) == (other.access_token, other.refresh_token)

    def free(self) -> Record:
        """Without a lease."""
        return evolve(self, lease=None, lease_until=0.0)


_TYPES: dict[str, tuple[type, ...]] = {
    "access_token": (str,), "refresh_token": (str,), "lease": (str,),
    "expires_at": (int, float), "obtained_at": (int, float), "lease_until": (int, float),
}  # fmt: skip


def parse(text: str | None) -> Record:
    """The inverse of `Record.text`; what is no record counts as none: then the credential is used afresh."""
    try:
        values: Any = json.loads(text) if text else {}
    except ValueError:
        values = {}
    if not isinstance(values, dict) or values.get("v") != 1:
        return Record()
    return Record(**{name: values[name] for name, types in _TYPES.items() if isinstance(values.get(name), types)})
