"""What a run comes to: the result, where the document says it is stored, and the new state."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import field, frozen

from mailwright.errors import ConfigurationError, MailwrightError
from mailwright.model import NodeDocument, Receipt, error_result, failure
from mailwright.node.state import Change, FlowState, store


@frozen(kw_only=True)
class NodeOutcome:
    """What a run came to.

    Attributes:
        ok: Whether it counts as sent (see ``fail_on``); for an asynchronous run: whether it was taken on.
        result: What was stored, or would have been: plain JSON values.
        error: Why not.
        state: The new state; the given one is never changed.
        changes: ``(where, path, value)`` for engines that keep their own state.
        receipt: What happened to each recipient, where it came to that.
    """

    ok: bool
    result: dict[str, Any]
    error: MailwrightError | None = None
    state: FlowState = field(factory=FlowState, repr=False)
    changes: tuple[Change, ...] = field(default=(), repr=False)
    receipt: Receipt | None = None
    _later: asyncio.Task[NodeOutcome] | Callable[[], Awaitable[NodeOutcome]] | None = field(
        default=None, repr=False, eq=False, alias="later"
    )

    async def wait(self) -> NodeOutcome:
        """The final outcome: of an asynchronous run, when it has ended; else this one. Never raises for a failure.

        Cancelling the waiting does not cancel the sending. With an outbox it asks there, as `Outbox.result` would.
        """
        if self._later is None:
            return self
        return await (self._later() if callable(self._later) else asyncio.shield(self._later))


def settled(document: NodeDocument, state: FlowState, receipt: Receipt) -> NodeOutcome:
    """The outcome that a receipt makes."""
    refused = document.fail_on == "any" and (receipt.rejected or receipt.unknown)
    if not refused and receipt.accepted:
        return stored(document, state, receipt.to_result(), None, receipt)
    cause = failure(receipt)
    return stored(document, state, receipt.to_result() | {"error": error_result(cause)}, cause, receipt)


def failed(document: NodeDocument, state: FlowState, error: MailwrightError) -> NodeOutcome:
    """The outcome when nothing left the house."""
    result: dict[str, Any] = {"status": "failed", "accepted": [], "rejected": [], "unknown": []}
    return stored(document, state, result | {"error": error_result(error)}, error, None)


def stored(
    document: NodeDocument,
    state: FlowState,
    result: Mapping[str, Any],
    error: MailwrightError | None,
    receipt: Receipt | None,
) -> NodeOutcome:
    """The outcome, with the result in the new state, unless its own place is what is wrong."""
    try:
        new, changes = store(document.store_result, state, result)
    except ConfigurationError:
        new, changes = state, ()
    return NodeOutcome(ok=error is None, result=dict(result), error=error, state=new, changes=changes, receipt=receipt)
