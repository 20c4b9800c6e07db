"""One node over a stream of states: templates compiled once, sessions and fetched files shared, memory flat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from mailwright.errors import MailwrightError

if TYPE_CHECKING:
    from mailwright.model import Message
    from mailwright.node.outcome import NodeOutcome
    from mailwright.node.running import SendEmailNode
    from mailwright.node.state import FlowState

AHEAD: Final = 100
"""Outcomes that wait for whoever asked for them, before no more is sent."""


class Each:
    """One bulk run.

    Args:
        node: What is sent.
        mailer: Sends it.
        states: With a number each; taken as they can be sent.
        concurrency: Messages under way at one time.
        on_commit: Awaited with the number of a state just before its message's point of no return.
    """

    def __init__(
        self,
        node: SendEmailNode,
        mailer: Any,
        states: Iterable[tuple[int, FlowState]],
        *,
        concurrency: int,
        on_commit: Callable[[int], Awaitable[None]] | None,
    ) -> None:
        self._node = node
        self._mailer = mailer
        self._states = states
        self._concurrency = concurrency
        self._on_commit = on_commit
        self._under_way: dict[int, tuple[int, FlowState]] = {}
        self._done: asyncio.Queue[tuple[int, NodeOutcome] | None] = asyncio.Queue(AHEAD)
        self._stopped = False

    async def outcomes(self) -> AsyncGenerator[tuple[int, NodeOutcome], None]:
        """Number and outcome, in order of completion. Raises what keeps the mailer from opening."""
        task = asyncio.create_task(self._send())
        try:
            while (found := await self._done.get()) is not None:
                if found[1].error is not None and self._node.document.stop_on_error:
                    self._stopped = True  # what is under way ends; nothing new begins
                yield found
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _send(self) -> None:
        try:
            sending = self._mailer.send_many(
                self._messages(), concurrency=self._concurrency, on_commit=self._committing
            )
            async with aclosing(sending) as receipts:
                async for receipt in receipts:
                    number, state = self._under_way.pop(receipt.index)
                    await self._done.put((number, self._node.settled(state, receipt)))
        finally:
            await self._done.put(None)

    async def _committing(self, index: int) -> None:
        if self._on_commit is not None:
            await self._on_commit(self._under_way[index][0])

    async def _messages(self) -> AsyncIterator[Message]:
        index = 0
        for number, state in self._states:
            if self._stopped:
                return
            try:
                message = await self._node.message(state)
            except MailwrightError as error:
                await self._done.put((number, self._node.failed(state, error)))
                continue
            self._under_way[index] = (number, state)
            index += 1
            yield message
