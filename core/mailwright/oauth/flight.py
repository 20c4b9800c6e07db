"""One renewal at a time: by the store's own lock, else by a lease that is swapped into the record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from attrs import evolve

from mailwright.errors import AuthError
from mailwright.oauth.record import parse
from mailwright.ports import Clock, Entropy
from mailwright.spi import TokenStore

LEASE_S: Final = 120.0
"""Longer than one renewal with all its repetitions; after a crash others wait that long."""
POLL_S: Final = 0.2


@asynccontextmanager
async def alone(store: TokenStore, key: str, *, clock: Clock, entropy: Entropy) -> AsyncIterator[None]:
    """Nobody else renews the token under `key` meanwhile.

    Raises:
        AuthError: Somebody else has been at it for too long.
    """
    lock = getattr(store, "lock", None)
    if lock is not None:
        async with lock(key):
            yield
        return
    mine = entropy.token()
    await _take(store, key, mine, clock)
    try:
        yield
    finally:
        text = await store.load(key)
        if (record := parse(text)).lease == mine:
            await store.compare_and_swap(key, text, record.free().text())


async def _take(store: TokenStore, key: str, mine: str, clock: Clock) -> None:
    give_up = clock.monotonic() + 2 * LEASE_S
    while clock.monotonic() < give_up:
        text = await store.load(key)
        record = parse(text)
        now = clock.now().timestamp()
        if record.lease is None or record.lease_until <= now:
            leased = evolve(record, lease=mine, lease_until=now + LEASE_S)
            if await store.compare_and_swap(key, text, leased.text()):
                return
            continue
        await clock.sleep(POLL_S)
    msg = "another process has been renewing this token for too long"
    raise AuthError(msg, permanent=False)
