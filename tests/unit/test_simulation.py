"""The simulation of `tests/benchmarks/simulate.py`, small: it keeps the limits, ends every message, and repeats itself."""

from __future__ import annotations

import importlib.util
import sys
from bisect import bisect_left
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def simulate() -> Any:
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("simulate", FOLDER / "simulate.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules["simulate"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


def test_every_message_ends_and_the_same_seed_gives_the_same_figures(simulate: Any) -> None:
    for scene in simulate.SCENES:
        first, again = (simulate.simulated(scene, messages=3000, workers=2, seed=7) for _ in range(2))
        assert first.sent + first.failed == 3000
        assert not first.waiting
        assert simulate.row(first) == simulate.row(again)
        assert first.tries >= 3000


def test_the_accounts_rate_holds_however_many_workers_there_are(simulate: Any) -> None:
    provider = simulate.SCENES[1]
    for workers in (1, 4):
        at = sorted(simulate.simulated(provider, messages=5000, workers=workers, seed=1).accepted_at)
        busiest = max(bisect_left(at, moment + 1) - index for index, moment in enumerate(at))
        assert busiest <= provider.rate + 10


def test_sessions_are_what_limits_one_worker_and_a_second_one_doubles_it(simulate: Any) -> None:
    relay = simulate.SCENES[0]
    one, two = (simulate.simulated(relay, messages=5000, workers=workers, seed=1) for workers in (1, 2))
    most = relay.sessions / relay.answer_s
    assert 0.9 * most <= 5000 / one.accepted_at[int(len(one.accepted_at) * 0.95)] <= 1.1 * most
    assert two.accepted_at[4500] == pytest.approx(one.accepted_at[4500] / 2, rel=0.05)


def test_spans_are_for_people(simulate: Any) -> None:
    assert [simulate.span(seconds) for seconds in (0, 89, 3599, 3600, 7325)] == [
        "0 min", "1 min", "1 h 00 min", "1 h 00 min", "2 h 02 min"
    ]  # fmt: skip
