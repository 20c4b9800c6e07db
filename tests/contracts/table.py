"""Which plugin passes which contract, and how many laws: `python tests/contracts/table.py [paths]` prints a table, and fails for one that does not.

Without paths: the built-in plugins, the engines of the outbox, and every distribution in contrib/ that is installed.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
OWN = ["tests/contracts/test_builtin.py", "tests/unit/test_outbox_engines.py"]


def kinds() -> list[type]:
    """The contracts, the narrower first; imported late, for pytest wants to be first."""
    from mailwright.testing import contracts

    found = [getattr(contracts, name) for name in contracts.__all__ if name.endswith("Contract")]
    return sorted(found, key=lambda kind: -len(kind.__mro__))


class Counting:
    """Counts outcomes by contract and plugin."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], Counter[str]] = {}
        self.broken: list[str] = []
        self._of: dict[str, tuple[str, str]] = {}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        known = kinds()
        for item in items:
            cls = getattr(item, "cls", None)
            kind = next((kind for kind in known if cls is not None and issubclass(cls, kind)), None)
            if kind is not None and hasattr(kind, item.function.__name__):
                self._of[item.nodeid] = (kind.__name__, self._about(cls))
        items[:] = [item for item in items if item.nodeid in self._of]

    def _about(self, cls: type) -> str:
        plugin = getattr(cls, "plugin", None)
        name = plugin if isinstance(plugin, str) else getattr(plugin, "__name__", "")
        return f"{name.removeprefix('mailwright_plugins.') or cls.__module__.rpartition('.')[2]} ({cls.__name__})"

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            place = self._of[report.nodeid]
            self.found.setdefault(place, Counter())[report.outcome] += 1
            if report.outcome == "failed":
                self.broken.append(f"{report.nodeid}\n{report.longreprtext}")

    def pytest_collectreport(self, report: Any) -> None:
        if report.outcome == "failed":
            self.broken.append(f"{report.nodeid}\n{report.longreprtext}")


def main(paths: list[str]) -> int:
    """Run, and print."""
    chosen = paths or [*OWN, *(str(path) for path in sorted(ROOT.glob("contrib/*/tests")))]
    counting = Counting()
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml")]
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main([*options, *chosen], [counting])
    print("| contract | plugin | passed | not for it | failed |\n|---|---|---|---|---|")
    for (kind, about), outcomes in sorted(counting.found.items()):
        print(f"| {kind} | {about} | {outcomes['passed']} | {outcomes['skipped']} | {outcomes['failed']} |")
    total = sum((outcomes for outcomes in counting.found.values()), Counter())
    print(f"\n{len(counting.found)} pairs, {total['passed']} laws passed, {total['failed']} failed")
    print("\n".join(counting.broken))
    return 1 if counting.broken or not total["passed"] else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
