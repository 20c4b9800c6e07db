"""Which transactions one message needs at one server, and with which parameters; decided before MAIL.

The rules:

- What the server cannot take at all (SIZE, 8BITMIME, BINARYMIME, SMTPUTF8 headers, REQUIRETLS, DSN) refuses everybody,
  for good.
- SMTPUTF8 (RFC 6531) is for recipients who need it: the others get a transaction of their own without it. Where the
  server lacks it, only those who need it are refused. A return path or headers that need it make everybody need it.
- ``LIMITS`` (RFC 9422) cut transactions: ``RCPTMAX`` recipients, ``RCPTDOMAINMAX`` domains of theirs. 452 to a RCPT
  beside an accepted one (RFC 5321 §4.5.3.1.10) asks for a further one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import evolve, frozen

from mailwright.errors import MessageError
from mailwright.model import Dsn, Envelope, RecipientStatus, Report
from mailwright.ports import Need
from mailwright.smtp.capabilities import Capabilities
from mailwright.smtp.commands import xtext


@frozen(kw_only=True, slots=False)  # without slots making one takes less time
class Job:
    """What is read of a submission.

    Attributes:
        envelope: Who.
        size: Octets of the message.
        needs: What its octets need.
        dsn: Notifications wanted.
        require_tls: TLS at every hop (RFC 8689).
        encrypted: Whether this session is.
    """

    envelope: Envelope
    size: int
    needs: frozenset[Need] = frozenset()
    dsn: Dsn | None = None
    require_tls: bool = False
    encrypted: bool = False


@frozen(kw_only=True, slots=False)
class Leg:
    """One transaction.

    Attributes:
        envelope: Its recipients.
        mail: Parameters of MAIL.
        dsn: Asked for at each RCPT.
    """

    envelope: Envelope
    mail: tuple[str, ...] = ()
    dsn: Dsn | None = None

    def rcpt(self, recipient: str) -> tuple[str, ...]:
        """Parameters of one RCPT (RFC 3461 §4.1, §4.2)."""
        if self.dsn is None:
            return ()
        notify = ",".join(sorted(word.upper() for word in self.dsn.notify)) or "NEVER"
        return (
            (f"NOTIFY={notify}", f"ORCPT=rfc822;{xtext(recipient)}") if recipient.isascii() else (f"NOTIFY={notify}",)
        )


@frozen(kw_only=True)
class Plan:
    """What is to be done for a job.

    Attributes:
        legs: Transactions, in order.
        refused: Who gets none.
    """

    legs: tuple[Leg, ...] = ()
    refused: tuple[RecipientStatus, ...] = ()


def plain_leg(envelope: Envelope, size: int, capabilities: Capabilities) -> Leg | None:
    """What `plan` says of a message that needs nothing and asks for nothing, in a third of the time.

    Returns:
        Its only transaction; None where `plan` must look closer.
    """
    most = capabilities.size
    if (most is not None and size > most) or "LIMITS" in capabilities.keywords:
        return None
    if not (envelope.sender or "").isascii() or not all(map(str.isascii, envelope.recipients)):
        return None
    return Leg(envelope=envelope, mail=(f"SIZE={size}",) if "SIZE" in capabilities.keywords else ())


def plan(job: Job, capabilities: Capabilities) -> Plan:
    """The transactions for `job`.

    Raises:
        MessageError: The server cannot take the message.
    """
    if (reason := _lacking(job, capabilities)) is not None:
        raise MessageError(reason, stage="mail", command="MAIL FROM")
    recipients = job.envelope.recipients
    everybody = "smtputf8" in job.needs or not (job.envelope.sender or "").isascii()
    international = [address for address in recipients if everybody or not address.isascii()]
    if not international:
        return Plan(legs=tuple(_legs(job, recipients, capabilities, utf8=False)))
    plain = [] if everybody else [address for address in recipients if address.isascii()]
    legs = _legs(job, plain, capabilities, utf8=False)
    if "SMTPUTF8" in capabilities:
        return Plan(legs=(*legs, *_legs(job, international, capabilities, utf8=True)))
    return Plan(
        legs=tuple(legs),
        refused=tuple(
            RecipientStatus(address=address, outcome="rejected", permanent=True, stage="rcpt")
            for address in international
        ),
    )


def further(leg: Leg, report: Report) -> Leg | None:
    """The next transaction for those whom the server found one too many in this one."""
    if not any(status.outcome == "accepted" for status in report.statuses):
        return None
    rest = [status.address for status in report.statuses if one_too_many(status)]
    return evolve(leg, envelope=evolve(leg.envelope, recipients=rest)) if rest else None


def one_too_many(status: RecipientStatus) -> bool:
    """Whether a recipient was refused only because there were others before (RFC 5321 §4.5.3.1.10)."""
    reply = status.reply
    if status.outcome != "rejected" or status.stage != "rcpt" or reply is None:
        return False
    return reply.code in {452, 552} and (
        reply.enhanced in {"4.5.3", "5.5.3"} or (reply.code == 452 and reply.enhanced is None)
    )


def _lacking(job: Job, capabilities: Capabilities) -> str | None:
    offered = capabilities.keywords
    if capabilities.size is not None and job.size > capabilities.size:
        return f"the message has {job.size} bytes, the server takes {capabilities.size} (SIZE)"
    if "smtputf8" in job.needs and "SMTPUTF8" not in offered:
        return "an address in the headers needs SMTPUTF8, which the server does not offer"
    if not (job.envelope.sender or "").isascii() and "SMTPUTF8" not in offered:
        return "the return path needs SMTPUTF8, which the server does not offer"
    if "8bitmime" in job.needs and "8BITMIME" not in offered:
        return "the message needs 8BITMIME, which the server does not offer"
    if "binarymime" in job.needs and not {"BINARYMIME", "CHUNKING"} <= offered.keys():
        return "the message needs BINARYMIME and CHUNKING, which the server does not offer"
    if job.require_tls and not (job.encrypted and "REQUIRETLS" in offered):
        return "the message requires TLS on every hop (REQUIRETLS), which the server does not offer"
    if job.dsn is not None and "DSN" not in offered:
        return "delivery status notifications (DSN) are wanted, which the server does not offer"
    return None


def _legs(job: Job, recipients: Sequence[str], capabilities: Capabilities, *, utf8: bool) -> Iterable[Leg]:
    if not recipients:
        return []
    mail = tuple(_mail_parameters(job, capabilities, utf8=utf8))
    groups = _groups(recipients, capabilities)
    if len(groups) == 1 and len(recipients) == len(job.envelope.recipients):
        return [Leg(envelope=job.envelope, mail=mail, dsn=job.dsn)]
    return [Leg(envelope=evolve(job.envelope, recipients=group), mail=mail, dsn=job.dsn) for group in groups]


def _groups(recipients: Sequence[str], capabilities: Capabilities) -> list[Sequence[str]]:
    """Recipients that one transaction may have."""
    if "LIMITS" not in capabilities.keywords:
        return [recipients]
    most, domains = capabilities.limit("RCPTMAX"), capabilities.limit("RCPTDOMAINMAX")
    step = most or len(recipients)
    if domains is None:
        return [recipients[start : start + step] for start in range(0, len(recipients), step)]
    found: list[list[str]] = [[]]
    seen: set[str] = set()
    for address in sorted(recipients, key=_domain):
        if len(found[-1]) == step or (len(seen) == domains and _domain(address) not in seen):
            found.append([])
            seen.clear()
        found[-1].append(address)
        seen.add(_domain(address))
    return list(found)


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()


def _mail_parameters(job: Job, capabilities: Capabilities, *, utf8: bool) -> Iterable[str]:
    if "SIZE" in capabilities.keywords:
        yield f"SIZE={job.size}"
    if "binarymime" in job.needs:
        yield "BODY=BINARYMIME"
    elif "8bitmime" in job.needs:
        yield "BODY=8BITMIME"
    if utf8:
        yield "SMTPUTF8"
    if job.require_tls:
        yield "REQUIRETLS"
    if job.dsn is not None and job.dsn.ret is not None:
        yield "RET=FULL" if job.dsn.ret == "full" else "RET=HDRS"
    if job.dsn is not None and job.dsn.envid is not None:
        yield f"ENVID={xtext(job.dsn.envid)}"
