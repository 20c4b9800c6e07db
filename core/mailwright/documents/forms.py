"""The two documents as people write them: keys, types, titles. Loading, saving and the JSON Schema all read these classes.

Metadata: ``title``, ``description``, ``aliases``, ``template`` (takes ``{{ … }}``), ``group`` (of a rendered form), ``parse``
(raw value → value, instead of the type's own), ``schema`` (JSON Schema of such a field).
"""
# ruff: noqa: RUF009 - key() is attrs.field with words for people

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

from mailwright.documents import values
from mailwright.model import Address, ContentSource


def key(title: str, description: str = "", *, default: Any = None, **metadata: Any) -> Any:
    """A field with its words for people."""
    return field(default=default, metadata={"title": title, "description": description, **metadata})


@frozen(kw_only=True)
class LimitsForm:
    """``limits`` of a connection. Without defaults: those would hide what a provider says."""

    rate: float | None = key("Rate", "Messages a second, or text such as 30/min", **values.RATE)
    burst: int | None = key(
        "Burst", "Messages at once above the rate; else the provider's, or 1", **values.between(1, 100_000)
    )
    connections: int | None = key(
        "Sessions",
        "Sessions at one time, over all workers of one outbox; else the provider's, or 5",
        **values.between(1, 1000),
    )
    messages_per_session: int | None = key(
        "Messages per session", "Until it is closed; else the provider's, or 100", **values.between(1, 1_000_000)
    )
    idle: float | None = key(
        "Idle", "Seconds that a session rests until it is closed; else the provider's, or 30", **values.SECONDS
    )
    recipients: int | None = key("Recipients", "Recipients of one message", **values.between(1, 1_000_000))
    size: int | None = key("Size", "Octets of one message, or text such as 25 MB", **values.SIZE)


@frozen(kw_only=True)
class TimeoutsForm:
    """``timeouts`` of a connection, in seconds."""

    connect: float = key("Connect", "Seconds until the server must have greeted", default=30.0, **values.SECONDS)
    command: float = key("Command", "Seconds for one answer before the body", default=60.0, **values.SECONDS)
    data: float = key("Data", "Seconds without progress of the body", default=120.0, **values.SECONDS)
    reply: float = key("Reply", "Seconds for the final answer (RFC 5321: 600)", default=600.0, **values.SECONDS)
    total: float = key("Total", "Seconds for the whole of one send", default=900.0, **values.SECONDS)


@frozen(kw_only=True)
class CapabilitiesForm:
    """``capabilities`` of a connection."""

    mask: frozenset[str] = key("Mask", "EHLO keywords to ignore, such as CHUNKING", default=frozenset())


@frozen(kw_only=True)
class ConnectionForm:
    """A connection document. `auth` and `options` depend on plugins and are structured apart."""

    name: str | None = key(
        "Name", "Its name among saved connections", **values.matching(r"^\S(.{0,198}\S)?$", "1 to 200 characters")
    )
    provider: str = field(
        metadata={
            "title": "E-mail service",
            "description": "a provider such as gmail, outlook or smtp",
            "group": "service",
        }
    )
    host: str | None = key(
        "Server", "Host name", group="service", **values.matching(r"^[^\s/@]{1,255}$", "not a host name")
    )
    port: int | None = key("Port", "Default: what the encryption uses", group="service", **values.between(1, 65535))
    tls: Literal["tls", "starttls", "none"] | None = key(
        "Encryption",
        "tls from the first byte; starttls: required; none: no encryption",
        aliases=("tls_option",),
        group="service",
        parse=values.tls,
        schema={"enum": ["tls", "starttls", "none"]},
    )
    from_: Address | None = key(
        "From", "Author when a message names none", group="service", parse=values.one_address, schema={"type": "string"}
    )
    auth: Any = key("Authentication", group="authentication", raw=True)
    options: Any = key("Options", "The provider's own settings", group="service", raw=True)
    limits: LimitsForm | None = key("Limits", "What is said here beats the provider's", group="limits")
    timeouts: TimeoutsForm | None = key("Time-outs", group="limits")
    retries: int | None = key(
        "Retries", "Further tries after a transient failure", default=None, group="limits", **values.between(0, 10)
    )
    local_hostname: str | None = key(
        "Own host name",
        "Said in EHLO",
        group="network",
        **values.matching(r"^[!-~]{1,255}$", "printable ASCII without blanks"),
    )
    proxy: str | None = key(
        "Proxy",
        "For everything the connection sends, as socks5://host:1080",
        group="network",
        **values.matching(
            r"^(socks5h?|socks4a?|https?)://\S+$", "a URL such as socks5://host:1080 or http://host:3128"
        ),
    )
    source_address: str | None = key(
        "Source address",
        "Local IP address",
        group="network",
        **values.matching(r"^[0-9A-Fa-f:.%a-z]{2,64}$", "not an IP address"),
    )
    ca_file: str | None = key("Authorities", "PEM file, instead of the system's", group="network")
    client_cert: str | None = key("Client certificate", "PEM file with certificate and key", group="network")
    tls_minimum: Literal["1.2", "1.3"] = key("Oldest TLS", default="1.2", group="network")
    capabilities: CapabilitiesForm | None = key("Server abilities", group="network")
    allow_fetch: tuple[str, ...] = key(
        "Inside hosts for URL attachments",
        "Host names or networks such as 10.1.0.0/16 that attachments may come from besides the public internet",
        default=(),
        group="network",
        parse=values.hosts,
        schema=values.TEXTS,
    )
    allow_insecure_auth: bool = key(
        "Credentials in clear", "Over an unencrypted link beyond loopback. Do not.", default=False, group="network"
    )
    redirect_to: tuple[Address, ...] = key(
        "Redirect to",
        "Staging: every message goes here instead",
        default=(),
        group="staging",
        parse=values.some_addresses,
        schema=values.TEXTS,
    )
    allow_recipients: tuple[str, ...] = key(
        "Allowed recipients",
        "Staging: only these addresses or domains",
        default=(),
        group="staging",
        parse=values.allowed,
        schema=values.TEXTS,
    )
    labels: Mapping[str, str] = key("Labels", "Free words that hooks see", default={}, group="staging")


