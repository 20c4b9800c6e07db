"""`mailwright demo`: a whole letter, from the document to the inbox, on this machine."""

from __future__ import annotations

import json as jsonlib
import tempfile
from email.message import EmailMessage, MIMEPart
from importlib import resources
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.tree import Tree

from mailwright import FlowState, NodeOutcome, load_node
from mailwright.cli.output import show_json
from mailwright.documents import read
from mailwright.testing import Sandbox


def run(*, json: bool) -> int:
    """Send the example node's letter to a sandbox and show dialogue, message and result."""
    folder = Path(tempfile.mkdtemp(prefix="mailwright-demo-"))
    with resources.as_file(resources.files("mailwright.examples")) as examples, Sandbox(folder) as box:
        document = read(examples / "welcome.toml") | {"connection": box.connection}
        state = FlowState(**read(examples / "state.json"))
        outcome = load_node(document, attach_root=examples).run_sync(state)
        inbox = box.wait_for_sync()
        dialogue = box.dialogue
    assert inbox.path is not None
    if json:
        show_json({
            "ok": outcome.ok,
            "dialogue": dialogue,
            "structure": _structure(inbox.parsed),
            "result": outcome.result,
            "eml": str(inbox.path),
        })  # fmt: skip
    else:
        _show(dialogue, inbox.parsed, outcome, inbox.path)
    return 0 if outcome.ok else 1


def _show(dialogue: list[str], message: EmailMessage, outcome: NodeOutcome, path: Path) -> None:
    console = Console(highlight=False)
    console.print(Panel(_short(dialogue), title="The dialogue", subtitle="real SMTP, STARTTLS verified, AUTH"))
    tree = Tree(f"[bold]{message['subject']}[/]")
    tree.add(f"From {message['from']}")
    tree.add(f"To {message['to']}")
    _grow(tree, _structure(message))
    console.print(Panel(tree, title="The message"))
    stored = jsonlib.dumps(outcome.state.context, ensure_ascii=False, indent=2, default=dict)
    console.print(Panel(stored, title="The flow's context, with the result at mail.welcome"))
    console.print(
        f"[green]✓[/] {outcome.result['status']}. The letter as it was received: [bold]{path}[/]", soft_wrap=True
    )
    console.print("  Next: [bold]mailwright check NODE[/], [bold]mailwright send NODE --state FILE[/]")


def _short(dialogue: list[str]) -> str:
    """Without the lists of extensions."""
    lines = [line for line in dialogue if not line.startswith("S: 250-")]
    return "\n".join(lines).replace("[", r"\[")


def _structure(part: MIMEPart) -> dict[str, Any]:
    found: dict[str, Any] = {"type": part.get_content_type()}
    if part.is_multipart():
        found["parts"] = [_structure(child) for child in part.iter_parts()]
        return found
    content = part.get_payload(decode=True)
    found["size"] = len(content) if isinstance(content, bytes) else 0
    if filename := part.get_filename():
        found["filename"] = filename
    return found


def _grow(tree: Tree, structure: dict[str, Any]) -> None:
    size = f"  [dim]{structure['size']} bytes[/]" if "size" in structure else ""
    name = f"  {structure['filename']}" if "filename" in structure else ""
    branch = tree.add(f"[cyan]{structure['type']}[/]{name}{size}")
    for child in structure.get("parts", ()):
        _grow(branch, child)
