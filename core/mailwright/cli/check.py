"""`mailwright check`: every mistake in a node document; with ``--original`` what differs from the original node."""

from __future__ import annotations

import json as jsonlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mailwright import FlowState, Problem, check_node
from mailwright.cli.output import DELIVERED, WRONG, complain, read_state, show_json
from mailwright.errors import ConfigurationError, DocumentError

_SECRETS: Final = frozenset({"password", "client_secret", "access_token", "refresh_token"})


def run(
    node: Path, state: Path | None, *, attach_root: Path | None, original: bool, output: Path | None, json: bool
) -> int:
    """Print every mistake."""
    given = read_state(state) if state is not None else None
    if original:
        return _original(node, given, attach_root=attach_root, output=output, json=json)
    if output is not None:
        msg = "--output belongs to --original"
        raise ConfigurationError(msg)
    problems = check_node(node, given, attach_root=attach_root, resolve=True)
    if json:
        show_json([_plain(problem) for problem in problems])
        return WRONG if problems else DELIVERED
    if problems:
        return complain(DocumentError(problems, source=node.name or str(node)))
    from rich.console import Console  # noqa: PLC0415 - only when all is well

    Console().print(f"[green]✓[/] {node.name}: no mistakes found")
    return DELIVERED


def _plain(problem: Problem) -> dict[str, str]:
    return {"code": problem.code, "path": problem.path, "message": problem.message}


def _original(file: Path, state: FlowState | None, *, attach_root: Path | None, output: Path | None, json: bool) -> int:
    """Translate, explain, check."""
    from mailwright.documents import read  # noqa: PLC0415 - for --original only
    from mailwright.documents.original import translate  # noqa: PLC0415
    from mailwright.registry import default_registry  # noqa: PLC0415

    registry = default_registry()
    found = translate(read(file), lambda name: _known(name, registry))
    problems = check_node(found.document, state, attach_root=attach_root, resolve=True)
    if output is not None:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # it may hold secrets
        with os.fdopen(handle, "w", encoding="utf-8") as target:
            target.write(jsonlib.dumps(found.document, ensure_ascii=False, indent=2) + "\n")
    if json:
        notes = [{"path": path, "message": says} for path, says in found.notes]
        show_json({"document": _masked(found.document), "notes": notes, "problems": [_plain(p) for p in problems]})
        return WRONG if problems else DELIVERED
    for path, says in found.notes:
        sys.stdout.write(f"differs: {path}: {says}\n")
    if output is None:
        sys.stdout.write("\nas our document (secrets masked; --output writes it whole):\n")
        show_json(_masked(found.document))
    if problems:
        return complain(DocumentError(problems, source=file.name))
    sys.stdout.write(f"{output or file.name}: no mistakes found\n")
    return DELIVERED


def _known(name: str, registry: Any) -> bool:
    from mailwright.errors import PluginError  # noqa: PLC0415 - as above

    try:
        registry.provider(name)
    except PluginError:
        return False
    return True


def _masked(value: Any) -> Any:
    """Literal secrets as stars; references such as ``env:NAME`` stay."""
    if isinstance(value, Mapping):
        return {key: "***" if key in _SECRETS and _literal(item) else _masked(item) for key, item in value.items()}
    return [_masked(item) for item in value] if isinstance(value, list) else value


def _literal(value: object) -> bool:
    return not (isinstance(value, str) and value.startswith(("env:", "file:", "keyring:")))