@frozen(kw_only=True)
class StoreForm:
    """``store_result`` of a node."""

    in_: Literal["none", "input", "context"] = key("Store result in", default="none")
    key: str = key(
        "Key",
        "Dotted, such as mail.result",
        default="",
        parse=values.result_key,
        schema={"type": "string", "pattern": values.RESULT_KEY_PATTERN},
    )


@frozen(kw_only=True)
class EnvelopeForm:
    """``envelope`` of a node: who the server is told, instead of what the headers say."""

    from_: str = key("Return path", default="", template=True)
    to: str | tuple[str, ...] = key("Recipients", default=(), **values.ADDRESSES)


@frozen(kw_only=True)
class NodeForm:
    """A node document. `connection`, `attachments` and `options` depend on plugins and are structured apart."""

    connection: Any = key(
        "Connection",
        "Name of a saved connection, a connection document, or a list of either (failover)",
        group="service",
        raw=True,
    )
    to: str | tuple[str, ...] = key(
        "To", "Separated by commas, or a list", default=(), group="message", **values.ADDRESSES
    )
    subject: str = key("Subject", default="", group="message", template=True)
    content: str | ContentSource = key(
        "Content",
        "HTML; values are escaped, `| safe` for ready HTML. Or {file: …} or {markdown: …}",
        default="",
        aliases=("html",),
        group="message",
        template=True,
        parse=values.content,
        schema=values.CONTENT,
    )
    attachments: Any = key("Attachments", group="attachments", raw=True)
    store_result: StoreForm | None = key("Store the result", group="result")
    stop_on_error: bool = key(
        "Stop on error", "Stop the flow when the message cannot be sent", default=False, group="result"
    )
    fail_on: Literal["all", "any"] = key(
        "Failure", "all: when nobody was accepted; any: when one recipient was refused", default="all", group="result"
    )
    from_: str = key("From", "Empty: the connection's", default="", group="advanced", parse=values.author, template=True,
                     schema={"type": "string"})  # fmt: skip
    cc: str | tuple[str, ...] = key("Cc", default=(), group="advanced", **values.ADDRESSES)
    bcc: str | tuple[str, ...] = key("Bcc", default=(), group="advanced", **values.ADDRESSES)
    reply_to: str | tuple[str, ...] = key("Reply to", default=(), group="advanced", **values.ADDRESSES)
    text: str | Literal[False] | None = key(
        "Plain text",
        "Own plain text; absent: derived from the content; false: HTML only",
        group="advanced",
        template=True,
        parse=values.own_text,
        schema={"anyOf": [{"type": "string"}, {"const": False}]},
    )
    priority: str = key(
        "Priority",
        default="normal",
        group="advanced",
        template=True,
        parse=values.priority,
        schema={"anyOf": [{"enum": ["high", "normal", "low"]}, {"type": "string", "pattern": r"\{\{"}]},
    )
    execute_async: bool = key(
        "Send asynchronously", "Go on at once; the outcome comes later", default=False, group="advanced"
    )
    on_unknown: Literal["hold", "retry"] | None = key(
        "Unknown outcome",
        "hold: report it; retry: send again, perhaps twice; absent: retry where an outbox sends, else hold",
        group="advanced",
    )
    headers: Mapping[str, str] = key(
        "Headers",
        "Further headers",
        default={},
        group="advanced",
        template=True,
        parse=values.headers,
        schema={"type": "object", "additionalProperties": {"type": "string"}},
    )
    in_reply_to: str = key("In reply to", "Message-ID answered", default="", group="advanced", template=True)
    references: str | tuple[str, ...] = key(
        "References", "Message-IDs of the thread", default=(), group="advanced", template=True, parse=values.some_texts,
        schema=values.ADDRESSES["schema"],
    )  # fmt: skip
    envelope: EnvelopeForm | None = key("Envelope", group="advanced")
    tags: tuple[str, ...] = key("Tags", "For the outbox; never sent", default=(), group="advanced")
    options: Any = key("Options", "Per provider, its own settings", group="advanced", raw=True)


GROUPS = {
    "service": "E-mail service",
    "authentication": "Authentication",
    "message": "Message",
    "attachments": "Attachments",
    "result": "Result",
    "advanced": "Advanced",
    "limits": "Limits and time-outs",
    "network": "Network",
    "staging": "Staging and labels",
}
"""Groups of a rendered form, in order."""
