"""OpenTelemetry spans and metrics, where its API package is installed; nothing where it is not.

Nothing told here names a person: no address, subject or content, only ids, sizes, counts and outcomes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailwright.errors import MailwrightError
    from mailwright.model import ConnectionInfo, Receipt

SCOPE = "mailwright"


class Observation:
    """One message being sent."""

    def __init__(self, span: Any = None) -> None:
        self._span = span
        self.status = "failed"

    def ended(self, receipt: Receipt) -> None:
        """What became of it."""
        self.status = receipt.status
        if self._span is None:
            return
        self._span.set_attributes(
            {
                "messaging.message.id": receipt.message_id,
                "messaging.message.body.size": receipt.size,
                "mailwright.status": receipt.status,
                "mailwright.attempts": receipt.attempts,
                **{f"mailwright.{outcome}": count for outcome, count in _counts(receipt).items()},
            }
        )

    def failed(self, error: MailwrightError) -> None:
        """What kept it from leaving."""
        if self._span is not None:
            self._span.set_attributes({"error.type": error.code, "mailwright.status": self.status})


def _counts(receipt: Receipt) -> dict[str, int]:
    return {
        "accepted": len(receipt.accepted),
        "rejected": len(receipt.rejected),
        "unknown": len(receipt.unknown),
    }


@contextmanager
def observed(connection: ConnectionInfo) -> Iterator[Observation]:
    """Watch one message being sent.

    Args:
        connection: Its provider and name become attributes.
    """
    found = _instruments()
    if found is None:
        yield Observation()
        return
    from time import perf_counter  # noqa: PLC0415 - a duration, no point in time

    tracer, kind, duration = found
    attributes = {"messaging.system": connection.provider, "messaging.operation.type": "send"}
    if connection.name:
        attributes["messaging.destination.name"] = connection.name
    started = perf_counter()
    with tracer.start_as_current_span(f"send {connection.provider}", kind=kind, attributes=attributes) as span:
        observation = Observation(span)
        try:
            yield observation
        finally:
            duration.record(perf_counter() - started, {**attributes, "mailwright.status": observation.status})


@cache
def _instruments() -> tuple[Any, Any, Any] | None:
    try:
        from opentelemetry import metrics, trace  # noqa: PLC0415 - optional
    except ImportError:
        return None
    meter = metrics.get_meter(SCOPE)
    duration = meter.create_histogram(
        "mailwright.send.duration", unit="s", description="From the call of send to the outcome"
    )
    return trace.get_tracer(SCOPE), trace.SpanKind.CLIENT, duration
