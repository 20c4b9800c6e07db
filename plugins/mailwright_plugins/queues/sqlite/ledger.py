"""The ledger in one SQLite file. `ready` marks jobs a worker may take; `wake` is when a waiting or leased one is looked at."""

from __future__ import annotations

import json
import os
import sqlite3
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

from mailwright.errors import ConfigurationError, LeaseLost, QueueError
from mailwright.spi import ASKED, Claim, Clock, Job, JobVerb, Selection, Suppression, Verdict, fair_share
from mailwright_plugins.queues.sqlite import files, pages
from mailwright_plugins.queues.sqlite.threads import Lane

T = TypeVar("T")
_LEAN: Final = (
    "id, state, message_id, connection, x'' AS payload, result, run_at, priority, on_unknown, tags, key, created, "
    "updated, attempts, starts, reason, fence"
)
_ALL: Final = _LEAN.replace("x'' AS payload", "payload")
_HORIZON_S: Final = 86400.0
"""No back-off and no lease is longer; one further away comes from a clock that was set back."""
_GRACE_S: Final = 3600.0
_LOOSE: Final = "touched < ? AND NOT EXISTS (SELECT 1 FROM job_contents WHERE job_contents.name = contents.name)"
_WAKE: Final = (
    "UPDATE jobs SET ready = CASE WHEN state = 'unknown' AND on_unknown = 'hold' THEN 0 WHEN starts >= 2 THEN 2 ELSE 1 END, "
    "wake = NULL, state = CASE WHEN state IN ('scheduled', 'sending') THEN 'queued' ELSE state END, fence = fence + 1, "
    "starts = CASE WHEN state = 'unknown' AND on_unknown = 'hold' THEN 0 ELSE starts END "
)
_DUE: Final = _WAKE + "WHERE seq IN (SELECT seq FROM jobs WHERE wake <= ? LIMIT 500)"  # noqa: S608 - constants
_FAR: Final = _WAKE + (  # noqa: S608 - constants
    "WHERE seq IN (SELECT seq FROM jobs WHERE wake > ? AND wake IS NOT NULL AND state <> 'scheduled' LIMIT 500)"
)
_TAKE: Final = f"""
    UPDATE jobs SET state = 'sending', ready = 0, wake = :until, attempts = attempts + 1, starts = starts + 1,
        fence = fence + 1, updated = :now
    WHERE seq IN (SELECT seq FROM jobs WHERE ready = :ready ORDER BY priority DESC, run_at, seq LIMIT :limit)
    RETURNING {_ALL}"""  # noqa: S608 - constants
_TURN_S: Final = 5.0
_ANNOUNCED: Final = """
    SELECT id FROM (SELECT id FROM jobs WHERE ready = 1 ORDER BY priority DESC, run_at, seq LIMIT :limit)
    UNION ALL SELECT id FROM (SELECT id FROM jobs WHERE wake <= :now AND starts < 2
        AND NOT (state = 'unknown' AND on_unknown = 'hold') LIMIT :limit) LIMIT :limit"""
_CHANGES: Final[Mapping[JobVerb, tuple[str, str]]] = {
    "retry": (
        f"state = 'queued', ready = 1, wake = NULL, run_at = :now, starts = 0, reason = '{ASKED}'",
        (
            "state IN ('failed', 'partial', 'held', 'quarantined', 'cancelled', 'unknown') AND wake IS NULL "
            "AND ready = 0 AND payload <> x''"
        ),
    ),
    "cancel": (
        "state = 'cancelled', ready = 0, wake = NULL, reason = 'cancelled'",
        "state IN ('scheduled', 'queued', 'held') OR (state = 'unknown' AND wake IS NULL)",
    ),
    "hold": ("state = 'held', ready = 0, wake = NULL, reason = 'held by hand'", "state IN ('scheduled', 'queued')"),
    "release": (
        (
            "state = 'queued', ready = CASE WHEN run_at <= :now THEN 1 ELSE 0 END, "
            "wake = CASE WHEN run_at <= :now THEN NULL ELSE run_at END, starts = 0, reason = ''"
        ),
        "state = 'held'",
    ),
    "purge": ("", files.ENDED),
}


