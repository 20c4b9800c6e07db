"""Loading and checking node documents: every mistake before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve

from mailwright import documents
from mailwright.documents import read, structure_node, unstructure_node
from mailwright.errors import DocumentError, Problem
from mailwright.model import NodeDocument, Trust
from mailwright.node.problems import checked_message
from mailwright.node.running import SendEmailNode
from mailwright.node.state import FlowState, state_of
from mailwright.templates import check_file, check_syntax

if TYPE_CHECKING:
    from mailwright.connections import Saved
    from mailwright.model import Message
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
    resolve: bool = False,
    connections: Saved | None = None,
) -> list[Problem]:
    """Find everything that is wrong without network; with a state also what is wrong for that state.

    Args:
        document: Path, plain values, or a loaded node.
        state: Renders the templates and checks the message they make, and where the result would be stored.
        registry: Plugins; default: the process's.
        trust: As in `load_node`.
        attach_root: Folder that ``file`` attachments may come from, and of template files, where these are not beside
            the document.
        resolve: Also look the connections up, reveal their secrets, check the provider's limits, and that ``file``
            attachments have a folder. Still no network.
        connections: Where names of connections are looked up.

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
    message = None
    if state is not None and not problems:
        message, problems = checked_message(loaded, state_of(state))
    if resolve and loaded.connection:
        problems += _resolved(loaded, message, registry, connections)
    if resolve and attach_root is None:
        problems += _files(loaded)
    return problems


def _resolved(
    loaded: NodeDocument, message: Message | None, registry: Registry | None, connections: Saved | None
) -> list[Problem]:
    from mailwright import background  # noqa: PLC0415 - only when connections are looked up
    from mailwright.mailer import Mailer  # noqa: PLC0415

    async def found() -> list[Problem]:
        async with AsyncExitStack() as stack:
            mailer = Mailer(loaded.connection, registry=registry, connections=connections)
            stack.push_async_callback(mailer.aclose)
            return await mailer.problems(message)

    return background.run(found())


def _files(loaded: NodeDocument) -> list[Problem]:
    says = "files may not be attached here; name an attach_root (--attach-root)"
    return [
        Problem(code="no-attach-root", path=f"$.attachments[{index}].path", message=says)
        for index, (kind, _) in enumerate(loaded.attachments)
        if kind == "file"
    ]


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
    files = trust == "own" or root is not None
    if files:
        syntax += check_file(document.get("content", document.get("html")), root)
    try:
        loaded = structure_node(document, registry, trust=trust, files=files)
    except DocumentError as error:
        return None, [*error.problems, *syntax]
    return evolve(loaded, root=root), syntax


def _root(source: object, trust: Trust, attach_root: str | Path | None) -> Path | None:
    """Where template files are: below the root that was named, else beside the user's own document."""
    if attach_root is not None:
        return Path(attach_root).resolve()
    return Path(source).resolve().parent if trust == "own" and isinstance(source, (str, Path)) else None


def _syntax(document: Mapping[str, Any]) -> list[Problem]:
    return check_syntax({key: value for key, value in document.items() if key not in _NO_TEMPLATES})
