"""A million messages over N workers and a provider's limits, in simulated time: real rates and back-off, a clock that jumps.

    python tests/benchmarks/simulate.py [--messages N] [--seed N]

Real is what decides: `mailwright.rates.Rate` (the account that all workers share, and what one worker gets done a second) and
`RetryPolicy` with `trouble_of`. Simulated are time, servers and chance, which is seeded. The ledger is taken to keep up; its
own figures are those of `outbox.py`.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections.abc import Coroutine, Generator
from datetime import UTC, datetime, timedelta
from typing import Any

from _pairs import table
from attrs import define, field, frozen

from mailwright import RecipientStatus, RetryPolicy
from mailwright.outbox.policy import trouble_of
from mailwright.rates import Rate
from mailwright.spi import Limits, Reply

WORKER_S = 1100.0
"""Messages a second that one worker got done in `outbox.py` with PostgreSQL on two cores shared with the sink."""
GREYLISTED = Reply(code=450, enhanced="4.2.0", text="Greylisted, try again later")
THROTTLED = Reply(code=421, enhanced="4.7.28", text="Too many messages")
START = datetime(2026, 1, 2, tzinfo=UTC)


@frozen(kw_only=True)
class Provider:
    """How servers behave.

    Args:
        says: What the table calls it.
        answer_s: Seconds one message keeps a session.
        sessions: At one time, for each worker.
        rate: Messages a second, for the account.
        grey: Share of messages whose first try is greylisted; the second is taken.
        throttled: Share of tries that are refused for the moment.
        refused: Share of messages that are refused for good.
    """

    says: str
    answer_s: float
    sessions: int
    rate: float | None = None
    grey: float = 0.0
    throttled: float = 0.0
    refused: float = 0.01


SCENES = (
    Provider(
        says="own relay, 50 ms a message, 10 sessions a worker, 2 % greylisted", answer_s=0.05, sessions=10, grey=0.02
    ),
    Provider(says="provider that takes 300 a second", answer_s=0.1, sessions=20, rate=300, grey=0.02),
    Provider(
        says="the same, 5 % of tries throttled all the same",
        answer_s=0.1,
        sessions=20,
        rate=300,
        grey=0.02,
        throttled=0.05,
    ),
)


class Pause:
    """What a coroutine waits for: the driver is told how long."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __await__(self) -> Generator[float, None, None]:
        yield self._seconds


@define
class FakeClock:
    """Jumps to whatever comes next. See `mailwright.ports.Clock`."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await Pause(max(seconds, 0.0))


@define
class World:
    """One run."""

    provider: Provider
    messages: int
    workers: int
    dice: random.Random
    policy: RetryPolicy = field(factory=RetryPolicy)
    clock: FakeClock = field(factory=FakeClock)
    waiting: list[tuple[float, int, int]] = field(factory=list)
    first: int = 0
    under_way: int = 0
    tries: int = 0
    sent: int = 0
    failed: int = 0
    accepted_at: list[float] = field(factory=list)

    def run(self) -> World:
        """Until every message has ended."""
        account = Rate(Limits(rate=self.provider.rate, burst=10), self.clock)
        sleepers: list[tuple[float, int, Coroutine[Any, Any, None]]] = []
        for worker in range(self.workers):
            pace = Rate(Limits(rate=WORKER_S, burst=10), self.clock)
            for place in range(self.provider.sessions):
                heapq.heappush(sleepers, (0.0, worker * 1000 + place, self.session(account, pace)))
        while sleepers:
            moment, number, session = heapq.heappop(sleepers)
            self.clock.seconds = max(self.clock.seconds, moment)
            try:
                heapq.heappush(sleepers, (self.clock.seconds + session.send(None), number, session))
            except StopIteration:
                continue
        return self

    async def session(self, account: Rate, pace: Rate) -> None:
        """One of a worker's places: takes what is due, waits for its turn, sends, and writes down what came of it."""
        while (job := self._take()) is not None:
            due, attempt, seed = job
            if due > self.clock.seconds:
                await self.clock.sleep(due - self.clock.seconds)
            await pace.admit()
            await account.admit()
            await self.clock.sleep(self.provider.answer_s)
            self.tries += 1
            self._judge(self._answer(seed, attempt), attempt, seed)

    def _take(self) -> tuple[float, int, int] | None:
        """Retries that are due, then messages not tried yet, then whatever is due next."""
        if self.waiting and (self.waiting[0][0] <= self.clock.seconds or self.first >= self.messages):
            due, attempt, seed = heapq.heappop(self.waiting)
            return due, attempt + 1, seed
        if self.first < self.messages:
            self.first += 1
            return 0.0, 1, self.dice.getrandbits(32)
        return None

    def _answer(self, seed: int, attempt: int) -> Reply | None:
        """None: taken. A message's fate is its seed's; throttling is chance."""
        fate = seed / 2**32
        if fate < self.provider.refused:
            return Reply(code=550, enhanced="5.1.1", text="No such user")
        if attempt == 1 and fate < self.provider.refused + self.provider.grey:
            return GREYLISTED
        return THROTTLED if self.dice.random() < self.provider.throttled else None

    def _judge(self, reply: Reply | None, attempt: int, seed: int) -> None:
        if reply is None:
            self.sent += 1
            self.accepted_at.append(self.clock.seconds)
            return
        status = RecipientStatus(
            address="a@example.org", outcome="rejected", permanent=reply.code >= 500, stage="rcpt", reply=reply
        )
        if status.permanent or self.policy.given_up(age_s=self.clock.seconds, attempts=attempt):
            self.failed += 1
            return
        delay = self.policy.delay_s(trouble_of([status], None), attempt, chance=self.dice.random())
        heapq.heappush(self.waiting, (self.clock.seconds + delay, attempt, seed))


def simulated(provider: Provider, *, messages: int, workers: int, seed: int) -> World:
    """One run from the beginning."""
    return World(provider=provider, messages=messages, workers=workers, dice=random.Random(seed)).run()


def row(world: World) -> list[str]:
    """Figures of a run."""
    at = sorted(world.accepted_at)
    most = at[int(len(at) * 0.95) - 1]
    return [
        world.provider.says, str(world.workers), f"{0.95 * len(at) / most:.0f}/s", span(most), span(at[-1]),
        f"{world.tries / world.messages:.3f}", f"{world.sent} + {world.failed}",
    ]  # fmt: skip


def span(seconds: float) -> str:
    """Minutes, or hours and minutes."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given, _ = parser.parse_known_args()
    rows = [
        row(simulated(scene, messages=given.messages, workers=workers, seed=given.seed))
        for scene in SCENES
        for workers in (1, 2, 4)
    ]
    head = [
        "servers",
        "workers",
        "rate of the first 95 %",
        "95 % sent after",
        "all sent after",
        "tries a message",
        "sent + refused",
    ]
    print(f"{given.messages} messages, seed {given.seed}\n")
    print(table(head, rows))


if __name__ == "__main__":
    main()
