"""Hosts inside the house that attachments may come from, by the user's explicit wish."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from typing import Final, Self

from attrs import frozen

from mailwright.errors import ConfigurationError
from mailwright.net.addresses import INSIDE, IPAddress, IPNetwork, kind_of

VARIABLE: Final = "MAILWRIGHT_ALLOW_FETCH"
_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
_NUMBER: Final = re.compile(r"(?:^|\.)(?:0x[0-9a-f]*|[0-9]+)\.?$")
"""A host whose last label is a number is an IPv4 address, however it is written (WHATWG URL, "ends in a number")."""


@frozen
class Allowed:
    """The allow-list.

    Args:
        names: Host names, lower case, exact. They may lead to private and loopback addresses.
        networks: Addresses in these are allowed whatever they are.
    """

    names: frozenset[str] = frozenset()
    networks: tuple[IPNetwork, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str], *, field: str = VARIABLE) -> Self:
        """Read host names, addresses and networks (``10.1.0.0/16``).

        Raises:
            ConfigurationError: Names the entry that is none of these.
        """
        names, networks = set[str](), list[IPNetwork]()
        for entry in entries:
            text = entry.strip().lower().strip("[]")
            try:
                networks.append(ipaddress.ip_network(text))
            except ValueError as error:
                if "/" in text or ":" in text or _NUMBER.search(text) or not _NAME.fullmatch(text):
                    msg = f"{field}: {entry[:80]!r} is neither a host name nor a network such as 10.1.0.0/16: {error}"
                    raise ConfigurationError(msg) from None
                names.add(text.rstrip("."))
        return cls(frozenset(names), tuple(networks))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read ``MAILWRIGHT_ALLOW_FETCH``, separated by commas or blanks."""
        text = (os.environ if environ is None else environ).get(VARIABLE, "")
        return cls.parse(text.replace(",", " ").split())

    def __or__(self, other: Allowed) -> Allowed:
        """Both."""
        return Allowed(self.names | other.names, (*self.networks, *other.networks))

    def holds(self, host: str) -> bool:
        """Whether a host is named here."""
        return host.rstrip(".") in self.names

    def refusal(self, host: str, address: IPAddress) -> str | None:
        """Why an address that a host has must not be connected to; None: it may."""
        kind = kind_of(address)
        if kind is None or (kind in INSIDE and self.holds(host)):
            return None
        if any(address in network for network in self.networks if network.version == address.version):
            return None
        return f"{kind} address"


def literal(host: str) -> IPAddress | None:
    """The address a host is, None for a name.

    Raises:
        ValueError: For other spellings of addresses (``0x7f.1``, ``2130706433``), which programs read differently.
    """
    bare = host.removeprefix("[").removesuffix("]")
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        if ":" in bare or "%" in bare or _NUMBER.search(bare):
            msg = "an unusual spelling of an address; write it like 93.184.216.34"
            raise ValueError(msg) from None
        if not _NAME.fullmatch(bare):
            msg = "not a host name"
            raise ValueError(msg) from None
        return None
