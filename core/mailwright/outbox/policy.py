"""When a message is tried again, and when not. Pure: what happened, time and chance come in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from attrs import field, frozen

from mailwright.errors import MailwrightError, SecretError

if TYPE_CHECKING:
    from mailwright.model import RecipientStatus, Reply

Trouble = Literal["greylisted", "throttled", "full", "unreachable", "set-up", "other"]

_GREYLISTED: Final = re.compile(r"gr[ae]y-?list|try again (in|later|after)|come back later", re.IGNORECASE)
_THROTTLED: Final = re.compile(r"rate|too many|throttl|quota exceeded|limit", re.IGNORECASE)
_FULL: Final = re.compile(r"mailbox (is )?full|over quota|quota", re.IGNORECASE)
_BAD_MAILBOX: Final = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})

STEPS_S: Final[Mapping[Trouble, tuple[float, ...]]] = MappingProxyType({
    "greylisted": (90, 300, 600, 1800, 3600),
    "throttled": (60, 120, 300, 900, 1800, 3600),
    "full": (1800, 3600, 7200, 14400),
    "unreachable": (5, 15, 60, 300, 900, 1800),
    "set-up": (60, 300, 900),
    "other": (30, 120, 600, 1800, 3600, 7200),
})  # fmt: skip
"""Seconds before the second, third and each further try; the last one stays."""


@frozen(kw_only=True)
class RetryPolicy:
    """How long to go on.

    Args:
        max_age_s: Seconds after which a message that is still refused is given up (RFC 5321 §4.5.4.1: four to five days).
        min_attempts: Tries that even an older message gets, so that a clock that jumps ahead loses nothing.
        max_starts: Tries that may end without a result before the message is held: it may be killing its workers.
        jitter: Share of a delay that chance adds or takes away.
        hint_limit_s: Longest delay a server's hint can ask for, in seconds.
        suppress_s: How long an address with no mailbox is not written to again, in seconds; 0: no suppression.
        steps: Delays by kind of trouble.
    """

    max_age_s: float = 4 * 86400.0
    min_attempts: int = 3
    max_starts: int = 5
    jitter: float = 0.2
    hint_limit_s: float = 6 * 3600.0
    suppress_s: float = 90 * 86400.0
    steps: Mapping[Trouble, tuple[float, ...]] = field(default=STEPS_S)

    def delay_s(self, trouble: Trouble, attempt: int, *, chance: float, hint_s: float | None = None) -> float:
        """Seconds until the next try.

        Args:
            trouble: What stood in the way.
            attempt: Tries made, from 1.
            chance: Between 0 and 1.
            hint_s: What the server asked for.
        """
        steps = self.steps[trouble]
        base = steps[min(max(attempt, 1), len(steps)) - 1]
        if hint_s is not None:
            base = max(1.0, min(hint_s, self.hint_limit_s))
            return base * (1 + self.jitter * chance)
        return base * (1 + self.jitter * (2 * chance - 1))

    def given_up(self, *, age_s: float, attempts: int) -> bool:
        """Whether a message that is still refused has been tried long enough."""
        return age_s >= self.max_age_s and attempts >= self.min_attempts

    @property
    def longest_s(self) -> float:
        """No delay is longer: a due time further away comes from a clock that has jumped."""
        return max(self.hint_limit_s, *(max(steps) for steps in self.steps.values())) * (1 + self.jitter)


def trouble_of(statuses: Sequence[RecipientStatus], error: MailwrightError | None) -> Trouble:
    """The kind of trouble of an attempt some of whose recipients may be tried again."""
    waiting = [status for status in statuses if status.outcome == "rejected" and not status.permanent]
    reply = next((status.reply for status in waiting if status.reply is not None), None)
    if reply is None and error is not None:
        reply = error.reply
    if error is not None and (error.stage in {"prepare", "hook", "auth"} or isinstance(error, SecretError)):
        return "throttled" if reply is not None and reply.code == 421 else "set-up"
    if reply is not None:
        return _by_reply(reply)
    return "unreachable"


def wants_login(reply: Reply | None) -> bool:
    """Whether a server refused us and not the message: no login, or not this one (RFC 4954 §6)."""
    return reply is not None and reply.protocol == "smtp" and reply.code in {530, 534, 535, 538}


def _by_reply(reply: Reply) -> Trouble:
    enhanced = reply.enhanced or ""
    if wants_login(reply):
        return "set-up"
    if reply.code == 429 or enhanced in {"4.7.28", "4.7.650", "4.5.3"}:
        return "throttled"
    if reply.code in {450, 451} and (enhanced in {"4.7.1", "4.7.0", "4.2.0"} or _GREYLISTED.search(reply.text)):
        return "throttled" if _THROTTLED.search(reply.text) and not _GREYLISTED.search(reply.text) else "greylisted"
    if enhanced == "4.2.2" or (reply.code in {452, 450} and _FULL.search(reply.text)):
        return "full"
    if _THROTTLED.search(reply.text):
        return "throttled"
    return "unreachable" if reply.code == 421 else "other"


def has_no_mailbox(status: RecipientStatus) -> bool:
    """Whether a server said that the address leads nowhere, as opposed to: we do not like you or your mail."""
    reply = status.reply
    if status.outcome != "rejected" or not status.permanent or reply is None or status.stage != "rcpt":
        return False
    return reply.enhanced in _BAD_MAILBOX or (reply.enhanced is None and reply.code in {550, 551, 553})
