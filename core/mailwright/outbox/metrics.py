"""Figures of an outbox as Prometheus reads them (text format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, get_args

from mailwright.spi import JobState

_STATES: Final[tuple[str, ...]] = get_args(JobState)


def text(stats: Mapping[str, float], counts: Mapping[str, int]) -> str:
    """All of them.

    Args:
        stats: Of the ledger: everybody's.
        counts: Of this process's workers.
    """
    return "\n".join(_lines(stats, counts)) + "\n"


def _lines(stats: Mapping[str, float], counts: Mapping[str, int]) -> Iterator[str]:
    yield from _head("mailwright_outbox_messages", "gauge", "Messages in the outbox by state.")
    for state in _STATES:
        yield f'mailwright_outbox_messages{{state="{state}"}} {stats.get(state, 0):g}'
    yield from _head("mailwright_outbox_due", "gauge", "Messages waiting for a worker.")
    yield f"mailwright_outbox_due {stats.get('due', 0):g}"
    yield from _head("mailwright_outbox_oldest_due_seconds", "gauge", "How long the oldest of them has waited.")
    yield f"mailwright_outbox_oldest_due_seconds {stats.get('oldest_due_s', 0):.3f}"
    yield from _head("mailwright_outbox_outcomes_total", "counter", "What attempts of this process came to.")
    for outcome in (
        "sent",
        "partial",
        "failed",
        "unknown",
        "retried",
        "rate_limited",
        "held",
        "quarantined",
        "lease_lost",
    ):
        yield f'mailwright_outbox_outcomes_total{{outcome="{outcome}"}} {counts.get(outcome, 0)}'


def _head(name: str, kind: str, says: str) -> Iterator[str]:
    yield f"# HELP {name} {says}"
    yield f"# TYPE {name} {kind}"