class SqliteLedger:
    """See `mailwright.spi.Ledger`.

    Args:
        path: The database.
        clock: Tells the time.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._writer = Lane(path, writes=True)
        self._reader = Lane(path, writes=False)
        _open.add(self)

    @classmethod
    async def open(cls, path: Path, clock: Clock) -> Self:
        """Open, and make what is missing."""
        ledger = cls(path, clock)
        await ledger.migrate()
        return ledger

    @property
    def abilities(self) -> frozenset[Literal["transaction", "hosts", "one_writer"]]:
        """It joins transactions of the same file; one machine, one writer at a time."""
        return frozenset({"transaction", "one_writer"})

    def renew_after_fork(self) -> None:
        """In a forked child."""
        self._writer.renew()
        self._reader.renew()

    def _now(self) -> float:
        return self._clock.now().timestamp()

    async def migrate(self) -> int:
        """See there. A thread does it when it opens; the reader's can while somebody else writes."""
        return await self._reader.run(lambda _: files.VERSION)

    async def aclose(self) -> None:
        """See there."""
        await self._writer.aclose()
        await self._reader.aclose()

    # -- jobs

    async def add(self, jobs: Sequence[Job], *, transaction: object | None = None) -> Sequence[str]:
        """See there; `transaction` is a `sqlite3.Connection` to the same file, used in the caller's thread."""
        now = self._now()
        return await self._written(lambda connection: _add(connection, jobs, now), transaction)

    async def _written(self, work: Callable[[sqlite3.Connection], T], transaction: object | None) -> T:
        if transaction is None:
            return await self._writer.run(work)
        if not isinstance(transaction, sqlite3.Connection) or not self._is_ours(transaction):
            msg = f"transaction: give a sqlite3.Connection to {self._path.name}, the outbox's own file"
            raise ConfigurationError(msg)
        try:
            return work(transaction)
        except sqlite3.Error as error:
            msg = f"the outbox's database: {error}"
            raise QueueError(msg) from error

    def _is_ours(self, connection: sqlite3.Connection) -> bool:
        return any(
            row[1] == "main" and row[2] and Path(row[2]).exists() and self._path.samefile(row[2])
            for row in connection.execute("PRAGMA database_list")
        )

    async def take(self, *, limit: int, lease_s: float, suspects: bool = False) -> Sequence[Claim]:
        """See there."""
        now = self._now()
        if not await self._reader.run(lambda connection: _anything(connection, now, 2 if suspects else 1)):
            return ()

        def work(connection: sqlite3.Connection) -> list[Claim]:
            _wake(connection, now)
            values = {"now": now, "until": now + lease_s, "ready": 2 if suspects else 1, "limit": limit}
            rows = connection.execute(_TAKE, values).fetchall()
            claims = [_claim(row) for row in rows]
            return sorted(claims, key=lambda claim: (-claim.job.priority, claim.job.run_at, claim.job.id))

        return await self._writer.run(work)

    async def claim(self, job_id: str, *, lease_s: float) -> Claim | None:
        """See there."""
        now = self._now()

        def work(connection: sqlite3.Connection) -> Claim | None:
            _wake(connection, now)
            row = connection.execute(
                "UPDATE jobs SET state = 'sending', ready = 0, wake = :until, attempts = attempts + 1, "  # noqa: S608
                "starts = starts + 1, fence = fence + 1, updated = :now WHERE id = :id AND ready > 0 "
                f"RETURNING {_ALL}",
                {"now": now, "until": now + lease_s, "id": job_id},
            ).fetchone()
            return None if row is None else _claim(row)

        return await self._writer.run(work)

    async def renew(self, claims: Sequence[Claim], *, lease_s: float) -> Sequence[Claim]:
        """See there."""
        until = self._now() + lease_s

        def work(connection: sqlite3.Connection) -> list[Claim]:
            return [
                claim
                for claim in claims
                if not connection.execute(
                    "UPDATE jobs SET wake = ? WHERE id = ? AND fence = ?", (until, claim.job_id, claim.fence)
                ).rowcount
            ]

        return await self._writer.run(work)

    async def commit(self, claim: Claim, *, lease_s: float) -> None:
        """See there."""
        until = self._now() + lease_s

        def work(connection: sqlite3.Connection) -> int:
            return connection.execute(
                "UPDATE jobs SET state = 'unknown', wake = ? WHERE id = ? AND fence = ?",
                (until, claim.job_id, claim.fence),
            ).rowcount

        _still_ours(await self._writer.run(work), claim)

    async def record(self, claim: Claim, verdict: Verdict) -> None:
        """See there."""
        now = self._now()
        waits = verdict.state in {"queued", "scheduled"} and verdict.run_at is not None

        def work(connection: sqlite3.Connection) -> int:
            changed = connection.execute(
                "UPDATE jobs SET state = ?, result = ?, run_at = coalesce(?, run_at), wake = ?, ready = 0, starts = 0, "
                "attempts = attempts - ?, reason = ?, updated = ?, payload = CASE WHEN ? THEN x'' ELSE payload END, "
                "fence = fence + 1 WHERE id = ? AND fence = ?",
                (
                    verdict.state, verdict.result, verdict.run_at, verdict.run_at if waits else None,
                    not verdict.counted, verdict.reason, now, verdict.drop, claim.job_id, claim.fence,
                ),
            ).rowcount  # fmt: skip
            if changed and verdict.drop:
                connection.execute("DELETE FROM job_contents WHERE job = ?", (claim.job_id,))
            return changed

        _still_ours(await self._writer.run(work), claim)

    async def read(self, ids: Sequence[str]) -> Sequence[Job]:
        """See there."""

        def work(connection: sqlite3.Connection) -> list[Job]:
            found = [
                connection.execute(f"SELECT {_ALL} FROM jobs WHERE id = ?", (job_id,)).fetchone()  # noqa: S608
                for job_id in ids
            ]
            return [_job(row) for row in found if row is not None]

        return await self._reader.run(work)

    async def page(self, selection: Selection, *, limit: int, before: str | None = None) -> Sequence[Job]:
        """See there."""

        def work(connection: sqlite3.Connection) -> list[Job]:
            statement, values = pages.statement(connection, selection, limit=limit, before=before, columns=_LEAN)
            return [_job(row) for row in connection.execute(statement, values)]

        return await self._reader.run(work)

    async def change(self, selection: Selection, verb: JobVerb, *, limit: int = 1000) -> int:
        """See there."""
        setting, fits = _CHANGES[verb]
        where, values = pages.where(selection)
        values |= {"now": self._now(), "limit": limit}
        chosen = f"SELECT id FROM jobs WHERE ({fits}) AND {where} LIMIT :limit"  # noqa: S608

        def work(connection: sqlite3.Connection) -> int:
            ids = [row[0] for row in connection.execute(chosen, values)]
            for job_id in ids:
                if verb == "purge":
                    for table, column in (("jobs", "id"), ("job_tags", "job"), ("job_contents", "job")):
                        connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (job_id,))  # noqa: S608
                else:
                    connection.execute(
                        f"UPDATE jobs SET {setting}, fence = fence + 1, updated = :now WHERE id = :id",  # noqa: S608
                        {"now": values["now"], "id": job_id},
                    )
            return len(ids)

        return await self._writer.run(work)

    async def stats(self, *, tag: str | None = None) -> Mapping[str, float]:
        """See there."""
        where, values = pages.where(Selection(tag=tag))
        now = self._now()
        values |= {"now": now}

        def work(connection: sqlite3.Connection) -> dict[str, float]:
            found: dict[str, float] = dict(
                connection.execute(f"SELECT state, count(*) FROM jobs WHERE {where} GROUP BY state", values)  # noqa: S608
            )
            due, oldest = connection.execute(
                f"SELECT count(*), min(run_at) FROM jobs WHERE (ready > 0 OR wake <= :now) AND {where}",  # noqa: S608
                values,
            ).fetchone()
            return found | {"due": due, "oldest_due_s": max(0.0, now - oldest) if oldest is not None else 0.0}

        return await self._reader.run(work)

    # -- contents, rates, suppressions

    async def put_contents(self, contents: Mapping[str, bytes], *, transaction: object | None = None) -> None:
        """See there."""
        now = self._now()

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT INTO contents VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET touched = excluded.touched",
                [(name, body, now) for name, body in contents.items()],
            )

        await self._written(work, transaction)

    async def content(self, name: str) -> bytes:
        """See there."""
        statement = "SELECT body FROM contents WHERE name = ?"
        row = await self._reader.run(lambda connection: connection.execute(statement, (name,)).fetchone())
        if row is None:
            raise KeyError(name)
        return bytes(row[0])

    async def clean(self, *, limit: int = 500) -> int:
        """See there. Looking for it takes no lock away from writers."""
        now = self._now()

        def look(connection: sqlite3.Connection) -> tuple[list[tuple[str, float]], list[tuple[str, float]], bool]:
            loose = connection.execute(f"SELECT name FROM contents WHERE {_LOOSE} LIMIT ?", (now - _GRACE_S, limit))  # noqa: S608
            past = connection.execute("SELECT key FROM keys WHERE until < ? LIMIT ?", (now, limit))
            over = connection.execute("SELECT EXISTS (SELECT 1 FROM suppressions WHERE until < ?)", (now,)).fetchone()
            return [(row[0], now - _GRACE_S) for row in loose], [(row[0], now) for row in past], bool(over[0])

        loose, past, over = await self._reader.run(look)
        if not loose and not past and not over:
            return 0

        def work(connection: sqlite3.Connection) -> int:
            found = connection.executemany(f"DELETE FROM contents WHERE name = ? AND {_LOOSE}", loose).rowcount  # noqa: S608
            found += connection.executemany("DELETE FROM keys WHERE key = ? AND until < ?", past).rowcount
            return found + connection.execute("DELETE FROM suppressions WHERE until < ?", (now,)).rowcount

        return await self._writer.run(work)

    async def admit(self, key: str, *, rate: float, burst: int, tokens: int = 1) -> float:
        """See there."""
        now = self._now()
        step, slack = tokens / rate, max(burst, tokens) / rate

        def work(connection: sqlite3.Connection) -> float:
            row = connection.execute("SELECT tat FROM rates WHERE key = ?", (key,)).fetchone()
            tat = max(now, row[0]) if row and row[0] <= now + 2 * slack else now
            if (wait := tat + step - slack - now) > 1e-9:
                return wait
            connection.execute(
                "INSERT INTO rates VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET tat = excluded.tat", (key, tat + step)
            )
            return 0.0

        return await self._writer.run(work)

    async def due(self, *, limit: int) -> Sequence[str]:
        """See `mailwright.spi.SharingLedger`."""
        now = self._now()
        return await self._reader.run(
            lambda connection: [row[0] for row in connection.execute(_ANNOUNCED, {"now": now, "limit": limit})]
        )

    async def share(self, key: str, holder: str, *, using: int, wanted: int, most: int, lease_s: float) -> int:
        """See `mailwright.spi.SharingLedger`."""
        now = self._now()

        def work(connection: sqlite3.Connection) -> int:
            connection.execute(
                "DELETE FROM shares WHERE key = ? AND (until < ? OR until > ?)", (key, now, now + _HORIZON_S)
            )
            rows = connection.execute("SELECT holder, held, wanted FROM shares WHERE key = ?", (key,)).fetchall()
            others: dict[str, tuple[int, int]] = {row[0]: (row[1], row[2]) for row in rows if row[0] != holder}
            if not using and not wanted:
                connection.execute("DELETE FROM shares WHERE key = ? AND holder = ?", (key, holder))
                return 0
            shares = fair_share(
                {name: row[1] for name, row in others.items()} | {holder: wanted}, most=most, turn=int(now / _TURN_S)
            )
            allowed = max(0, min(shares[holder], most - sum(row[0] for row in others.values())))
            connection.execute(
                "INSERT OR REPLACE INTO shares VALUES (?, ?, ?, ?, ?)",
                (key, holder, max(allowed, using), wanted, now + lease_s),
            )
            return allowed

        return await self._writer.run(work)

    async def suppress(self, entries: Sequence[Suppression]) -> None:
        """See there."""
        rows = [(entry.address.lower(), entry.reason, entry.until) for entry in entries]
        statement = (
            "INSERT INTO suppressions VALUES (?, ?, ?) ON CONFLICT (address) DO UPDATE SET "
            "reason = excluded.reason, until = excluded.until"
        )
        await self._writer.run(lambda connection: connection.executemany(statement, rows))

    async def suppressed(self, addresses: Sequence[str]) -> Sequence[Suppression]:
        """See there."""
        now = self._now()
        statement = "SELECT address, reason, until FROM suppressions WHERE address = ? AND until > ?"

        def work(connection: sqlite3.Connection) -> list[Suppression]:
            rows = [connection.execute(statement, (address.lower(), now)).fetchone() for address in addresses]
            return [Suppression(address=row[0], reason=row[1], until=row[2]) for row in rows if row is not None]

        return await self._reader.run(work)

    async def suppressions(self, *, limit: int, after: str = "") -> Sequence[Suppression]:
        """See there."""
        statement = "SELECT address, reason, until FROM suppressions WHERE address > ? ORDER BY address LIMIT ?"

        def work(connection: sqlite3.Connection) -> list[Suppression]:
            rows = connection.execute(statement, (after, limit))
            return [Suppression(address=row[0], reason=row[1], until=row[2]) for row in rows]

        return await self._reader.run(work)

    async def unsuppress(self, addresses: Sequence[str]) -> int:
        """See there."""

        def work(connection: sqlite3.Connection) -> int:
            return sum(
                connection.execute("DELETE FROM suppressions WHERE address = ?", (address.lower(),)).rowcount
                for address in addresses
            )

        return await self._writer.run(work)


