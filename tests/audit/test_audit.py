"""The audit fails for a vulnerability, never takes silence for good news, and hangs on nobody."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture
def audit() -> Any:
    spec = importlib.util.spec_from_file_location("audit", HERE / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "constraints.txt"
    path.write_text("jinja2==3.1.0\nattrs==25.4.0\n")
    return str(path)


def speaker(tmp_path: Path, body: str) -> list[str]:
    script = tmp_path / "pip_audit.py"
    script.write_text(body)
    return [sys.executable, str(script)]


GOOD = {"name": "attrs", "version": "25.4.0", "vulns": []}
BAD = {
    "name": "jinja2",
    "version": "3.1.0",
    "vulns": [{"id": "GHSA-x", "aliases": ["CVE-2024-1"], "fix_versions": ["3.1.3"]}],
}
SKIPPED = {"name": "jinja2", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("found", "required", "code", "said"),
    [
        ([GOOD, {**GOOD, "name": "Jinja2"}], True, 0, "2 of 2 pinned packages looked up, 0 known"),
        ([GOOD, BAD], False, 1, "jinja2 3.1.0: GHSA-x, CVE-2024-1; fixed in 3.1.3"),
        ([GOOD, SKIPPED], False, 0, "not looked up: jinja2"),
        ([GOOD, SKIPPED], True, 1, "1 of 2"),
        ([SKIPPED, SKIPPED], False, 0, "NOT DONE"),
        ([SKIPPED, SKIPPED], True, 1, "NOT DONE"),
        ([], False, 0, "NOT DONE"),
        ([], True, 1, "NOT DONE"),
    ],
)
def test_silence_is_no_good_news(audit: Any, found: Any, required: bool, code: int, said: str) -> None:
    got, lines = audit.judge(found, ["attrs", "jinja2"], "", required=required)
    assert got == code
    assert said in "\n".join(lines)


def test_what_pip_audit_says_is_read(audit: Any, file: str, tmp_path: Path) -> None:
    answer = json.dumps({"dependencies": [GOOD, BAD], "fixes": []})
    found, why = audit.ask(file, [], speaker(tmp_path, f"print({answer!r}); raise SystemExit(1)"))
    assert (found, why) == ([GOOD, BAD], "")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("raise ConnectionError('https://api.example/secret')", "ConnectionError"),
        ("print('no JSON')", "pip-audit does not run"),
        ("import time; time.sleep(60)", "no answer within"),
    ],
)
def test_no_answer_is_told_in_bounded_time(audit: Any, file: str, tmp_path: Path, body: str, why: str) -> None:
    audit.WAIT_S = 0.5 if "sleep" in body else 30.0
    found, told = audit.ask(file, [], speaker(tmp_path, body))
    assert found == []
    assert told.startswith(why)
    assert "https://" not in told


def test_every_pin_is_counted(audit: Any) -> None:
    constraints = ROOT / "constraints.txt"
    if not constraints.exists():
        pytest.skip("the constraints are not here")
    lines = [line for line in constraints.read_text().splitlines() if line.strip() and not line.startswith("#")]
    assert len(audit.pins(str(constraints))) == len(lines)
