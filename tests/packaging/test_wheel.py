"""What is installed, and what importing it costs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mailwright

HEAVY = {"asyncio", "aiosmtplib", "pluggy", "cattrs", "httpx2", "jinja2", "typer"}


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not modules_after("import mailwright") & HEAVY


def test_a_message_needs_no_event_loop() -> None:
    assert not modules_after("from mailwright import Message, Address, Part") & HEAVY


def test_every_public_name_loads() -> None:
    for name in mailwright.__all__:
        assert getattr(mailwright, name) is not None
    assert set(mailwright.__all__) <= set(dir(mailwright))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mailwright.nothing  # noqa: B018 - the attribute access is the test


@pytest.mark.skipif("MAILWRIGHT_WHEEL" not in os.environ, reason="runs where the wheel was built (nox -s tests)")
def test_the_wheel_holds_both_packages_and_nothing_else() -> None:
    names = zipfile.ZipFile(os.environ["MAILWRIGHT_WHEEL"]).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"mailwright", "mailwright_plugins"}
    assert {"mailwright/py.typed", "mailwright_plugins/py.typed", "mailwright/examples/welcome.toml"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    assert "site-packages" in str(Path(mailwright.__file__))
