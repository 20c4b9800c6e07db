"""The Send Email node's document as a model. String fields are templates until the node renders them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen

from mailwright.model.connection import Connection
from mailwright.model.settings import Settings

Trust = Literal["own", "untrusted"]
Template = str
"""Text in which ``{{ … }}`` stands for values of the flow's state."""


@frozen(kw_only=True)
class StoreResult:
    """Where the result goes: nowhere, or a dotted key in the flow's input or context."""

    in_: Literal["none", "input", "context"] = "none"
    key: str = ""


@frozen(kw_only=True)
class ContentSource:
    """Content that is not the HTML itself. Give either `file` or `markdown`.

    Args:
        file: Template of the name of a template file below the node's folder.
        markdown: Template of Markdown.
        inline_css: Move CSS rules into style attributes.
    """

    file: Template = ""
    markdown: Template = field(default="", repr=False)
    inline_css: bool = False


@frozen(kw_only=True)
class NodeDocument:
    """One Send Email node, as written.

    Args:
        connection: Names of saved connections or inline documents; more than one: failover.
        to: Template, or list of templates; likewise `cc`, `bcc`, `reply_to`.
        from_: Empty: the connection's, else the authenticated user.
        subject: Template.
        content: HTML, as template; or where it comes from.
        text: Own plain text; None: derived; False: HTML only.
        priority: Template of high, normal or low.
        attachments: Settings of attachment sources, by their type; their strings are templates.
        store_result: Where the result goes.
        stop_on_error: Raise `FlowStopped` when nobody was accepted.
        fail_on: ``all``: only when nobody was accepted; ``any``: a single rejection is a failure.
        execute_async: Go on at once; the outcome comes later.
        on_unknown: What to do when the session is lost after the final dot.
        headers: Further headers; values are templates.
        envelope: ``{"from": template, "to": templates}``.
        tags: For the outbox.
        options: Per provider, its own settings.
        trust: What the document may name.
        root: Folder of its template files; None: there is none.
    """

    connection: tuple[str | Connection, ...] = ()
    to: Template | tuple[Template, ...] = ()
    cc: Template | tuple[Template, ...] = ()
    bcc: Template | tuple[Template, ...] = ()
    reply_to: Template | tuple[Template, ...] = ()
    from_: Template = ""
    subject: Template = ""
    content: Template | ContentSource = field(default="", repr=False)
    text: Template | Literal[False] | None = field(default=None, repr=False)
    priority: Template = "normal"
    attachments: tuple[tuple[str, Settings], ...] = ()
    store_result: StoreResult = field(factory=StoreResult)
    stop_on_error: bool = False
    fail_on: Literal["all", "any"] = "all"
    execute_async: bool = False
    on_unknown: Literal["hold", "retry"] | None = None
    headers: Mapping[str, Template] = field(factory=dict)
    in_reply_to: Template = ""
    references: Template | tuple[Template, ...] = ()
    envelope: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = ()
    options: Mapping[str, Settings] = field(factory=dict)
    trust: Trust = "own"
    root: Path | None = field(default=None, eq=False)
