"""OpenTelemetry sees outcomes, sizes and counts, and nobody's name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from mailwright import Mailer, Message, SendError, telemetry
from mailwright.testing import Capture

LETTER = Message(from_="canary.me@x.org", to="canary.ann@x.org, canary.bo@x.org", subject="canary", text="canary")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider(metric_readers=[reader])
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(trace, "get_tracer", tracers.get_tracer)
    monkeypatch.setattr(metrics, "get_meter", meters.get_meter)
    telemetry._instruments.cache_clear()
    yield spans, reader
    telemetry._instruments.cache_clear()
    meters.shutdown()


def test_a_span_tells_the_outcome(seen: Any, outbox_capture: Capture) -> None:
    spans, reader = seen
    outbox_capture.refuse("canary.bo@x.org")
    Mailer("support").send_sync(LETTER)
    outbox_capture.fail_next("550 5.7.1 no")
    with pytest.raises(SendError):
        Mailer("support").send_sync(LETTER)
    with pytest.raises(Exception, match="recipients"):
        Mailer("support").send_sync(Message(subject="canary"))
    partial, refused, never = spans.get_finished_spans()
    assert partial.name == "send sandbox"
    assert partial.attributes["messaging.destination.name"] == "support"
    assert partial.attributes["mailwright.status"] == "partial"
    assert (partial.attributes["mailwright.accepted"], partial.attributes["mailwright.rejected"]) == (1, 1)
    assert partial.attributes["messaging.message.body.size"] == len(outbox_capture.messages[0].raw)
    assert refused.attributes["mailwright.status"] == "failed"
    assert never.attributes["error.type"] == "EENVELOPE"
    assert "canary" not in "".join(span.to_json() for span in spans.get_finished_spans())
    [point_of] = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    assert sorted(point.attributes["mailwright.status"] for point in point_of.data.data_points) == ["failed", "partial"]


def test_without_the_api_nothing_is_missed() -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from mailwright.telemetry import UNOBSERVED, observed\nfrom mailwright.model import ConnectionInfo\n"
        "with observed(ConnectionInfo(provider='smtp')) as found: assert found is UNOBSERVED\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
