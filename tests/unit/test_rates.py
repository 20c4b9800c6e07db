"""Rates: never more than the burst and one each interval, whoever asks and whenever."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwright import Mailer, Message
from mailwright.model import Limits
from mailwright.rates import Rate
from mailwright.testing import ScriptedServer


class Clock:
    """Time passes when somebody waits."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> datetime:
        return datetime.now().astimezone()

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


@given(
    rate=st.floats(0.01, 100),
    burst=st.integers(1, 20),
    pauses=st.lists(st.floats(0, 50), min_size=1, max_size=40),
)
def test_no_window_holds_more_than_the_burst_and_its_share(rate: float, burst: int, pauses: list[float]) -> None:
    async def run() -> list[float]:
        clock = Clock()
        gate = Rate(Limits(rate=rate, burst=burst), clock)
        times = []
        for pause in pauses:
            clock.time += pause
            await gate.admit()
            times.append(clock.time)
        return times

    times = asyncio.run(run())
    for start, first in enumerate(times):
        for end in range(start, len(times)):
            assert end - start + 1 <= burst + (times[end] - first) * rate + 1e-6


async def test_without_a_rate_nobody_waits() -> None:
    clock = Clock()
    gate = Rate(Limits(), clock)
    for _ in range(100):
        await gate.admit()
    assert clock.time == 1000.0


async def test_a_connection_keeps_its_rate() -> None:
    clock = Clock()
    letter = Message(from_="me@x.org", to="ann@x.org", subject="Hi")
    async with ScriptedServer() as server:
        limits = {"rate": "30/min", "burst": 2}
        connection = {"provider": "smtp", "host": server.host, "port": server.port, "tls": "none", "limits": limits}
        async with Mailer(connection, clock=clock) as mailer:
            for _ in range(5):
                await mailer.send(letter)
        assert len(server.messages) == 5
    assert clock.time - 1000.0 == pytest.approx(6.0)  # two at once, three more every two seconds
