"""What happens to a message: envelope, replies, and outcomes with three values.

Each recipient ends *accepted*, *rejected* (permanently or not) or *unknown*: the session was lost after the final dot, so
the server may or may not have taken the message (RFC 1047). Unknown is never reported as sent, nor as failed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

from attrs import field, frozen

from mailwright.errors import AddressError, MailwrightError, Stage
from mailwright.model.address import Address, bare

Outcome = Literal["accepted", "rejected", "unknown"]
Status = Literal["sent", "partial", "failed", "unknown", "queued"]
_ESCAPED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
MAX_REPLY_TEXT = 2000  # characters kept of a server's answer


def _escape(text: str) -> str:
    """Cut and escape what a server said, so that it cannot forge log lines or drive a terminal (CWE-117)."""
    cut = text if len(text) <= MAX_REPLY_TEXT else text[:MAX_REPLY_TEXT] + "…"
    if cut.isascii() and cut.isprintable():
        return cut
    return _ESCAPED.sub(lambda found: " " if found.group() == "\n" else f"\\x{ord(found.group()):02x}", cut)


def _mailbox(value: str | Address | None) -> str | None:
    if value is None or value == "":
        return None
    return value.email if isinstance(value, Address) else bare(value)


def _mailboxes(value: str | Address | Iterable[str | Address]) -> tuple[str, ...]:
    items = (value,) if isinstance(value, (str, Address)) else value
    found = [item.email if type(item) is Address else _mailbox(item) for item in items]
    if len(found) > 1 or None in found:  # mostly there is one
        found = [email for email in dict.fromkeys(found) if email is not None]
    return tuple(found)  # type: ignore[arg-type]


@frozen(kw_only=True)
class Envelope:
    """Who the server is told (RFC 5321 §2.3.1): not what the headers show.

    Args:
        sender: Return path; None is the empty path ``<>``.
        recipients: At least one mailbox; exact duplicates count once.

    Raises:
        AddressError: For a bad mailbox, or no recipient.
    """

    sender: str | None = field(default=None, converter=_mailbox)
    recipients: tuple[str, ...] = field(converter=_mailboxes)

    def __attrs_post_init__(self) -> None:
        if not self.recipients:
            msg = "no recipients: give at least one address in to, cc or bcc"
            raise AddressError(msg)


@frozen(kw_only=True)
class Reply:
    """One answer of a server, escaped and cut on arrival.

    Attributes:
        protocol: ``smtp`` or ``http``.
        code: Three digits, or the HTTP status.
        enhanced: RFC 3463 status such as ``5.1.1``.
        text: The rest, lines joined by a blank.
    """

    protocol: Literal["smtp", "http"] = "smtp"
    code: int
    enhanced: str | None = None
    text: str = field(default="", converter=_escape)

    @property
    def permanent(self) -> bool:
        """Whether the same request would be refused again: 5yz (SMTP), 4xx but 408, 425 and 429 (HTTP)."""
        if self.protocol == "http":
            return 400 <= self.code < 500 and self.code not in {408, 425, 429}
        return self.code >= 500

    def __str__(self) -> str:
        return " ".join(str(piece) for piece in (self.code, self.enhanced, self.text) if piece)


@frozen(kw_only=True)
class RecipientStatus:
    """What became of one recipient.

    Attributes:
        address: As in the envelope.
        outcome: accepted, rejected or unknown.
        permanent: For rejected ones: whether trying again is useless. Else None.
        stage: How far it had come.
        reply: The server's answer that decided it.
    """

    address: str
    outcome: Outcome
    permanent: bool | None = None
    stage: Stage
    reply: Reply | None = None


@frozen(kw_only=True, slots=False)  # without slots making one takes three quarters of the time
class Report:
    """One attempt of a transport. Core merges reports into a `Receipt`.

    Attributes:
        statuses: Exactly one for each envelope recipient, in order.
        final: The last reply of the transaction.
        error: What stopped the attempt, if it was not an answer to a recipient.
        server_id: The server's own name for the message.
        retry_after_s: The server's hint, in seconds.
        ehlo: The server's EHLO lines after the first.
        envelope_ms: From MAIL to the last answer before the body, in milliseconds.
        message_ms: From the body's first octet to the final answer, in milliseconds.
        wire_size: Octets of the body on the wire.
    """

    statuses: tuple[RecipientStatus, ...]
    final: Reply | None = None
    error: MailwrightError | None = None
    server_id: str | None = None
    retry_after_s: float | None = None
    ehlo: tuple[str, ...] = ()
    envelope_ms: int = 0
    message_ms: int = 0
    wire_size: int = 0

    @classmethod
    def all(
        cls,
        envelope: Envelope,
        outcome: Outcome,
        *,
        stage: Stage,
        permanent: bool | None = None,
        reply: Reply | None = None,
        error: MailwrightError | None = None,
    ) -> Report:
        """The same outcome for every recipient of `envelope`."""
        decided = permanent if outcome == "rejected" else None
        statuses = tuple(
            RecipientStatus(address=address, outcome=outcome, permanent=decided, stage=stage, reply=reply)
            for address in envelope.recipients
        )
        return cls(statuses=statuses, final=reply, error=error)


@frozen(kw_only=True, slots=False)  # without slots making one takes three quarters of the time
class Receipt:
    """What `Mailer.send` returns: the truth about every recipient.

    Attributes:
        message_id: With angle brackets.
        envelope: Sender and all recipients; None when the message named none.
        statuses: One for each recipient, in order.
        provider: Name of the provider used.
        attempts: Tries made, 0 when it never left.
        size: Octets of the message.
        final: The last reply.
        error: What stopped it, when nobody was accepted.
        index: Position in `send_many`.
        job_id: Id in the outbox, when queued.
    """

    message_id: str
    envelope: Envelope | None = None
    statuses: tuple[RecipientStatus, ...] = ()
    provider: str = ""
    attempts: int = 0
    size: int = 0
    final: Reply | None = None
    error: MailwrightError | None = None
    server_id: str | None = None
    ehlo: tuple[str, ...] = ()
    envelope_ms: int = 0
    message_ms: int = 0
    index: int = 0
    job_id: str | None = None

    @property
    def accepted(self) -> tuple[RecipientStatus, ...]:
        """Recipients the server took responsibility for."""
        return tuple([status for status in self.statuses if status.outcome == "accepted"])

    @property
    def rejected(self) -> tuple[RecipientStatus, ...]:
        """Recipients refused, or never reached."""
        return tuple([status for status in self.statuses if status.outcome == "rejected"])

    @property
    def unknown(self) -> tuple[RecipientStatus, ...]:
        """Recipients who may or may not have been accepted."""
        return tuple([status for status in self.statuses if status.outcome == "unknown"])

    @property
    def status(self) -> Status:
        """sent, partial, failed, unknown or queued."""
        if self.job_id is not None and not self.statuses:
            return "queued"
        outcomes = {status.outcome for status in self.statuses}
        if outcomes == {"accepted"}:
            return "sent"
        if "accepted" in outcomes:
            return "partial"
        return "unknown" if "unknown" in outcomes else "failed"

    @property
    def permanent(self) -> bool | None:
        """Of a failure: True, False (some may work later), or None when anything is unknown."""
        if self.unknown:
            return None
        return all(status.permanent for status in self.rejected)

    @classmethod
    def of(
        cls, report: Report, *, message_id: str, envelope: Envelope, size: int, provider: str = "", index: int = 0
    ) -> Receipt:
        """The receipt of a first attempt."""
        return cls(
            message_id=message_id,
            envelope=envelope,
            statuses=report.statuses,
            provider=provider,
            attempts=1,
            size=size,
            final=report.final,
            error=report.error,
            server_id=report.server_id,
            ehlo=report.ehlo,
            envelope_ms=report.envelope_ms,
            message_ms=report.message_ms,
            index=index,
        )

    def merge(self, report: Report, *, provider: str = "", doubtful: tuple[RecipientStatus, ...] = ()) -> Receipt:
        """Take in one more attempt: its statuses replace those of the same addresses.

        Args:
            report: The attempt.
            provider: Through whom it was made.
            doubtful: Unknown before it; a later refusal does not make them undelivered, so they stay unknown.
        """
        statuses = report.statuses
        if self.statuses:
            newer = {status.address: status for status in statuses}
            newer |= {old.address: old for old in doubtful if newer.get(old.address, old).outcome != "accepted"}
            statuses = tuple(newer.get(status.address, status) for status in self.statuses)
        return Receipt(
            message_id=self.message_id,
            envelope=self.envelope,
            statuses=statuses,
            provider=provider or self.provider,
            attempts=self.attempts + 1,
            size=self.size,
            final=report.final or self.final,
            error=report.error,
            server_id=report.server_id or self.server_id,
            ehlo=report.ehlo or self.ehlo,
            envelope_ms=report.envelope_ms,
            message_ms=report.message_ms,
            index=self.index,
            job_id=self.job_id,
        )

    def to_result(self) -> dict[str, Any]:
        """The result object that flows store: the original node's keys, plus ours. Plain JSON types."""
        result: dict[str, Any] = {
            "status": self.status,
            "accepted": [status.address for status in self.accepted],
            "rejected": [status.address for status in self.rejected],
            "unknown": [status.address for status in self.unknown],
        }
        if errors := [_rejected_error(status) for status in self.rejected]:
            result["rejectedErrors"] = errors
        result |= {
            "envelope": {
                "from": (self.envelope and self.envelope.sender) or False,
                "to": list(self.envelope.recipients) if self.envelope else [],
            },
            "messageId": self.message_id,
            "response": str(self.final) if self.final else "",
            "ehlo": list(self.ehlo),
            "envelopeTime": self.envelope_ms,
            "messageTime": self.message_ms,
            "messageSize": self.size,
            "attempts": self.attempts,
            "provider": self.provider,
        }
        if self.server_id:
            result["serverMessageId"] = self.server_id
        if self.job_id:
            result["id"] = self.job_id
        if self.status in {"failed", "unknown"}:
            result["error"] = error_result(self.error or _all_rejected(self))
        return result


