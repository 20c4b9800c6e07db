"""Who is not mailed to: all attempts that begin together ask the ledger once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailwright.spi import Ledger, Suppression


class Silenced:
    """Suppressions of one ledger.

    Args:
        ledger: Has them.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._asked: dict[str, None] = {}
        self._answer: asyncio.Task[Mapping[str, Suppression]] | None = None

    async def among(self, addresses: Iterable[str]) -> Sequence[Suppression]:
        """Suppressions of these addresses.

        Raises:
            QueueError: The ledger did not answer.
        """
        wanted = tuple(dict.fromkeys(address.lower() for address in addresses))
        if not wanted:
            return ()
        self._asked.update(dict.fromkeys(wanted))
        if self._answer is None:
            self._answer = asyncio.create_task(self._ask())
        found = await asyncio.shield(self._answer)
        return [found[address] for address in wanted if address in found]

    async def _ask(self) -> Mapping[str, Suppression]:
        """The loop begins this when everybody who is ready has asked."""
        asked, self._asked, self._answer = tuple(self._asked), {}, None
        return {entry.address: entry for entry in await self._ledger.suppressed(asked)}