def _still_ours(changed: int, claim: Claim) -> None:
    if not changed:
        msg = f"job {claim.job_id}: another worker has taken it over, or somebody has cancelled it"
        raise LeaseLost(msg)


def _wake(connection: sqlite3.Connection, now: float) -> None:
    """Whose time has come, or whose worker's lease has run out, or who waits for a time no delay can reach."""
    connection.execute(_DUE, (now,))
    connection.execute(_FAR, (now + _HORIZON_S,))


def _anything(connection: sqlite3.Connection, now: float, ready: int) -> bool:
    """Whether taking would find something: asking costs no write."""
    row = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM jobs WHERE ready = ?) OR EXISTS (SELECT 1 FROM jobs WHERE wake <= ?) OR EXISTS "
        "(SELECT 1 FROM jobs WHERE wake > ? AND wake IS NOT NULL AND state <> 'scheduled')",
        (ready, now, now + _HORIZON_S),
    ).fetchone()
    return bool(row[0])


def _add(connection: sqlite3.Connection, jobs: Sequence[Job], now: float) -> list[str]:
    ids = []
    for job in jobs:
        if job.key is not None and (known := _known(connection, job, now)) is not None:
            ids.append(known)
            continue
        ready, wake = _places(job, now)
        connection.execute(
            "INSERT INTO jobs (id, state, message_id, connection, payload, result, run_at, priority, on_unknown, tags, key, "
            "created, updated, attempts, starts, ready, wake, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?, ?)",
            (
                job.id, job.state, job.message_id, job.connection, job.payload, job.result, job.run_at, job.priority,
                job.on_unknown, json.dumps(job.tags), job.key, job.created, job.updated, ready, wake, job.reason,
            ),
        )  # fmt: skip
        if job.tags:
            connection.executemany("INSERT OR IGNORE INTO job_tags VALUES (?, ?)", [(tag, job.id) for tag in job.tags])
        if job.contents:
            connection.executemany(
                "INSERT OR IGNORE INTO job_contents VALUES (?, ?)", [(name, job.id) for name in job.contents]
            )
        ids.append(job.id)
    return ids


