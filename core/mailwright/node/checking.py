"""Loading and checking node documents: every mistake before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve

from mailwright import documents
from mailwright.documents import read, structure_node, unstructure_node
from mailwright.errors import DocumentError, MailwrightError, Problem
from mailwright.model import NodeDocument, Trust
from mailwright.node.message import message_problems
from mailwright.node.running import SendEmailNode
from mailwright.node.state import FlowState, check_target
from mailwright.templates import check_files, check_syntax, try_render

if TYPE_CHECKING:
    from mailwright.registry import Registry

_NO_TEMPLATES = ("connection", "options", "tags")


def load_node(
    source: str | Path | Mapping[str, Any], *, trust: Trust = "own", registry: Registry | None = None, **options: Any
) -> SendEmailNode:
    """Load a node document.

    Args:
        source: Path of a JSON, TOML or YAML file, or plain values.
        trust: ``untrusted`` for documents that came over an API.
        registry: Plugins; default: the process's.
        options: For `SendEmailNode`: ``mailer``, ``connections``, ``attach_root``, ``on_result``, …

    Returns:
        The node, ready to run.

    Raises:
        DocumentError: With every mistake, templates' syntax included.
    """
    document, name = _read(source)
    loaded, problems = _load(document, trust, registry, _root(source, trust, options.get("attach_root")))
    if loaded is None or problems:
        raise DocumentError(problems, source=name)
    return SendEmailNode(loaded, registry=registry, **options)


def check_node(
    document: str | Path | Mapping[str, Any] | NodeDocument,
    state: FlowState | None = None,
    *,
    registry: Registry | None = None,
    trust: Trust = "own",
    attach_root: str | Path | None = None,
) -> list[Problem]:
    """Find everything that is wrong without network; with a state also what is wrong for that state.

    Args:
        document: Path, plain values, or a loaded node.
        state: Renders the templates and checks the message they make, and where the result would be stored.
        registry: Plugins; default: the process's.
        trust: As in `load_node`.
        attach_root: Folder of template files, where it is not the document's own.

    Returns:
        Every mistake with its path; empty when there is none.
    """
    if isinstance(document, NodeDocument):
        loaded: NodeDocument | None = document
        problems = _syntax(unstructure_node(document))
    else:
        try:
            raw, _ = _read(document)
        except DocumentError as error:
            return list(error.problems)
        loaded, problems = _load(raw, trust, registry, _root(document, trust, attach_root))
    if loaded is None:
        return problems
    if not loaded.connection:
        problems.append(Problem(code="missing", path="$.connection", message="missing: name a saved connection"))
    if state is not None and not problems:
        problems += _check_state(loaded, state)
    return problems


def node_schema(*, registry: Registry | None = None) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of Send Email nodes, for forms and editors.

    Args:
        registry: Plugins, a branch for each; default: the process's.

    Returns:
        Plain values. Beyond the standard's words: ``x-template`` (takes ``{{ … }}``), ``x-secret``, ``x-groups``.
    """
    return documents.node_schema(registry or _default())


def _default() -> Registry:
    from mailwright.registry import default_registry  # noqa: PLC0415 - only when none was handed in

    return default_registry()


def _read(source: str | Path | Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    return (source, "") if isinstance(source, Mapping) else (read(source), Path(source).name)


def _load(
    document: Mapping[str, Any], trust: Trust, registry: Registry | None, root: Path | None
) -> tuple[NodeDocument | None, list[Problem]]:
    registry = registry or _default()
    syntax = _syntax(document)
    try:
        loaded = structure_node(document, registry, trust=trust, files=trust == "own" or root is not None)
    except DocumentError as error:
        return None, [*error.problems, *syntax]
    loaded = evolve(loaded, root=root)
    return loaded, [*syntax, *check_files(loaded)]


def _root(source: object, trust: Trust, attach_root: str | Path | None) -> Path | None:
    """Where template files are: below the root that was named, else beside the user's own document."""
    if attach_root is not None:
        return Path(attach_root).resolve()
    return Path(source).resolve().parent if trust == "own" and isinstance(source, (str, Path)) else None


def _syntax(document: Mapping[str, Any]) -> list[Problem]:
    return check_syntax({key: value for key, value in document.items() if key not in _NO_TEMPLATES})


def _check_state(document: NodeDocument, state: FlowState) -> list[Problem]:
    rendered, problems = try_render(document, state)
    if not problems:
        problems = message_problems(document, rendered)
    try:
        check_target(document.store_result, state)
    except MailwrightError as error:
        path, _, message = error.message.partition(": ")
        problems.append(Problem(code="bad-key", path=path, message=message))
    return problems
