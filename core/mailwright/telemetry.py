"""OpenTelemetry spans and metrics, where its API package is installed; nothing where it is not.

Nothing told here names a person: no address, subject or content, only ids, sizes, counts and outcomes.
"""

from __future__ import annotations

from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

    from mailwright.errors import MailwrightError
    from mailwright.model import ConnectionInfo, Receipt

SCOPE = "mailwright"


def observed(connection: ConnectionInfo) -> Observation | Unobserved:
    """One message being sent, for ``with``."""
    return UNOBSERVED if _instruments() is None else Observation(connection)


class Unobserved:
    """What an `Observation` is without OpenTelemetry: nothing, and one for all messages."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def ended(self, receipt: Receipt) -> None:
        """Nobody wants to know."""

    def failed(self, error: MailwrightError) -> None:
        """Nobody wants to know."""


UNOBSERVED: Final = Unobserved()


class Observation:
    """One message being sent.

    Args:
        connection: Its provider and name become attributes.
    """

    def __init__(self, connection: ConnectionInfo) -> None:
        self._connection = connection
        self._instruments = _instruments()
        self._span: Any = None
        self._current: Any = None
        self.status = "failed"

    def __enter__(self) -> Self:
        if self._instruments is not None:
            tracer, kind, current, _ = self._instruments
            self._started, self._attributes = perf_counter(), _attributes(self._connection)
            span = tracer.start_span(f"send {self._connection.provider}", kind=kind, attributes=self._attributes)
            if span.is_recording():
                self._span, self._current = span, current(span, end_on_exit=True)
                self._current.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._current is not None:
            self._current.__exit__(kind, error, trace)
        if self._instruments is not None:
            attributes = {**self._attributes, "mailwright.status": self.status}
            self._instruments[-1].record(perf_counter() - self._started, attributes)

    def ended(self, receipt: Receipt) -> None:
        """What became of it."""
        if self._instruments is None:
            return
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


def _attributes(connection: ConnectionInfo) -> dict[str, str]:
    attributes = {"messaging.system": connection.provider, "messaging.operation.type": "send"}
    if connection.name:
        attributes["messaging.destination.name"] = connection.name
    return attributes


def _counts(receipt: Receipt) -> dict[str, int]:
    return {
        "accepted": len(receipt.accepted),
        "rejected": len(receipt.rejected),
        "unknown": len(receipt.unknown),
    }


@cache
def _instruments() -> tuple[Any, Any, Any, Any] | None:
    try:
        from opentelemetry import metrics, trace  # noqa: PLC0415 - optional
    except ImportError:
        return None
    meter = metrics.get_meter(SCOPE)
    duration = meter.create_histogram(
        "mailwright.send.duration", unit="s", description="From the call of send to the outcome"
    )
    return trace.get_tracer(SCOPE), trace.SpanKind.CLIENT, trace.use_span, duration
