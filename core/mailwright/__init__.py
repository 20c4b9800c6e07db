"""Mailwright: the way Python sends e-mail.

    from mailwright import Mailer, Message

    async with Mailer("support") as mailer:
        receipt = await mailer.send(Message(to="ann@example.org", subject="Hello", html="<p>Hello</p>"))

Names load when they are first used (PEP 562), so importing the package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailwright.connections import (
        connection_schema,
        load_connection,
    )
    from mailwright.errors import (
        DocumentError,
        FlowStopped,
        MailwrightError,
        Problem,
        SendError,
        Veto,
    )
    from mailwright.mailer import (
        Mailer,
    )
    from mailwright.model import (
        Address,
        Calendar,
        Connection,
        Dsn,
        Envelope,
        Message,
        Part,
        Priority,
        RawPart,
        Receipt,
        RecipientStatus,
    )
    from mailwright.node import (
        FlowState,
        NodeOutcome,
        SendEmailNode,
        check_node,
        load_node,
        node_schema,
    )
    from mailwright.outbox import (
        Outbox,
        Retention,
        RetryPolicy,
    )
    from mailwright.ports import (
        Composed,
    )
    from mailwright.prepare import (
        compose,
    )
    from mailwright.registry import (
        PluginInfo,
        Registry,
        hookimpl,
    )
    from mailwright.templates.folder import (
        Templates,
    )

__version__ = "0.1.0"

_MODULES = {
    "errors": ("DocumentError", "FlowStopped", "MailwrightError", "Problem", "SendError", "Veto"),
    "mailer": ("Mailer",),
    "model": (
        "Address",
        "Calendar",
        "Connection",
        "Dsn",
        "Envelope",
        "Message",
        "Part",
        "Priority",
        "RawPart",
        "Receipt",
        "RecipientStatus",
    ),
    "node": ("FlowState", "NodeOutcome", "SendEmailNode", "check_node", "load_node", "node_schema"),
    "connections": ("connection_schema", "load_connection"),
    "outbox": ("Outbox", "Retention", "RetryPolicy"),
    "ports": ("Composed",),
    "prepare": ("compose",),
    "registry": ("PluginInfo", "Registry", "hookimpl"),
    "templates.folder": ("Templates",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Address",
    "Calendar",
    "Composed",
    "Connection",
    "DocumentError",
    "Dsn",
    "Envelope",
    "FlowState",
    "FlowStopped",
    "Mailer",
    "MailwrightError",
    "Message",
    "NodeOutcome",
    "Outbox",
    "Part",
    "PluginInfo",
    "Priority",
    "Problem",
    "RawPart",
    "Receipt",
    "RecipientStatus",
    "Registry",
    "Retention",
    "RetryPolicy",
    "SendEmailNode",
    "SendError",
    "Templates",
    "Veto",
    "check_node",
    "compose",
    "connection_schema",
    "hookimpl",
    "load_connection",
    "load_node",
    "node_schema",
]


def __getattr__(name: str) -> Any:
    try:
        module = _HOME[name]
    except KeyError:
        msg = f"module 'mailwright' has no attribute {name!r}"
        raise AttributeError(msg) from None
    import importlib  # noqa: PLC0415 - only when a name is first used

    value = getattr(importlib.import_module(f"mailwright.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
