"""A node's letter without sending it: what `mailwright compose` writes and ``send --dry-run`` shows.

Nothing is connected to, no secret is revealed, and no lifecycle hook runs: hooks may sign or change what really leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from mailwright import FlowState, Mailer, background, compose, load_node
from mailwright.connections import find_connection
from mailwright.errors import ConfigurationError
from mailwright.node.message import build_message
from mailwright.node.running import ATTACHMENT_LIMIT
from mailwright.node.state import check_target
from mailwright.registry import default_registry
from mailwright.routing import check_limits, endpoint_of, envelope_of, merged_limits, staged
from mailwright.templates import render

if TYPE_CHECKING:
    from mailwright.mime import ComposedMessage
    from mailwright.mime.tree import Structure
    from mailwright.model import Connection, Message, NodeDocument


@frozen(kw_only=True)
class Letter:
    """What would be sent, and how."""

    composed: ComposedMessage
    sender: str | None
    recipients: tuple[str, ...]
    kept_back: tuple[str, ...]
    route: dict[str, Any]

    @property
    def headers(self) -> Iterator[tuple[str, str]]:
        """Header fields, unfolded, as they stand in the octets."""
        for name, value in self.composed.headers:
            yield name, value.replace(b"\r\n", b"").decode()

    def summary(self) -> dict[str, Any]:
        """Plain values for programs."""
        return {
            **self.route,
            "envelope": {"from": self.sender, "to": list(self.recipients)},
            "keptBack": list(self.kept_back),
            "messageId": self.composed.message_id,
            "messageSize": self.composed.size,
            "headers": [{"name": name, "value": value} for name, value in self.headers],
            "structure": _plain(self.composed.structure),
        }


def make_letter(node: Path, state: FlowState, *, attach_root: Path | None) -> Letter:
    """Load, render and compose.

    Raises:
        MailwrightError: Whatever would keep the node from sending, as far as it can be known without network.
    """
    document = load_node(node, attach_root=attach_root).document
    check_target(document.store_result, state)
    message = build_message(document, render(document, state))
    if not document.connection:
        msg = "$.connection: missing; name a saved connection"
        raise ConfigurationError(msg)
    return background.run(_make(document, message, attach_root))


async def _make(document: NodeDocument, message: Message, attach_root: Path | None) -> Letter:
    connection = await find_connection(document.connection[0], registry=default_registry())
    async with Mailer(document.connection, attachment_limit=ATTACHMENT_LIMIT, attach_root=attach_root) as mailer:
        prepared = await mailer.prepare(message)
    composed = compose(prepared)
    envelope, kept_back = staged(envelope_of(prepared), connection)
    provider = default_registry().provider(connection.provider)
    check_limits(composed, envelope, merged_limits(provider.limits, connection.limits))
    return Letter(
        composed=composed,
        sender=envelope.sender,
        recipients=envelope.recipients,
        kept_back=kept_back,
        route=_route(connection),
    )


def _route(connection: Connection) -> dict[str, Any]:
    provider = default_registry().provider(connection.provider)
    route: dict[str, Any] = {"provider": provider.name, "auth": connection.auth[0] if connection.auth else None}
    if provider.endpoint is not None:
        endpoint = endpoint_of(provider, connection)
        route |= {"host": endpoint.host, "port": endpoint.port, "tls": endpoint.tls}
    return route


def _plain(structure: Structure) -> dict[str, Any]:
    found: dict[str, Any] = {"type": structure.content_type, "size": structure.size}
    if structure.filename:
        found["filename"] = structure.filename
    if structure.children:
        found["parts"] = [_plain(child) for child in structure.children]
    return found
