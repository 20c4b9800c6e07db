"""Settings of an unknown mail domain: our table, its own Autoconfig file, Mozilla's ISPDB, SRV records of its DNS.

Autoconfig: draft-ietf-mailmaint-autoconfig-06, steps 1.1, 1.2 and 2; its step over plain http is left out. SRV: RFC 6186 §3.1
and RFC 8314 §5.1, implicit TLS first. Nothing found here is used before a person has agreed.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import quote
from xml.etree import ElementTree as ET  # document types are refused before it reads a byte

from attrs import frozen

from mailwright.errors import ConfigurationError, HttpError
from mailwright.model import Address, SmtpEndpoint, Tls
from mailwright.ports import Http, HttpRequest

if TYPE_CHECKING:
    from mailwright.registry import Registry

ISPDB: Final = "https://v1.ispdb.net/"
MAX_BYTES: Final = 65536
_HOST: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?)*\Z"
)
_TLS: Final[dict[str, Tls]] = {"SSL": "tls", "STARTTLS": "starttls"}
_AUTH: Final = {"OAuth2": "oauth2", "password-cleartext": "basic", "password-encrypted": "basic"}


@frozen(kw_only=True)
class SrvRecord:
    """One SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


Srv = Callable[[str], Awaitable[Sequence[SrvRecord]]]
"""Name → its SRV records, empty when there are none."""


@frozen(kw_only=True)
class Finding:
    """Settings, and who says so.

    Attributes:
        provider: A known provider's name, or ``smtp``.
        endpoint: Its server.
        username: What to log in with, None where nobody says.
        auth: Method, None where nobody says.
        source: URL or DNS name it is from.
        note: What to check before it is used.
    """

    provider: str
    endpoint: SmtpEndpoint
    username: str | None = None
    auth: str | None = None
    source: str
    note: str = ""

    def document(self) -> dict[str, object]:
        """As a connection document, without the secret."""
        found: dict[str, object] = {"provider": self.provider}
        if self.provider == "smtp":
            found |= {"host": self.endpoint.host, "port": self.endpoint.port, "tls": self.endpoint.tls}
        return found


async def discover(address: str, *, registry: Registry, http: Http, srv: Srv, ispdb: str = ISPDB) -> list[Finding]:
    """Ask everybody who could know, in order of trust.

    Args:
        address: A mail address.
        registry: Knows services by domain.
        http: Guarded; https is asked for.
        srv: DNS.
        ispdb: Mozilla's directory of providers.

    Returns:
        What was found, best first; empty when nobody knows.

    Raises:
        AddressError: It is no address.
        ConfigurationError: DNS cannot be asked, and nobody else knows.
    """
    mailbox = Address.parse(address).email
    domain = mailbox.rpartition("@")[2].lower()
    if not _HOST.match(domain):
        msg = f"{address}: {domain!r} is not a domain that can be asked for"
        raise ConfigurationError(msg)
    found = []
    if (known := registry.provider_for(mailbox)) is not None and known.endpoint is not None:
        endpoint = known.endpoint(known.settings())
        found.append(
            Finding(provider=known.name, endpoint=endpoint, username=mailbox, source="built-in table", note=known.note)
        )
    for url in _places(mailbox, domain, ispdb):
        found += await _autoconfig(url, mailbox, http)
    try:
        found += await _records(domain, mailbox, srv)
    except ConfigurationError:  # the extra for DNS is missing
        if not found:
            raise
    return _distinct(found)


def _places(mailbox: str, domain: str, ispdb: str) -> tuple[str, ...]:
    asked = f"mail/config-v1.1.xml?emailaddress={quote(mailbox, safe='')}"
    return (
        f"https://autoconfig.{domain}/{asked}",
        f"https://{domain}/.well-known/autoconfig/{asked}",
        f"{ispdb}{domain}",
    )


async def _autoconfig(url: str, mailbox: str, http: Http) -> list[Finding]:
    try:
        answer = await http.request(HttpRequest(method="GET", url=url), max_bytes=MAX_BYTES)
    except HttpError:
        return []
    return read_config(answer.body, mailbox, source=url.partition("?")[0]) if answer.status == 200 else []


