"""A message as Postmark's JSON."""

from __future__ import annotations

import mimetypes
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mailwright import Address, Message, Part
from mailwright.errors import AttachmentError, MessageError
from mailwright.spi import Content, Envelope

_STEP: Final = 1 << 16
_URGENT: Final = {"high": ("1 (Highest)", "High", "urgent"), "low": ("5 (Lowest)", "Low", "non-urgent")}


def mail(message: Message, envelope: Envelope) -> dict[str, Any]:
    """What ``POST /email`` takes.

    Recipients of the envelope who stand neither in To nor in Cc get a blind copy; who is not in the envelope is left out.

    Raises:
        MessageError: Names the field that the API cannot carry.
        AttachmentError: For a file that cannot be read.
    """
    _check(message)
    assert message.from_ is not None
    left = set(envelope.recipients)
    found: dict[str, Any] = {"From": _shown([message.from_])}
    for name, addresses in (("To", message.to), ("Cc", message.cc), ("Bcc", message.bcc)):
        chosen = {address.email: address for address in addresses if address.email in left}
        left -= set(chosen)
        found[name] = _shown([*chosen.values()])
    if left:
        found["Bcc"] = ", ".join(filter(None, [found["Bcc"], *(one for one in envelope.recipients if one in left)]))
    found |= {"ReplyTo": _shown(message.reply_to), "Subject": message.subject, "HtmlBody": message.html}
    found |= {"TextBody": message.text if message.text or message.html else "\n", "Headers": _headers(message)}
    found["Attachments"] = [
        _attachment(part, f"attachments[{index}]") for index, part in enumerate(message.attachments)
    ]
    return {name: value for name, value in found.items() if value or name == "Subject"}


def _check(message: Message) -> None:
    refused = {
        "calendar": (message.calendar, "an invitation as an alternative of the body; attach it as a file"),
        "dsn": (message.dsn, "delivery status notifications; use Postmark's webhooks"),
        "require_tls": (message.require_tls, "REQUIRETLS"),
        "sender": (message.sender, "a Sender field"),
    }
    for name, (value, what) in refused.items():
        if value:
            msg = f"{name}: Postmark's API does not take {what}, or send over smtp.postmarkapp.com"
            raise MessageError(msg)
    for index, part in enumerate(message.attachments):
        if not isinstance(part, Part):
            msg = f"attachments[{index}]: Postmark's API takes no ready-made MIME parts; send over smtp.postmarkapp.com"
            raise MessageError(msg)
    for address in (message.from_, *message.to, *message.cc, *message.bcc, *message.reply_to):
        if address is not None and address.needs_smtputf8:
            msg = f"{address.email}: Postmark takes no address with a local part outside ASCII"
            raise MessageError(msg)


def _shown(addresses: Sequence[Address]) -> str:
    return ", ".join(map(_mailbox, addresses))


def _mailbox(address: Address) -> str:
    name = address.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}" <{address.email}>' if name else address.email


def _headers(message: Message) -> list[dict[str, str]]:
    """Postmark keeps our Message-ID when X-PM-KeepID says so: it is the same over retries, and answers refer to it."""
    found = [*message.headers, ("Message-ID", message.message_id or ""), ("X-PM-KeepID", "true")]
    if message.in_reply_to:
        found.append(("In-Reply-To", " ".join(message.in_reply_to)))
    if message.references:
        found.append(("References", " ".join(message.references)))
    if message.priority.value in _URGENT:
        found += zip(("X-Priority", "Importance", "Priority"), _URGENT[message.priority.value], strict=True)
    if message.list_unsubscribe:
        found.append(("List-Unsubscribe", ", ".join(f"<{url}>" for url in message.list_unsubscribe)))
        if message.one_click:
            found.append(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
    found += [
        (f"List-{name.upper() if name == 'id' else name.title()}", f"<{value}>") for name, value in message.list_headers
    ]
    if message.auto_submitted:
        found.append(("Auto-Submitted", message.auto_submitted))
    return [{"Name": name, "Value": value} for name, value in found if value]


def _attachment(part: Any, field: str) -> dict[str, str]:
    name = _name(part)
    if part.content_type and part.content_type.lower().startswith("message/"):
        msg = f"{field}.content_type: Postmark's API takes no {part.content_type}; send over smtp.postmarkapp.com"
        raise MessageError(msg)
    kind = part.content_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
    found = {"Name": name, "ContentType": kind, "Content": b64encode(_octets(part.content, field)).decode()}
    if part.content_id:
        found["ContentID"] = f"cid:{part.content_id}"
    return found


def _name(part: Part) -> str:
    if part.filename:
        return part.filename.replace("\\", "/").rpartition("/")[2] or "attachment"
    return part.content.name if isinstance(part.content, Path) else "attachment"


def _octets(content: object, field: str) -> bytes:
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    try:
        if isinstance(content, Path):
            return content.read_bytes()
        if isinstance(content, Content):
            return b"".join(content.chunks(_STEP))
    except OSError as error:
        msg = f"{field}: {error.strerror or error}"
        raise AttachmentError(msg) from error
    msg = f"{field}.content: not read yet; prepare the message first"
    raise MessageError(msg)
