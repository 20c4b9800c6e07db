"""What became of each recipient so far, as a ledger's row keeps it: JSON, versioned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from mailwright.errors import MailwrightError, QueueError
from mailwright.model import Envelope, Receipt, RecipientStatus, Reply

VERSION: Final = 1
"""As of payloads: a newer row may say that an older reader is enough for it (``needs``)."""


def dump(receipt: Receipt) -> bytes:
    """Octets for a row; no addresses beyond the envelope, no content."""
    found: dict[str, Any] = {
        "v": VERSION,
        "needs": VERSION,
        "message_id": receipt.message_id,
        "sender": receipt.envelope.sender if receipt.envelope else None,
        "recipients": list(receipt.envelope.recipients) if receipt.envelope else [],
        "statuses": [_plain_status(status) for status in receipt.statuses],
        "provider": receipt.provider,
        "attempts": receipt.attempts,
        "size": receipt.size,
        "final": _plain_reply(receipt.final),
        "server_id": receipt.server_id,
        "times": [receipt.envelope_ms, receipt.message_ms],
    }
    if receipt.error is not None:
        error = receipt.error
        found["error"] = {
            "message": error.message, "code": error.code, "permanent": error.permanent, "stage": error.stage,
            "command": error.command, "reply": _plain_reply(error.reply),
        }  # fmt: skip
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()


def load(data: bytes, *, job_id: str | None = None) -> Receipt:
    """The receipt in a row.

    Raises:
        QueueError: It cannot be read, or is of a version that this program does not know.
    """
    try:
        found = json.loads(data)
        if (needs := found.get("needs", found["v"])) > VERSION:
            msg = f"the row was written by a newer Mailwright (version {needs} of results): upgrade, then retry it"
            raise QueueError(msg, permanent=True)
        recipients = found["recipients"]
        return Receipt(
            message_id=found["message_id"],
            envelope=Envelope(sender=found["sender"], recipients=recipients) if recipients else None,
            statuses=tuple(_status(item) for item in found["statuses"]),
            provider=found["provider"],
            attempts=found["attempts"],
            size=found["size"],
            final=_reply(found["final"]),
            server_id=found["server_id"],
            envelope_ms=found["times"][0],
            message_ms=found["times"][1],
            error=_error(found.get("error")),
            job_id=job_id,
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        msg = f"the row cannot be read: {type(error).__name__}"
        raise QueueError(msg, permanent=True) from error


def _plain_status(status: RecipientStatus) -> list[Any]:
    return [status.address, status.outcome, status.permanent, status.stage, _plain_reply(status.reply)]


def _status(item: list[Any]) -> RecipientStatus:
    address, outcome, permanent, stage, reply = item
    return RecipientStatus(
        address=address, outcome=outcome, permanent=permanent, stage=stage, reply=_reply(reply)
    )  # fmt: skip


def _plain_reply(reply: Reply | None) -> list[Any] | None:
    return None if reply is None else [reply.protocol, reply.code, reply.enhanced, reply.text]


def _reply(item: list[Any] | None) -> Reply | None:
    if item is None:
        return None
    protocol, code, enhanced, text = item
    return Reply(protocol=protocol, code=code, enhanced=enhanced, text=text)


def _error(item: Mapping[str, Any] | None) -> MailwrightError | None:
    if item is None:
        return None
    return MailwrightError(
        item["message"],
        code=item["code"],
        permanent=item["permanent"],
        stage=item["stage"],
        command=item["command"],
        reply=_reply(item["reply"]),
    )
