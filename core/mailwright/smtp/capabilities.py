"""What a server offers, as its EHLO says (RFC 5321 §4.1.1.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from attrs import field, frozen


@frozen(kw_only=True)
class Capabilities:
    """Keywords (upper case) with their parameters.

    Attributes:
        keywords: ``{"SIZE": "1000", "PIPELINING": ""}``.
        mechanisms: SASL mechanisms.
    """

    keywords: Mapping[str, str] = field(factory=dict)
    mechanisms: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, lines: Iterable[str], *, mask: Iterable[str] = ()) -> Capabilities:
        """Read the lines after the greeting line; leave out what the user masks."""
        masked = {keyword.upper() for keyword in mask}
        keywords: dict[str, str] = {}
        mechanisms: set[str] = set()
        for line in lines:
            keyword, _, parameters = line.strip().partition(" ")
            keyword = keyword.upper()
            if keyword.startswith("AUTH="):  # an old spelling that some servers still add
                keyword, parameters = "AUTH", f"{keyword[5:]} {parameters}"
            if keyword in masked or not keyword:
                continue
            if keyword == "AUTH":
                mechanisms.update(parameters.upper().split())
            keywords[keyword] = parameters
        mechanisms -= masked
        return cls(keywords=keywords, mechanisms=frozenset(mechanisms))

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.keywords

    @cached_property
    def size(self) -> int | None:
        """Largest message in octets; None: not said, or no limit (RFC 1870 §4)."""
        return _number(self.keywords.get("SIZE", ""))

    def limit(self, name: str) -> int | None:
        """One of ``LIMITS`` (RFC 9422): ``RCPTMAX``, ``MAILMAX``, ``RCPTDOMAINMAX``."""
        return self._limits.get(name)

    @cached_property
    def _limits(self) -> Mapping[str, int | None]:
        pairs = (pair.partition("=") for pair in reversed(self.keywords.get("LIMITS", "").upper().split()))
        return {key: _number(value) for key, _, value in pairs}


def _number(value: str) -> int | None:
    """A positive number of up to 19 digits, else None."""
    return int(value) or None if value.isdecimal() and value.isascii() and len(value) < 20 else None
