"""The short form of the crash suite; the long one is ``nox -s crash``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _chaos() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chaos", Path(__file__).with_name("chaos.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["chaos"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and SIGSTOP are POSIX")
@pytest.mark.timeout(180)
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
async def test_q01_q05_kill_and_stop_lose_nothing_and_repeat_only_what_was_on_its_way(tmp_path: Path) -> None:
    chaos = _chaos()
    figures = await chaos.Chaos(url=f"sqlite:///{tmp_path}/outbox.db", folder=tmp_path, kills=6).run()
    print(figures)
    assert figures.accepted > 50
    assert (figures.lost, figures.too_often) == (0, 0)