def error_result(error: MailwrightError) -> dict[str, Any]:
    """An error as flows store it: ``code, message, command?, response?, responseCode?, permanent, stage``."""
    found: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.command:
        found["command"] = error.command
    if error.reply:
        found |= {"response": error.response, "responseCode": error.response_code}
    return found | {"permanent": error.permanent, "stage": error.stage}


def _rejected_error(status: RecipientStatus) -> dict[str, Any]:
    found: dict[str, Any] = {"recipient": status.address, "code": "EENVELOPE", "command": _COMMANDS[status.stage]}
    if status.reply:
        found |= {"response": str(status.reply), "responseCode": status.reply.code}
    return found | {"permanent": status.permanent, "stage": status.stage}


_COMMANDS: dict[Stage, str] = {
    "prepare": "API", "hook": "API", "connect": "CONN", "tls": "STARTTLS", "greeting": "CONN", "auth": "AUTH",
    "mail": "MAIL FROM", "rcpt": "RCPT TO", "data": "DATA", "body": "DATA", "final": "DATA", "http": "API",
}  # fmt: skip


def _all_rejected(receipt: Receipt) -> MailwrightError:
    if not receipt.statuses:
        return MailwrightError("nothing was sent", code="EENVELOPE", stage="prepare", command="API")
    first = (receipt.unknown or receipt.rejected)[0]
    word = "the outcome is unknown" if receipt.unknown else "all recipients were rejected"
    reply = f": {first.reply}" if first.reply else ""
    code = "EENVELOPE" if first.stage in {"mail", "rcpt"} else "EMESSAGE"
    return MailwrightError(
        f"{word}{reply}",
        code=code,
        permanent=receipt.permanent,
        stage=first.stage,
        command=_COMMANDS[first.stage],
        reply=first.reply,
    )


def failure(receipt: Receipt) -> MailwrightError:
    """The error that describes a receipt nobody of which was accepted."""
    return receipt.error or _all_rejected(receipt)
