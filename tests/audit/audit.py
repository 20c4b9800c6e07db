"""Known vulnerabilities of the pinned dependencies: `python tests/audit/audit.py constraints.txt [arguments of pip-audit]`.

pip-audit says that all is well where it could ask nobody: a mirror of PyPI knows no advisories, and packages "not found" are
skipped. So what was really looked up is counted, and said.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WAIT_S = 240.0
COMMAND = (sys.executable, "-m", "pip_audit")
REQUIRED = "MAILWRIGHT_REQUIRE_AUDIT"


def pins(file: str) -> list[str]:
    """Names of what is pinned."""
    text = Path(file).read_text(encoding="utf-8")
    return re.findall(r"^([A-Za-z0-9][\w.-]*)==", text, re.MULTILINE)


def ask(file: str, more: Sequence[str], command: Sequence[str] = COMMAND) -> tuple[list[dict[str, Any]], str]:
    """What pip-audit says of each package, and why nothing came of it, in a line."""
    options = ["-r", file, "--no-deps", "--disable-pip", "--timeout", "10", "--progress-spinner", "off", "-f", "json"]
    try:
        done = subprocess.run(
            [*command, *options, *more],
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return json.loads(done.stdout)["dependencies"], ""
    except subprocess.TimeoutExpired:
        return [], f"no answer within {WAIT_S:g} s"
    except (OSError, ValueError, LookupError, TypeError):
        lines = done.stderr.strip().splitlines() if "done" in locals() else []
        return [], lines[-1].partition(": ")[0] if lines else "pip-audit does not run"


def judge(
    found: Sequence[dict[str, Any]], wanted: Sequence[str], why: str, *, required: bool = False
) -> tuple[int, list[str]]:
    """Exit code and what to say: 1 for a vulnerability, or for none looked up where that is required."""
    bad = [(one["name"], one["version"], vuln) for one in found for vuln in one.get("vulns") or ()]
    asked = {_canonical(one["name"]) for one in found if "vulns" in one}
    said = [_told(name, version, vuln) for name, version, vuln in bad]
    if not asked:
        reason = why or "it knows none of the packages; is it a mirror without advisories?"
        said.append(f"audit: NOT DONE, the advisory service cannot be asked: {reason}")
        return (1 if required else 0), said
    skipped = [name for name in wanted if _canonical(name) not in asked]
    said.append(f"audit: {len(asked)} of {len(wanted)} pinned packages looked up, {len(bad)} known vulnerabilities")
    if skipped:
        said.append(f"audit: not looked up: {', '.join(skipped)}")
    return (1 if bad or (required and skipped) else 0), said


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _told(name: str, version: str, vuln: dict[str, Any]) -> str:
    names = ", ".join([vuln.get("id", "?"), *vuln.get("aliases", ())])
    fixed = " or ".join(vuln.get("fix_versions") or ()) or "nothing yet"
    return f"audit: {name} {version}: {names}; fixed in {fixed}"


def main(arguments: Sequence[str]) -> int:
    """Ask, and say what came of it."""
    file, *more = arguments
    found, why = ask(file, more)
    code, said = judge(found, pins(file), why, required=os.environ.get(REQUIRED, "") not in {"", "0"})
    print("\n".join(said))
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
