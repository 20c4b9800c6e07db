"""A caller's own transaction: asyncpg, or psycopg, blocking or not."""

from __future__ import annotations

import re
from collections.abc import Generator
from itertools import count
from typing import Any, Final

import asyncpg

from mailwright.errors import ConfigurationError
from mailwright_pgqueuer.schema import Step

_PLACE: Final = re.compile("%s")
Steps = Generator[Step, list[tuple[Any, ...]], list[str]]


def numbered(statement: str) -> str:
    """Places as asyncpg has them: ``$1``, ``$2``."""
    numbers = count(1)
    return _PLACE.sub(lambda _: f"${next(numbers)}", statement)


async def run(steps: Steps, connection: Any) -> list[str]:
    """Run statements in a connection of the caller's.

    Raises:
        ConfigurationError: It is of no driver that is known here.
    """
    if isinstance(connection, asyncpg.Connection) or hasattr(connection, "fetchrow"):
        return await _asyncpg(steps, connection)
    module = type(connection).__module__.partition(".")[0]
    if module == "psycopg" and hasattr(connection, "__enter__"):
        return _psycopg(steps, connection)
    if module == "psycopg":
        return await _psycopg_async(steps, connection)
    msg = f"transaction: an asyncpg or psycopg connection, not {type(connection).__name__}"
    raise ConfigurationError(msg)


async def _asyncpg(steps: Steps, connection: Any) -> list[str]:
    rows: Any = None
    while True:
        try:
            statement, arguments, wanted = next(steps) if rows is None else steps.send(rows)
        except StopIteration as ended:
            return ended.value  # type: ignore[no-any-return]
        if wanted:
            rows = [tuple(row) for row in await connection.fetch(numbered(statement), *arguments[0])]
        else:
            await connection.executemany(numbered(statement), arguments)
            rows = []


def _psycopg(steps: Steps, connection: Any) -> list[str]:
    rows: Any = None
    with connection.cursor() as cursor:
        while True:
            try:
                statement, arguments, wanted = next(steps) if rows is None else steps.send(rows)
            except StopIteration as ended:
                return ended.value  # type: ignore[no-any-return]
            if wanted:
                cursor.execute(statement, arguments[0])
                rows = cursor.fetchall()
            else:
                cursor.executemany(statement, arguments)
                rows = []


async def _psycopg_async(steps: Steps, connection: Any) -> list[str]:
    rows: Any = None
    async with connection.cursor() as cursor:
        while True:
            try:
                statement, arguments, wanted = next(steps) if rows is None else steps.send(rows)
            except StopIteration as ended:
                return ended.value  # type: ignore[no-any-return]
            if wanted:
                await cursor.execute(statement, arguments[0])
                rows = await cursor.fetchall()
            else:
                await cursor.executemany(statement, arguments)
                rows = []
