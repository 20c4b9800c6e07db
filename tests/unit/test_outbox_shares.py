"""Sessions are an account's: all workers of one ledger together open no more than it allows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwright import Message, Outbox
from mailwright.outbox import shares
from mailwright.outbox.shares import Shares
from mailwright.spi import fair_share
from mailwright.system import SystemClock
from mailwright.testing import Fault, ScriptedServer
from mailwright_plugins.queues.sqlite.ledger import SqliteLedger

WANTED = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 30), max_size=8)


@given(wanted=WANTED, most=st.integers(1, 40), turn=st.integers(0, 100))
def test_places_are_divided_fairly(wanted: dict[str, int], most: int, turn: int) -> None:
    given_ = fair_share(wanted, most=most, turn=turn)
    assert set(given_) == set(wanted)
    assert sum(given_.values()) == (most if any(wanted.values()) else 0)
    for name, wants in wanted.items():
        assert not given_[name] or wants
        for other in wanted:
            if given_[other] > given_[name] + 1:  # who has more wanted more, and we have what we want
                assert given_[name] >= wants


@given(wanted=WANTED, most=st.integers(1, 40))
def test_where_places_are_too_few_everybody_has_a_turn(wanted: dict[str, int], most: int) -> None:
    turns = [fair_share(wanted, most=most, turn=turn) for turn in range(len(wanted))]
    assert all(any(found[name] for found in turns) for name, wants in wanted.items() if wants)


async def _sessions(server: ScriptedServer, stop: asyncio.Event) -> int:
    most = 0
    while not stop.is_set():
        most = max(most, len(server._tasks))
        await asyncio.sleep(0.002)
    return most


@pytest.mark.parametrize("most", [1, 3])
async def test_two_workers_together_open_no_more_sessions_than_the_account_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(shares, "_EVERY_S", 0.05)
    url = f"sqlite:///{tmp_path}/outbox.db"
    async with ScriptedServer(faults=[Fault(stage="final", kind="drip")]) as server:
        limits = {"connections": most}
        sink = {"provider": "smtp", "host": "127.0.0.1", "port": server.port, "tls": "none", "limits": limits}
        options: Any = {"connection": "sink", "connections": {"sink": sink | {"from": "me@example.org"}}}
        stop = asyncio.Event()
        counting = asyncio.create_task(_sessions(server, stop))
        async with Outbox(url, **options) as first, Outbox(url, **options) as second:
            async with asyncio.timeout(40), first.worker(concurrency=8), second.worker(concurrency=8):
                for batch in range(4):
                    ids = [
                        (await first.enqueue(Message(to="ann@example.org", subject=f"{batch}.{n}", text="t"))).job_id
                        for n in range(15)
                    ]
                    for job_id in ids:
                        assert job_id is not None
                        receipt = await first.wait(job_id, every_s=0.02)
                        assert receipt is not None
                        assert receipt.status == "sent"
            counts = [sum(outbox.counts.values()) for outbox in (first, second)]
        stop.set()
        assert await counting <= most
        assert len(server.messages) == 60
        assert sum(counts) >= 60


async def test_alone_a_worker_has_all_and_asks_for_nothing_more(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "outbox.db", SystemClock())
    asked = 0
    share = ledger.share

    async def counted(*arguments: Any, **options: Any) -> int:
        nonlocal asked
        asked += 1
        return await share(*arguments, **options)

    ledger.share = counted  # type: ignore[method-assign]

    async def retire(key: str) -> None:
        raise AssertionError

    mine = Shares(ledger, retire)

    async def one() -> None:
        async with mine.place("a", 3, patience_s=1) as free:
            assert free
            await asyncio.sleep(0)

    await asyncio.gather(*(one() for _ in range(50)))
    assert asked <= 50
    before = asked
    await asyncio.gather(*(one() for _ in range(500)))
    assert asked == before
    await mine.aclose()
    await ledger.aclose()


async def test_a_worker_that_goes_gives_its_sessions_up(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "outbox.db", SystemClock())
    closed: list[str] = []

    async def retire(key: str) -> None:
        closed.append(key)

    one, two = Shares(ledger, retire), Shares(ledger, retire)
    async with one.place("a", 2, patience_s=0) as free:
        assert free
        async with two.place("a", 2, patience_s=0) as other:
            assert not other
    await one.aclose()
    async with two.place("a", 2, patience_s=0) as other:
        assert not other  # it asks once a second
    await two._doors["a"].refresh()
    async with two.place("a", 2, patience_s=0) as other:
        assert other
    await two.aclose()
    await ledger.aclose()


async def test_a_ledger_that_does_not_share_says_so(caplog: pytest.LogCaptureFixture) -> None:
    class Old:
        """Of before."""

    async def retire(key: str) -> None:
        raise AssertionError

    async with Shares(Old(), retire).place("a", 1, patience_s=0) as free:  # type: ignore[arg-type]
        assert free
    assert "limits.connections holds for each worker" in caplog.text
