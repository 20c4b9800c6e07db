"""OpenTelemetry spans and metrics, where its API package is installed; nothing where it is not.

Nothing told here names a person: no address, subject or content, only ids, sizes, counts and outcomes.
"""

from __future__ import annotations

from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

if TYPE_CHECKING:
    from types import TracebackType

    from mailwright.errors import MailwrightError
    from mailwright.model import ConnectionInfo, Receipt

SCOPE: Final = "mailwright"
_Instruments: TypeAlias = tuple[Any, Any, Any, Any]
"""A tracer, the kind of its spans, what makes one the current one, and the histogram."""


def observed(connection: ConnectionInfo) -> Observation | Unobserved:
    """One message being sent, for ``with``."""
    instruments = _instruments()
    return UNOBSERVED if instruments is None else Observation(connection, instruments)


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
    """One message being sent; see `observed`.

    Args:
        connection: Its provider and name become attributes.
        instruments: OpenTelemetry's.
    """

    def __init__(self, connection: ConnectionInfo, instruments: _Instruments) -> None:
        self._connection = connection
        self._tracer, self._kind, self._use, self._duration = instruments
        self._span: Any = None
        self._current: Any = None
        self._status = "failed"

    def __enter__(self) -> Self:
        self._started, self._attributes = perf_counter(), _attributes(self._connection)
        span = self._tracer.start_span(
            f"send {self._connection.provider}", kind=self._kind, attributes=self._attributes
        )
        if span.is_recording():
            self._span, self._current = span, self._use(span, end_on_exit=True)
            self._current.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._current is not None:
            self._current.__exit__(kind, error, trace)
        self._duration.record(perf_counter() - self._started, {**self._attributes, "mailwright.status": self._status})

    def ended(self, receipt: Receipt) -> None:
        """What became of it."""
        self._status = receipt.status
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
            self._span.set_attributes({"error.type": error.code, "mailwright.status": self._status})


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
def _instruments() -> _Instruments | None:
    try:
        from opentelemetry import metrics, trace  # noqa: PLC0415 - optional
    except ImportError:
        return None
    meter = metrics.get_meter(SCOPE)
    duration = meter.create_histogram(
        "mailwright.send.duration", unit="s", description="From the call of send to the outcome"
    )
    return trace.get_tracer(SCOPE), trace.SpanKind.CLIENT, trace.use_span, duration
