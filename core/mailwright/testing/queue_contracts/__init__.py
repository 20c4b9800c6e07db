"""Contracts of outbox engines: subclass one, say how to open yours, and get the tests that every engine must pass.

from mailwright.testing.queue_contracts import LedgerContract

class TestMine(LedgerContract):
    async def open_ledger(self, clock):
        return await MyLedger.open(..., clock)      # an empty one; called once a test
"""

from mailwright.testing.queue_contracts.dispatcher import DispatcherContract
from mailwright.testing.queue_contracts.ledger import LedgerContract
from mailwright.testing.queue_contracts.opened import TestClock, job

__all__ = ["DispatcherContract", "LedgerContract", "TestClock", "job"]