def _known(connection: sqlite3.Connection, job: Job, now: float) -> str | None:
    """The job that has the key already; else the key becomes this job's."""
    row = connection.execute("SELECT job FROM keys WHERE key = ? AND until > ?", (job.key, now)).fetchone()
    if row is not None:
        return str(row[0])
    connection.execute("INSERT OR REPLACE INTO keys VALUES (?, ?, ?)", (job.key, job.id, job.key_until))
    return None


def _places(job: Job, now: float) -> tuple[int, float | None]:
    if job.state not in {"queued", "scheduled"}:
        return 0, None
    return (1, None) if job.run_at <= now and job.state == "queued" else (0, job.run_at)


def _job(row: tuple[Any, ...]) -> Job:
    return Job(
        id=row[0], state=row[1], message_id=row[2], connection=row[3], payload=row[4], result=row[5], run_at=row[6],
        priority=row[7], on_unknown=row[8], tags=_tags(row[9]), key=row[10], created=row[11],
        updated=row[12], attempts=row[13], starts=row[14], reason=row[15],
    )  # fmt: skip


def _tags(text: str) -> tuple[str, ...]:
    """A cell that cannot be read must not keep all other rows from being taken."""
    try:
        return tuple(json.loads(text))
    except (ValueError, TypeError):
        return ()


def _claim(row: tuple[Any, ...]) -> Claim:
    return Claim(job=_job(row), fence=row[16])


_open: weakref.WeakSet[SqliteLedger] = weakref.WeakSet()


def _after_fork() -> None:
    for ledger in tuple(_open):
        ledger.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
