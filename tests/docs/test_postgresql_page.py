"""The examples that need a PostgreSQL: a transaction of asyncpg, and one of SQLAlchemy."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mailwright import Message, Outbox

PAGES = Path(__file__).parents[2] / "docs/how-to"
DSN = os.environ.get("MAILWRIGHT_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/test")
MESSAGE = Message(to="ann@example.org", subject="Your order", text="It is on its way")
asyncpg = pytest.importorskip("asyncpg", reason="needs mailwright-pgqueuer")


@pytest.fixture
async def schema() -> AsyncIterator[str]:
    try:
        admin = await asyncpg.connect(DSN, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError):
        if os.environ.get("MAILWRIGHT_REQUIRE_SERVICES") == "1":
            raise
        pytest.skip("no PostgreSQL: set MAILWRIGHT_TEST_POSTGRESQL")
    name = f"mw_{secrets.token_hex(6)}"
    yield name
    await admin.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
    await admin.close()


def outbox(schema: str) -> Outbox:
    saved = {"support": {"provider": "smtp", "host": "127.0.0.1", "port": 9, "tls": "none", "from": "me@example.org"}}
    return Outbox(f"{DSN}?schema={schema}", connection="support", connections=saved)


def place_order(page: str) -> Any:
    (found,) = re.findall(r"^```py\n(.*?)^```", (PAGES / page).read_text(), re.DOTALL | re.MULTILINE)
    namespace: dict[str, Any] = {}
    exec(found, namespace)
    return namespace["place_order"]


async def test_there_is_no_order_without_its_mail_and_no_mail_without_its_order(schema: str) -> None:
    place = place_order("outgrow-one-machine.md")
    async with outbox(schema) as box:
        database = await asyncpg.connect(DSN, server_settings={"search_path": schema})
        await database.execute("CREATE TABLE orders (number int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)")
        receipt = await place(database, box, 7, MESSAGE)
        with pytest.raises(asyncpg.UniqueViolationError):  # at the commit, when the message is stored already
            await place(database, box, 7, MESSAGE)
        assert [job.id for job in await box.list()] == [receipt.job_id]
        await database.close()


async def test_the_same_over_sqlalchemy(schema: str) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    from sqlalchemy.ext.asyncio import create_async_engine

    place = place_order("use-with-fastapi.md")
    url = DSN.replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url, connect_args={"server_settings": {"search_path": schema}})
    async with outbox(schema) as box:
        async with engine.begin() as own:
            await own.execute(
                sqlalchemy.text("CREATE TABLE orders (number int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)")
            )
        statement = sqlalchemy.text("INSERT INTO orders VALUES (7)")
        receipt = await place(engine, box, statement, MESSAGE)
        with pytest.raises(sqlalchemy.exc.IntegrityError):
            await place(engine, box, statement, MESSAGE)
        assert [job.id for job in await box.list()] == [receipt.job_id]
    await engine.dispose()
