"""Against a real PostgreSQL: the contracts of ledgers and dispatchers, transactions, URLs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta

import asyncpg
import mailwright_pgqueuer
import psycopg
import pytest
from mailwright_pgqueuer.ledger import PostgresLedger
from mailwright_pgqueuer.places import Place
from mailwright_pgqueuer.schema import STEPS, VERSION

from mailwright import Registry
from mailwright.errors import ConfigurationError, QueueError
from mailwright.outbox.places import open_dispatcher
from mailwright.spi import Clock, Dispatcher, Ledger, Selection
from mailwright.system import SystemClock
from mailwright.testing.queue_contracts import DispatcherContract, LedgerContract, TestClock, job

DSN = os.environ.get("MAILWRIGHT_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/test")


async def _reachable() -> bool:
    try:
        connection = await asyncpg.connect(DSN, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return False
    await connection.close()
    return True


if not asyncio.run(_reachable()):
    if os.environ.get("MAILWRIGHT_REQUIRE_SERVICES") == "1":
        raise RuntimeError("PostgreSQL does not answer: set MAILWRIGHT_TEST_POSTGRESQL")
    pytest.skip("no PostgreSQL: set MAILWRIGHT_TEST_POSTGRESQL", allow_module_level=True)


@pytest.fixture
def schema() -> Iterator[str]:
    name = f"mw_{secrets.token_hex(6)}"
    yield name

    async def drop() -> None:
        connection = await asyncpg.connect(DSN)
        await connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
        await connection.close()

    asyncio.run(drop())


class TestPostgresLedger(LedgerContract):
    @pytest.fixture(autouse=True)
    def own_schema(self, schema: str) -> None:
        self.schema = schema

    async def open_ledger(self, clock: Clock) -> Ledger:
        return await PostgresLedger.open(f"{DSN}?schema={self.schema}", clock)


class _Engine(DispatcherContract):
    how = ""

    @pytest.fixture(autouse=True)
    def own_schema(self, schema: str) -> None:
        self.schema = schema

    async def open_engine(self) -> tuple[Ledger, Dispatcher]:
        url = f"{DSN}?schema={self.schema}{self.how}"
        engine = next(iter(mailwright_pgqueuer.mailwright_queue_engines()))
        assert engine.ledger is not None
        ledger = await engine.ledger(url, SystemClock())
        return ledger, await open_dispatcher(url, ledger, Registry(), SystemClock())


class TestLeases(_Engine):
    pass


class TestPgQueuer(_Engine):
    how = "&dispatcher=pgqueuer"


def url(schema: str) -> str:
    return f"{DSN}?schema={schema}"


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "psycopg async"])
async def test_it_joins_the_callers_transaction(schema: str, driver: str) -> None:
    ledger = await PostgresLedger.open(url(schema), TestClock())
    for commits, expected in ((False, 0), (True, 1)):
        if driver == "asyncpg":
            own = await asyncpg.connect(DSN, server_settings={"search_path": schema})
            transaction = own.transaction()
            await transaction.start()
            await ledger.add([job(1, key="k", key_until=9e9, tags=("t",))], transaction=own)
            await (transaction.commit() if commits else transaction.rollback())
            await own.close()
        elif driver == "psycopg":
            with psycopg.connect(DSN, options=f"-csearch_path={schema}") as blocking:
                await ledger.add([job(1, key="k", key_until=9e9)], transaction=blocking)
                blocking.commit() if commits else blocking.rollback()
        else:
            async with await psycopg.AsyncConnection.connect(DSN, options=f"-csearch_path={schema}") as other:
                await ledger.add([job(1, key="k", key_until=9e9)], transaction=other)
                await (other.commit() if commits else other.rollback())
        assert len(await ledger.page(Selection(), limit=9)) == expected
    with pytest.raises(ConfigurationError, match="asyncpg or psycopg"):
        await ledger.add([job(2)], transaction=object())
    await ledger.aclose()


class Ahead(SystemClock):
    """Of a machine whose clock is three hours fast."""

    def now(self) -> datetime:
        return super().now() + timedelta(hours=3)


async def test_q04_hosts_whose_clocks_differ_go_by_the_databases(schema: str) -> None:
    right, fast = await PostgresLedger.open(url(schema), SystemClock()), await PostgresLedger.open(url(schema), Ahead())
    now = SystemClock().now().timestamp()
    await right.add([job(1, run_at=now), job(2, state="scheduled", run_at=now + 3600)])
    assert len(await right.take(limit=9, lease_s=60)) == 1
    assert not await fast.take(limit=9, lease_s=60)  # neither its lease has run out, nor is the other one due
    for ledger in (right, fast):
        await ledger.aclose()


async def test_tables_are_made_once_by_many(schema: str) -> None:
    ledgers = await asyncio.gather(*(PostgresLedger.open(url(schema), TestClock()) for _ in range(5)))
    assert await ledgers[0].migrate() == VERSION
    await ledgers[0].fetch("UPDATE mailwright_meta SET version = 99")
    with pytest.raises(QueueError, match="newer"):
        await ledgers[0].migrate()
    for ledger in ledgers:
        await ledger.aclose()


async def test_tables_of_the_version_before_are_brought_up_to_date(schema: str) -> None:
    own = await asyncpg.connect(DSN, server_settings={"search_path": schema})
    assert not await mailwright_pgqueuer._exists(url(schema))
    await own.execute(f'CREATE SCHEMA "{schema}"')
    await own.execute(STEPS[0])
    await own.execute("INSERT INTO mailwright_meta VALUES (1)")
    ledger = await PostgresLedger.open(url(schema), TestClock())
    assert await own.fetch("SELECT version FROM mailwright_meta") == [(VERSION,)]
    assert await own.fetchval("SELECT to_regclass('mailwright_jobs_ended')") is not None
    assert await mailwright_pgqueuer._exists(url(schema))
    await ledger.aclose()
    await own.close()


async def test_a_database_that_is_not_there_is_an_error_without_its_password() -> None:
    with pytest.raises(QueueError) as caught:
        await PostgresLedger.open("postgresql://mail:s3cret@127.0.0.1:1/mail", TestClock())
    assert "s3cret" not in str(caught.value)


async def test_a_killed_connection_is_replaced(schema: str) -> None:
    ledger = await PostgresLedger.open(url(schema), TestClock())
    await ledger.add([job(1)])
    admin = await asyncpg.connect(DSN)
    pids = [connection._con.get_server_pid() for connection in ledger._pool._holders if connection._con]
    for pid in pids:
        await admin.fetchval("SELECT pg_terminate_backend($1)", pid)
    await admin.close()
    found = []
    for _ in range(20):
        with contextlib.suppress(QueueError):
            found = list(await ledger.take(limit=1, lease_s=30))
            break
        await asyncio.sleep(0.05)
    assert [claim.job_id for claim in found] == [job(1).id]
    await ledger.aclose()


def test_urls() -> None:
    assert Place.of("postgresql://h/d?schema=mail&sslmode=require") == Place(
        dsn="postgresql://h/d?sslmode=require", schema="mail"
    )
    with pytest.raises(ConfigurationError, match="schema"):
        Place.of('postgresql://h/d?schema=a"b')
    with pytest.raises(ConfigurationError, match="dispatcher"):
        Place.of("postgresql://h/d?dispatcher=celery")


def test_the_registry_finds_it() -> None:
    assert Registry().queue_engine("postgresql").ledger is mailwright_pgqueuer._ledger
