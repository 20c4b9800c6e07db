"""Mailwright's outbox in PostgreSQL.

URLs: ``postgresql://user:password@host/database``, with ``?schema=mail`` for tables in a schema of their own, and
``?dispatcher=pgqueuer`` to let PgQueuer hand out the work instead of the ledger's own leases.
"""

from __future__ import annotations

from collections.abc import Iterable

from mailwright import hookimpl
from mailwright.spi import Clock, Dispatcher, Ledger, QueueEngine


async def _ledger(url: str, clock: Clock) -> Ledger:
    from mailwright_pgqueuer.ledger import PostgresLedger  # noqa: PLC0415 - asyncpg, only where an outbox is used

    return await PostgresLedger.open(url, clock)


async def _exists(url: str) -> bool:
    from mailwright_pgqueuer.ledger import exists  # noqa: PLC0415 - as above

    return await exists(url)


async def _dispatcher(url: str, ledger: Ledger, clock: Clock) -> Dispatcher | None:
    from mailwright_pgqueuer.places import Place  # noqa: PLC0415 - as above

    place = Place.of(url)
    if place.dispatcher == "leases":
        return None
    from mailwright_pgqueuer.dispatcher import PgQueuerDispatcher  # noqa: PLC0415 - PgQueuer, only where it is wanted

    return await PgQueuerDispatcher.open(place, ledger)


@hookimpl
def mailwright_queue_engines() -> Iterable[QueueEngine]:
    """One engine."""
    yield QueueEngine(schemes=("postgresql", "postgres"), ledger=_ledger, dispatcher=_dispatcher, exists=_exists)