def read_config(xml: bytes, mailbox: str, *, source: str) -> list[Finding]:
    """The SMTP servers of an Autoconfig file, in its order; without TLS none is taken. Bad files hold nothing."""
    if b"<!" in xml.replace(b"<!--", b""):  # a document type could define entities
        return []
    try:
        root = ET.fromstring(xml)  # noqa: S314 - no document type, no entities; size is bounded
    except (ET.ParseError, ValueError, LookupError):
        return []
    found = [
        _server(element, mailbox, source) for element in root.iter("outgoingServer") if element.get("type") == "smtp"
    ]
    return [finding for finding in found if finding is not None]


def _server(element: ET.Element, mailbox: str, source: str) -> Finding | None:
    host, port = _text(element, "hostname").lower(), _text(element, "port")
    tls = _TLS.get(_text(element, "socketType"))
    if tls is None or not _HOST.match(host) or not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
        return None
    said = [(child.text or "").strip() for child in element.findall("authentication")]
    auth = next((_AUTH[word] for word in said if word in _AUTH), None)
    local, _, domain = mailbox.rpartition("@")
    user = _text(element, "username")
    for mark, value in (("%EMAILADDRESS%", mailbox), ("%EMAILLOCALPART%", local), ("%EMAILDOMAIN%", domain)):
        user = user.replace(mark, value)
    user = user if user.isprintable() and "%" not in user else ""
    return Finding(
        provider="smtp",
        endpoint=SmtpEndpoint(host=host, port=int(port), tls=tls),
        username=user or None,
        auth=auth,
        source=source,
        note=_elsewhere(host, domain),
    )


def _text(element: ET.Element, name: str) -> str:
    return (element.findtext(name) or "").strip()[:320]


async def _records(domain: str, mailbox: str, srv: Srv) -> list[Finding]:
    """Implicit TLS before STARTTLS; a target of "." says that there is none (RFC 6186 §3.4)."""
    found = []
    services: tuple[tuple[str, Tls], ...] = (("_submissions._tcp", "tls"), ("_submission._tcp", "starttls"))
    for service, tls in services:
        name = f"{service}.{domain}"
        for record in sorted(await srv(name), key=lambda record: (record.priority, -record.weight)):
            host = record.target.rstrip(".").lower()
            if host and _HOST.match(host) and 0 < record.port < 65536:
                note = "; ".join(
                    filter(
                        None, ("DNS is not signed here: compare with the provider's own page", _elsewhere(host, domain))
                    )
                )
                endpoint = SmtpEndpoint(host=host, port=record.port, tls=tls)
                found.append(
                    Finding(provider="smtp", endpoint=endpoint, username=mailbox, source=f"SRV {name}", note=note)
                )
    return found


def _elsewhere(host: str, domain: str) -> str:
    return (
        ""
        if host == domain or host.endswith(f".{domain}")
        else f"the server is outside {domain}: is that your provider?"
    )


def _distinct(found: Sequence[Finding]) -> list[Finding]:
    """Each server once, told by whom it is trusted most to."""
    kept: dict[SmtpEndpoint, Finding] = {}
    for finding in found:
        kept.setdefault(finding.endpoint, finding)
    return list(kept.values())


async def srv_by_system(name: str) -> Sequence[SrvRecord]:
    """Ask the system's name servers. Raises `ConfigurationError` without dnspython."""
    try:
        from dns import asyncresolver, exception  # noqa: PLC0415 - an extra
    except ImportError:
        msg = 'looking for SRV records needs an extra: pip install "mailwright[discover]"'
        raise ConfigurationError(msg) from None
    return await srv_by(asyncresolver.Resolver(), name, exception.DNSException)


async def srv_by(resolver: object, name: str, failure: type[Exception]) -> Sequence[SrvRecord]:
    """Ask through a dnspython resolver; whatever fails counts as no record."""
    try:
        answers = await resolver.resolve(name, "SRV", lifetime=5.0)  # type: ignore[attr-defined]
    except failure:
        return ()
    return [
        SrvRecord(priority=item.priority, weight=item.weight, port=item.port, target=str(item.target))
        for item in answers
    ]
