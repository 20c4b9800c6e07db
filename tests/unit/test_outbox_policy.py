"""When a message is tried again: pure, so time and chance are handed in."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from mailwright.errors import AuthError, SecretError, SessionError
from mailwright.model import RecipientStatus, Reply
from mailwright.outbox import RetryPolicy
from mailwright.outbox.policy import STEPS_S, has_no_mailbox, trouble_of


def status(code: int, text: str = "", enhanced: str | None = None) -> RecipientStatus:
    reply = Reply(code=code, enhanced=enhanced, text=text)
    return RecipientStatus(address="a@x.org", outcome="rejected", permanent=code >= 500, stage="rcpt", reply=reply)


@pytest.mark.parametrize(
    ("code", "enhanced", "text", "trouble"),
    [
        (451, "4.7.1", "Greylisting in action, please come back later", "greylisted"),
        (450, None, "4.2.0 Recipient address rejected: Greylisted", "greylisted"),
        (421, "4.7.28", "Our system has detected an unusual rate of mail", "throttled"),
        (451, "4.7.1", "Too many messages, rate limited", "throttled"),
        (452, "4.2.2", "The recipient's inbox is full", "full"),
        (452, None, "mailbox full", "full"),
        (421, None, "Service not available, closing", "unreachable"),
        (530, "5.7.0", "Authentication required", "set-up"),
        (451, "4.3.0", "Local error in processing", "other"),
    ],
)
def test_the_kind_of_trouble_is_read_from_the_reply(code: int, enhanced: str | None, text: str, trouble: str) -> None:
    assert trouble_of([evolve(status(code, text, enhanced), permanent=False)], None) == trouble


def test_trouble_without_a_reply() -> None:
    silent = RecipientStatus(address="a@x.org", outcome="rejected", permanent=False, stage="connect")
    assert trouble_of([silent], SessionError("refused")) == "unreachable"
    assert trouble_of([silent], AuthError("wrong password")) == "set-up"
    assert trouble_of([silent], SecretError("env:X is not set")) == "set-up"


@given(st.sampled_from(sorted(STEPS_S)), st.integers(1, 100), st.floats(0, 1), st.none() | st.floats(0, 1e9))
def test_q08_delays_grow_within_their_bounds(trouble: str, attempt: int, chance: float, hint: float | None) -> None:
    policy = RetryPolicy()
    delay = policy.delay_s(trouble, attempt, chance=chance, hint_s=hint)  # type: ignore[arg-type]
    assert 0 < delay <= policy.longest_s <= 86400
    if hint is None:
        steps = STEPS_S[trouble]  # type: ignore[index]
        assert steps[0] * 0.8 <= delay <= steps[-1] * 1.2
    else:
        assert delay >= min(hint, policy.hint_limit_s)


def test_q08_four_days_and_never_before_a_few_tries() -> None:
    policy = RetryPolicy()
    assert not policy.given_up(age_s=3.9 * 86400, attempts=90)
    assert policy.given_up(age_s=4 * 86400, attempts=3)
    assert not policy.given_up(age_s=400 * 86400, attempts=2)


@pytest.mark.parametrize(
    ("code", "enhanced", "gone"),
    [(550, "5.1.1", True), (550, None, True), (550, "5.7.1", False), (552, "5.2.2", False), (450, "4.1.1", False)],
)
def test_only_addresses_without_a_mailbox_are_suppressed(code: int, enhanced: str | None, gone: bool) -> None:
    assert has_no_mailbox(status(code, "", enhanced)) is gone
