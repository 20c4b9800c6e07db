"""What one attempt came to, and what follows from it. Pure: the report, time and chance come in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from mailwright.errors import MailwrightError, Stage, Veto
from mailwright.model import Envelope, Receipt, RecipientStatus, Report
from mailwright.outbox import results
from mailwright.outbox.policy import RetryPolicy, trouble_of, wants_login
from mailwright.spi import Verdict

if TYPE_CHECKING:
    from typing import Literal

    from mailwright.spi import Job

_BEFORE_MAIL: Final[frozenset[Stage]] = frozenset({"prepare", "hook", "connect", "tls", "greeting", "auth"})
"""Trouble of ours or of the service, not of the message: it keeps until somebody has mended it."""


@frozen(kw_only=True)
class Judged:
    """A verdict, and who is to be told.

    Attributes:
        verdict: For the ledger.
        receipt: The truth so far.
        final: Whether the outcome is final, so that observers hear of it.
    """

    verdict: Verdict
    receipt: Receipt
    final: bool = field(default=False)


def open_recipients(receipt: Receipt, envelope: Envelope) -> tuple[str, ...]:
    """Whom an attempt is for: everybody who was neither accepted nor refused for good."""
    known = {status.address: status for status in receipt.statuses}
    return tuple(address for address in envelope.recipients if not _closed(known.get(address)))


def _closed(status: RecipientStatus | None) -> bool:
    return status is not None and (status.outcome == "accepted" or bool(status.permanent))


def reopened(receipt: Receipt, kept_back: Iterable[str]) -> Receipt:
    """For somebody who asks again: refusals count no more, but for recipients that must not be mailed to."""
    kept = set(kept_back)
    return evolve(
        receipt,
        statuses=tuple(s for s in receipt.statuses if s.outcome == "accepted" or s.address in kept),
    )


def refused(addresses: Iterable[str], *, stage: Stage, permanent: bool = True) -> tuple[RecipientStatus, ...]:
    """Statuses of recipients that nobody was asked about."""
    return tuple(
        RecipientStatus(address=address, outcome="rejected", permanent=permanent, stage=stage) for address in addresses
    )


def soften(report: Report) -> Report:
    """A wrong password or an unreachable host must not fail every message that waits: it may be mended."""
    error = report.error
    ours = error is not None and error.stage in _BEFORE_MAIL and not isinstance(error, Veto)
    statuses = tuple(
        evolve(status, permanent=False) if status.permanent and (ours or wants_login(status.reply)) else status
        for status in report.statuses
    )
    return evolve(report, statuses=statuses)


def merged(receipt: Receipt, report: Report, envelope: Envelope) -> Receipt:
    """The receipt with one more report: what a later one says of somebody is what holds."""
    known: dict[str, RecipientStatus] = {status.address: status for status in receipt.statuses}
    known |= {status.address: status for status in report.statuses}
    whole = [known[address] for address in envelope.recipients if address in known]
    others = [status for address, status in known.items() if address not in envelope.recipients]
    return evolve(receipt.merge(report), statuses=(*whole, *others))


def judge(
    job: Job,
    receipt: Receipt,
    report: Report,
    *,
    policy: RetryPolicy,
    now: float,
    chance: float,
    keep: bool,
    silenced: str = "",
) -> Judged:
    """What follows from an attempt.

    Args:
        job: As it was claimed.
        receipt: With `report` merged in.
        report: Of this attempt.
        policy: How long to go on.
        now: Unix seconds.
        chance: Between 0 and 1, for jitter.
        keep: Whether payloads stay when a message is sent.
        silenced: Says which recipients were not mailed to because they are suppressed, and why.
    """
    if receipt.unknown and job.on_unknown == "hold":
        return _judged("unknown", receipt, reason=_why(receipt, report, "the outcome is unknown"), final=True)
    waiting = [status for status in receipt.statuses if not _closed(status)]
    if not waiting:
        accepted = bool(receipt.accepted)
        state: Literal["sent", "partial", "failed"] = (
            "failed" if not accepted else "partial" if receipt.rejected else "sent"
        )
        reason = "" if state == "sent" else silenced or _why(receipt, report, "refused")
        return _judged(state, receipt, reason=reason, final=True, drop=state == "sent" and not keep)
    trouble = trouble_of(waiting, report.error)
    if policy.given_up(age_s=now - job.created, attempts=job.attempts):
        reason = "given up: " + _why(receipt, report, trouble)
        if trouble == "set-up":
            return _judged("held", receipt, reason=reason)
        if receipt.unknown:
            return _judged("unknown", receipt, reason=reason, final=True)
        return _judged("partial" if receipt.accepted else "failed", receipt, reason=reason, final=True)
    delay = policy.delay_s(trouble, job.attempts, chance=chance, hint_s=report.retry_after_s)
    word = "the outcome is unknown, it is sent again" if receipt.unknown else trouble
    return _judged("queued", receipt, reason=_why(receipt, report, word), run_at=now + delay)


def _judged(
    state: Literal["queued", "sent", "partial", "failed", "unknown", "held"],
    receipt: Receipt,
    *,
    reason: str,
    run_at: float | None = None,
    drop: bool = False,
    final: bool = False,
) -> Judged:
    verdict = Verdict(state=state, result=results.dump(receipt), run_at=run_at, reason=reason[:300], drop=drop)
    return Judged(verdict=verdict, receipt=receipt, final=final)


def _why(receipt: Receipt, report: Report, word: str) -> str:
    """One line: the last word of the server, or what stopped us."""
    reply = _decisive(receipt.statuses) or (str(report.final) if report.final else "")
    said: str = report.error.message if isinstance(report.error, MailwrightError) else reply
    return f"{word}: {said}" if said else word


def _decisive(statuses: Sequence[RecipientStatus]) -> str:
    return next((str(status.reply) for status in statuses if status.outcome != "accepted" and status.reply), "")


def shown(job: Job, receipt: Receipt) -> Receipt:
    """What `result` says: whoever was on the way when a worker went away is unknown."""
    if job.state == "unknown" and receipt.envelope is not None:
        missing = open_recipients(receipt, receipt.envelope)
        known: Mapping[str, RecipientStatus] = {status.address: status for status in receipt.statuses}
        whole = [
            RecipientStatus(address=address, outcome="unknown", stage="final") if address in missing else known[address]
            for address in receipt.envelope.recipients
        ]
        return evolve(receipt, statuses=tuple(whole), job_id=job.id)
    return evolve(receipt, job_id=job.id)
