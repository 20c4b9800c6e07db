"""Which IP addresses belong to the public internet: a table of our own, the same on every Python.

`ipaddress.is_global` calls NAT64 and 6to4 forms of loopback global, and has changed its mind between releases
(CVE-2024-4032). Here an IPv4 address is public unless listed (IANA special-purpose registry); an IPv6 address is public only
inside 2000::/3, unless listed. Forms that wrap an IPv4 address are refused, except the well-known NAT64 prefix
(RFC 6052), whose inner address is judged: behind DNS64 every IPv4 host looks like this.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

IPAddress: TypeAlias = IPv4Address | IPv6Address
IPNetwork: TypeAlias = IPv4Network | IPv6Network

_V4: Final = tuple(
    (IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "an unspecified"),
        ("10.0.0.0/8", "a private"),
        ("100.64.0.0/10", "a shared (CGNAT)"),
        ("127.0.0.0/8", "a loopback"),
        ("168.63.129.16/32", "a cloud platform's"),  # Azure's host agent, although routed like a public one
        ("169.254.0.0/16", "a link-local"),
        ("172.16.0.0/12", "a private"),
        ("192.0.0.0/24", "a reserved"),
        ("192.0.2.0/24", "a documentation"),
        ("192.88.99.0/24", "a reserved"),
        ("192.168.0.0/16", "a private"),
        ("198.18.0.0/15", "a benchmarking"),
        ("198.51.100.0/24", "a documentation"),
        ("203.0.113.0/24", "a documentation"),
        ("224.0.0.0/4", "a multicast"),
        ("240.0.0.0/4", "a reserved"),
    )
)
_V6: Final = tuple(
    (IPv6Network(network), kind)
    for network, kind in (
        ("::/128", "an unspecified"),
        ("::1/128", "a loopback"),
        ("::ffff:0:0/96", "an IPv4-mapped"),
        ("::/96", "an IPv4-compatible"),
        ("64:ff9b:1::/48", "a local NAT64"),
        ("2001::/23", "a reserved"),  # Teredo, ORCHID, benchmarking
        ("2001:db8::/32", "a documentation"),
        ("2002::/16", "a 6to4"),
        ("3fff::/20", "a documentation"),
        ("fc00::/7", "a private"),
        ("fe80::/10", "a link-local"),
        ("fec0::/10", "a site-local"),
        ("ff00::/8", "a multicast"),
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
INSIDE: Final = frozenset({"a private", "a loopback", "a shared (CGNAT)", "a site-local"})
"""What a name on the allow-list may lead to; anything else takes a network of its own there."""


def kind_of(address: IPAddress) -> str | None:
    """What keeps an address out of the public internet, with its article; None for a public one."""
    if isinstance(address, IPv4Address):
        return next((kind for network, kind in _V4 if address in network), None)
    if address.scope_id is not None:
        return "a link-local"
    if address in _NAT64:
        return kind_of(IPv4Address(int(address) & 0xFFFFFFFF))
    found = next((kind for network, kind in _V6 if address in network), None)
    return found or (None if address in _GLOBAL_V6 else "a reserved")
