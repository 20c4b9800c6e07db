"""Independent parsers of mail, each giving the same plain record: judges of what a recipient would see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from importlib.util import find_spec
from typing import Any, Final, TypeAlias, cast

from attrs import frozen


@frozen(kw_only=True)
class ReadPart:
    """A part that is no multipart.

    Attributes:
        content_type: Media type without parameters.
        disposition: ``attachment``, ``inline`` or None.
        filename: Decoded; None where there is none.
        content_id: Without angle brackets.
        content: Decoded octets; None for an embedded message.
    """

    content_type: str
    disposition: str | None = None
    filename: str | None = None
    content_id: str | None = None
    content: bytes | None = None


@frozen(kw_only=True)
class Reading:
    """What a parser finds in a message.

    Attributes:
        subject: Decoded.
        mailboxes: By lower-case field name: display names and addresses, in order.
        message_id: With angle brackets.
        parts: All that are no multiparts, depth first.
    """

    subject: str
    mailboxes: dict[str, tuple[tuple[str, str], ...]]
    message_id: str
    parts: tuple[ReadPart, ...]


Reader: TypeAlias = Callable[[bytes], Reading]

FIELDS: Final = ("from", "to", "cc", "reply-to")


def standard_library(octets: bytes) -> Reading:
    """`email` with its default policy.

    Raises:
        AssertionError: It found defects.
    """
    parsed = message_from_bytes(octets, policy=policy.default)
    parts = list(parsed.walk())
    defects = [(part.get_content_type(), part.defects) for part in parts if part.defects]
    assert not defects, defects
    return Reading(
        subject=str(parsed["subject"] or ""),
        mailboxes={
            name: tuple((one.display_name, one.addr_spec) for one in parsed[name].addresses) if parsed[name] else ()
            for name in FIELDS
        },
        message_id=str(parsed["message-id"]),
        parts=tuple(_standard_parts(parsed)),
    )


def _standard_parts(part: EmailMessage) -> Iterator[ReadPart]:
    if part.get_content_maintype() == "multipart":
        for child in part.iter_parts():
            yield from _standard_parts(cast("EmailMessage", child))
        return
    embedded = part.get_content_maintype() == "message"
    identifier = part["content-id"]
    yield ReadPart(
        content_type=part.get_content_type(),
        disposition=part.get_content_disposition(),
        filename=part.get_filename(),
        content_id=str(identifier).strip("<>") if identifier else None,
        content=None if embedded else cast("bytes", part.get_payload(decode=True)),
    )


def rust(octets: bytes) -> Reading:
    """``mailparse``, a parser in Rust, from the distribution fast-mail-parser.

    Raises:
        ImportError: It is not installed.
        AssertionError: It had to repair something.
    """
    from fast_mail_parser import parse_email, parse_email_tree  # noqa: PLC0415 - an optional judge

    mail: Any = parse_email(octets)
    repaired = [(warning.kind, warning.detail) for warning in mail.warnings]
    assert not repaired, repaired
    found = {"from": [mail.from_] if mail.from_ else [], "to": mail.to, "cc": mail.cc, "reply-to": mail.reply_to}
    return Reading(
        subject=mail.subject,
        mailboxes={
            name: tuple((one.display_name or "", one.address) for one in people) for name, people in found.items()
        },
        message_id=mail.headers["Message-ID"][0],
        parts=tuple(_rust_parts(parse_email_tree(octets))),
    )


def _rust_parts(part: Any) -> Iterator[ReadPart]:
    if part.content_type.startswith("multipart/"):
        for child in part.children:
            yield from _rust_parts(child)
        return
    yield ReadPart(
        content_type=part.content_type,
        disposition=part.disposition,
        filename=part.filename or None,
        content_id=part.content_id,
        content=None if part.is_message else part.content,
    )


def installed() -> dict[str, Reader]:
    """The parsers that are here: the standard library's, and that of fast-mail-parser where it is installed."""
    found: dict[str, Reader] = {"standard library": standard_library}
    if find_spec("fast_mail_parser"):
        found["rust"] = rust
    return found
