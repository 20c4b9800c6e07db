"""What importing a plugin costs, and does: measured in a process of its own."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from attrs import frozen

PUBLIC: Final = frozenset({"errors", "http_api", "ports", "sasl", "spi", "testing"})
"""Submodules of `mailwright` that plugins may import, beside the package itself."""

_SCRIPT: Final = """
import importlib, json, sys, time
import mailwright, mailwright.errors, mailwright.http_api, mailwright.ports, mailwright.sasl, mailwright.spi
from mailwright import hookimpl
name = sys.argv[1]
FORBIDDEN = ("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.remove")
acts = []
def audit(event, arguments):
    if event in FORBIDDEN:
        acts.append(event)
    elif event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        if "__pycache__" not in str(arguments[0]):
            acts.append("open for writing")
sys.addaudithook(audit)
def slept(seconds, sleep=time.sleep):
    acts.append("time.sleep")
    sleep(seconds)
time.sleep = slept
before = set(sys.modules)
importlib.import_module(name)
top = name.partition(".")[0]
own = [module for module in sys.modules if module not in before and module.partition(".")[0] == top]
best = None
for _ in range(5):
    for module in own:
        sys.modules.pop(module, None)
    started = time.process_time()
    importlib.import_module(name)
    spent = time.process_time() - started
    best = spent if best is None else min(best, spent)
print(json.dumps({"ms": best * 1000, "acts": sorted(set(acts))}))
"""


@frozen(kw_only=True)
class Import:
    """What importing one module costs.

    Attributes:
        own_ms: CPU time of its own modules, everything they depend on loaded already; the best of five, in milliseconds.
        acts: What it does beside being imported: sleeps, opens sockets, starts processes, writes files.
    """

    own_ms: float
    acts: tuple[str, ...]


def measure_import(name: str) -> Import:
    """Import a module in a fresh interpreter."""
    done = subprocess.run(  # noqa: S603 - this interpreter, this script
        [sys.executable, "-c", _SCRIPT, name], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"importing {name} fails:\n{done.stderr[-2000:]}"
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Import(own_ms=found["ms"], acts=tuple(found["acts"]))


def sources(name: str) -> tuple[Path, ...]:
    """Python files of the top package that a module belongs to."""
    spec = importlib.util.find_spec(name.partition(".")[0])
    if spec is None or spec.origin is None:
        return ()
    if spec.submodule_search_locations:
        return tuple(sorted(path for place in spec.submodule_search_locations for path in Path(place).rglob("*.py")))
    return (Path(spec.origin),)


def private_imports(path: Path) -> Iterator[str]:
    """Imports of Mailwright's private modules in one source file, as ``line 3: mailwright.net``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for name in _imported(node):
            package, _, rest = name.partition(".")
            if package == "mailwright" and rest and rest.partition(".")[0] not in PUBLIC and rest[0].islower():
                yield f"line {getattr(node, 'lineno', '?')}: {name}"


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        module = node.module or ""
        # `from mailwright import net` is an import of a module, `from mailwright import hookimpl` is not
        names = [f"mailwright.{a.name}" for a in node.names if a.name in _SUBMODULES] if module == "mailwright" else []
        return [module, *names]
    return []


def _submodules() -> frozenset[str]:
    import mailwright  # noqa: PLC0415 - a list of its files

    folder = Path(mailwright.__file__).parent
    return frozenset(path.stem for path in folder.iterdir() if not path.name.startswith("_")) - set(mailwright.__all__)


_SUBMODULES: Final = _submodules()
