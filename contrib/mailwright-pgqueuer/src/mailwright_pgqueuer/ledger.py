"""The ledger in PostgreSQL. `ready` marks jobs a worker may take; `wake` is when a waiting or leased one is looked at."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, Self

import asyncpg
from attrs import evolve

from mailwright.errors import LeaseLost, QueueError
from mailwright.spi import ASKED, Claim, Clock, Job, JobVerb, Selection, Suppression, Verdict, fair_share
from mailwright_pgqueuer import transactions
from mailwright_pgqueuer.places import Place
from mailwright_pgqueuer.schema import ENDED, STEPS, VERSION, adding

_COLUMNS: Final = (
    "id, state, message_id, connection, payload, result, run_at, priority, on_unknown, tags, key, created, updated, "
    "attempts, starts, reason, fence"
)
_LEAN: Final = _COLUMNS.replace("payload", "''::bytea AS payload")
_HORIZON_S: Final = 86400.0
"""No back-off and no lease is longer; one further away comes from a clock that was set back."""
_GRACE_S: Final = 3600.0
_LOCK: Final = 0x6D61696C
"""Of those who make the tables at the same time."""
_SHARES_LOCK: Final = 0x6D61696D
_TURN_S: Final = 5.0
_ANNOUNCED: Final = """
    (SELECT id FROM mailwright_jobs WHERE ready = 1 ORDER BY priority DESC, run_at, seq LIMIT $2)
    UNION ALL (SELECT id FROM mailwright_jobs WHERE wake <= $1::float8 AND starts < 2
        AND NOT (state = 'unknown' AND on_unknown = 'hold') LIMIT $2) LIMIT $2"""
_WAKE: Final = """
    WITH due AS (SELECT seq FROM mailwright_jobs WHERE {} LIMIT 500 FOR UPDATE SKIP LOCKED)
    UPDATE mailwright_jobs j SET wake = NULL, fence = fence + 1,
        ready = CASE WHEN state = 'unknown' AND on_unknown = 'hold' THEN 0 WHEN starts >= 2 THEN 2 ELSE 1 END,
        starts = CASE WHEN state = 'unknown' AND on_unknown = 'hold' THEN 0 ELSE starts END,
        state = CASE WHEN state IN ('scheduled', 'sending') THEN 'queued' ELSE state END
    FROM due WHERE j.seq = due.seq"""
_DUE: Final = _WAKE.format("wake <= $1")
_FAR: Final = _WAKE.format("wake > $1 AND wake IS NOT NULL AND state <> 'scheduled'")
_TAKE: Final = f"""
    WITH picked AS (SELECT seq FROM mailwright_jobs WHERE {{}} FOR UPDATE SKIP LOCKED)
    UPDATE mailwright_jobs j SET state = 'sending', ready = 0, wake = $2, attempts = attempts + 1, starts = starts + 1,
        fence = fence + 1, updated = $1
    FROM picked WHERE j.seq = picked.seq RETURNING {_COLUMNS}"""  # noqa: S608 - constants
_TAKE_SOME: Final = _TAKE.format("ready = $3 ORDER BY priority DESC, run_at, seq LIMIT $4")
_TAKE_ONE: Final = _TAKE.format("id = $3 AND ready > 0")
_RECORD: Final = """
    WITH changed AS (UPDATE mailwright_jobs SET state = $3, result = $4, run_at = coalesce($5, run_at), wake = $6,
        ready = $7, starts = 0, attempts = attempts - $8, reason = $9, updated = $10,
        payload = CASE WHEN $11 THEN ''::bytea ELSE payload END, fence = fence + 1
        WHERE id = $1 AND fence = $2 RETURNING id),
    gone AS (DELETE FROM mailwright_job_contents WHERE $11 AND job IN (SELECT id FROM changed))
    SELECT count(*) FROM changed"""
_ADMIT: Final = """
    INSERT INTO mailwright_rates AS r VALUES ($1, $2::float8 + $3::float8) ON CONFLICT (key) DO UPDATE
        SET tat = greatest(CASE WHEN r.tat <= $2 + 2 * $4::float8 THEN r.tat ELSE $2 END, $2) + $3
        WHERE greatest(CASE WHEN r.tat <= $2 + 2 * $4 THEN r.tat ELSE $2 END, $2) + $3 - $4 - $2 <= 1e-9
    RETURNING tat"""
_CHANGES: Final[Mapping[JobVerb, tuple[str, str]]] = MappingProxyType({
    "retry": (
        f"state = 'queued', ready = 1, wake = NULL, run_at = $1::float8, starts = 0, reason = '{ASKED}'",
        ("state IN ('failed', 'partial', 'held', 'quarantined', 'cancelled', 'unknown') AND wake IS NULL "
         "AND ready = 0 AND payload <> ''::bytea"),
    ),
    "cancel": (
        "state = 'cancelled', ready = 0, wake = NULL, reason = 'cancelled'",
        "(state IN ('scheduled', 'queued', 'held') OR (state = 'unknown' AND wake IS NULL))",
    ),
    "hold": ("state = 'held', ready = 0, wake = NULL, reason = 'held by hand'", "state IN ('scheduled', 'queued')"),
    "release": (
        ("state = 'queued', ready = CASE WHEN run_at <= $1 THEN 1 ELSE 0 END, "
         "wake = CASE WHEN run_at <= $1 THEN NULL ELSE run_at END, starts = 0, reason = ''"),
        "state = 'held'",
    ),
    "purge": ("", ENDED),
})  # fmt: skip


class PostgresLedger:
    """See `mailwright.spi.Ledger`. Time is the database's, where its clock and ours are less than a day apart.

    Args:
        place: Where.
        clock: Tells the time.
    """

    def __init__(self, place: Place, clock: Clock) -> None:
        self._place = place
        self._clock = clock
        self._pool: Any = None
        self._skew_s = 0.0
        self._woken = float("-inf")

    @classmethod
    async def open(cls, url: str, clock: Clock) -> Self:
        """Open, and make what is missing."""
        ledger = cls(Place.of(url), clock)
        async with translated():
            ledger._pool = await asyncpg.create_pool(
                ledger._place.dsn, min_size=1, max_size=10, command_timeout=60, timeout=15,
                server_settings={"search_path": ledger._place.schema, "application_name": "mailwright"},
            )  # fmt: skip
            skew = await ledger._pool.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8") - ledger._now()
        ledger._skew_s = skew if abs(skew) < _HORIZON_S else 0.0
        try:
            await ledger.migrate()
        except BaseException:
            await ledger.aclose()
            raise
        return ledger

    @property
    def abilities(self) -> frozenset[Literal["transaction", "hosts", "one_writer"]]:
        """Of these two."""
        return frozenset({"transaction", "hosts"})

    def _now(self) -> float:
        return self._clock.now().timestamp() + self._skew_s

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        """Rows of one statement. Raises `QueueError`."""
        async with translated():
            found: list[Any] = await self._pool.fetch(statement, *values)
            return found

    async def migrate(self) -> int:
        """See there."""
        async with translated(), self._pool.acquire() as connection, connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
            await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{self._place.schema}"')
            known = await connection.fetchval("SELECT to_regclass('mailwright_meta')") is not None
            version: int = await connection.fetchval("SELECT version FROM mailwright_meta") if known else 0
            for number in range(version, VERSION):
                await connection.execute(STEPS[number])
            if version < VERSION:
                put = "UPDATE mailwright_meta SET version = $1" if known else "INSERT INTO mailwright_meta VALUES ($1)"
                await connection.execute(put, VERSION)
        if version > VERSION:
            raise QueueError("the outbox was made by a newer mailwright-pgqueuer: upgrade this one", permanent=True)
        return VERSION

    async def aclose(self) -> None:
        """See there."""
        pool, self._pool = self._pool, None
        if pool is not None:
            with contextlib.suppress(TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.wait_for(pool.close(), 10)

    # -- jobs

    async def add(self, jobs: Sequence[Job], *, transaction: object | None = None) -> Sequence[str]:
        """See there; `transaction` is an asyncpg or psycopg connection whose search_path finds the tables."""
        steps = adding(jobs, self._now())
        if transaction is not None:
            return await transactions.run(steps, transaction)
        async with translated(), self._pool.acquire() as connection, connection.transaction():
            return await transactions.run(steps, connection)

    async def _wake(self, now: float) -> None:
        """Whose time has come, or whose worker's lease has run out, or who waits for a time no delay can reach."""
        if abs(now - self._woken) >= 0.2:
            self._woken = now
            await self.fetch(_DUE, now)
            await self.fetch(_FAR, now + _HORIZON_S)

    async def take(self, *, limit: int, lease_s: float, suspects: bool = False) -> Sequence[Claim]:
        """See there."""
        now = self._now()
        await self._wake(now)
        rows = await self.fetch(_TAKE_SOME, now, now + lease_s, 2 if suspects else 1, limit)
        claims = [_claim(row) for row in rows]
        return sorted(claims, key=lambda claim: (-claim.job.priority, claim.job.run_at, claim.job.id))

    async def claim(self, job_id: str, *, lease_s: float) -> Claim | None:
        """See there."""
        now = self._now()
        rows = await self.fetch(_TAKE_ONE, now, now + lease_s, job_id)
        if not rows:
            await self.fetch(_WAKE.format("id = $2 AND wake <= $1"), now, job_id)
            rows = await self.fetch(_TAKE_ONE, now, now + lease_s, job_id)
        return _claim(rows[0]) if rows else None

    async def renew(self, claims: Sequence[Claim], *, lease_s: float) -> Sequence[Claim]:
        """See there."""
        rows = await self.fetch(
            "UPDATE mailwright_jobs j SET wake = $1 FROM unnest($2::text[], $3::bigint[]) AS ours (id, fence) "
            "WHERE j.id = ours.id AND j.fence = ours.fence RETURNING j.id",
            self._now() + lease_s, [claim.job_id for claim in claims], [claim.fence for claim in claims],
        )  # fmt: skip
        kept = {row[0] for row in rows}
        return [claim for claim in claims if claim.job_id not in kept]

    async def commit(self, claim: Claim, *, lease_s: float) -> None:
        """See there."""
        statement = "UPDATE mailwright_jobs SET state = 'unknown', wake = $3 WHERE id = $1 AND fence = $2 RETURNING 1"
        _still_ours(len(await self.fetch(statement, claim.job_id, claim.fence, self._now() + lease_s)), claim)

    async def record(self, claim: Claim, verdict: Verdict) -> None:
        """See there."""
        now = self._now()
        waits = verdict.state in {"queued", "scheduled"} and verdict.run_at is not None
        due = waits and verdict.run_at is not None and verdict.run_at <= now
        rows = await self.fetch(
            _RECORD, claim.job_id, claim.fence, verdict.state, verdict.result, verdict.run_at,
            verdict.run_at if waits and not due else None, int(due), int(not verdict.counted), verdict.reason, now,
            verdict.drop,
        )  # fmt: skip
        _still_ours(rows[0][0], claim)

    async def read(self, ids: Sequence[str]) -> Sequence[Job]:
        """See there."""
        rows = await self.fetch(f"SELECT {_COLUMNS} FROM mailwright_jobs WHERE id = ANY($1::text[])", list(ids))  # noqa: S608
        found = {row["id"]: _job(row) for row in rows}
        return [found[job_id] for job_id in ids if job_id in found]

    async def page(self, selection: Selection, *, limit: int, before: str | None = None) -> Sequence[Job]:
        """See there. Each state in the order of its index: what it costs is what is shown."""
        where, values = _where(evolve(selection, states=(), tag=None))
        if before is not None:
            values.append(before)
            where += f" AND id < ${len(values)}"
        if selection.tag is not None:
            values.append(selection.tag)
            tagged = f"tag = ${len(values)}" + ("" if before is None else f" AND job < ${len(values) - 1}")
            where += f" AND id IN (SELECT job FROM mailwright_job_tags WHERE {tagged})"  # noqa: S608
        pages, last = [], len(values) + len(selection.states) + 1
        for state in selection.states or ("",):
            values += [state] if state else []
            chosen = f"{where} AND state = ${len(values)}" if state else where
            pages.append(f"(SELECT {_LEAN} FROM mailwright_jobs WHERE {chosen} ORDER BY id DESC LIMIT ${last})")  # noqa: S608
        statement = f"SELECT * FROM ({' UNION ALL '.join(pages)}) AS pages ORDER BY id DESC LIMIT ${last}"  # noqa: S608
        return [_job(row) for row in await self.fetch(statement, *values, limit)]

    async def change(self, selection: Selection, verb: JobVerb, *, limit: int = 1000) -> int:
        """See there."""
        setting, fits = _CHANGES[verb]
        fits = f"({fits}) IS TRUE" if selection.ids else fits  # by id: no index of states, whatever is known of them
        where, values = _where(selection, self._now())
        values.append(limit)
        chosen = f"SELECT seq FROM mailwright_jobs WHERE {fits} AND {where} LIMIT ${len(values)} FOR UPDATE SKIP LOCKED"  # noqa: S608
        if verb == "purge":
            statement = f"""WITH chosen AS ({chosen} ),
                gone AS (DELETE FROM mailwright_jobs j USING chosen WHERE j.seq = chosen.seq RETURNING id),
                tags AS (DELETE FROM mailwright_job_tags WHERE job IN (SELECT id FROM gone)),
                contents AS (DELETE FROM mailwright_job_contents WHERE job IN (SELECT id FROM gone))
                SELECT id FROM gone WHERE $1::float8 IS NOT NULL"""  # noqa: S608 - constants
        else:
            statement = (
                f"WITH chosen AS ({chosen}) UPDATE mailwright_jobs j SET {setting}, fence = fence + 1, "  # noqa: S608
                "updated = $1::float8 FROM chosen WHERE j.seq = chosen.seq RETURNING j.seq"
            )
        return len(await self.fetch(statement, *values))

    async def stats(self, *, tag: str | None = None) -> Mapping[str, float]:
        """See there."""
        now = self._now()
        where, values = _where(Selection(tag=tag))
        rows = await self.fetch(
            f"SELECT state, count(*) AS n FROM mailwright_jobs WHERE {where} GROUP BY state",  # noqa: S608
            *values,
        )
        found: dict[str, float] = {row["state"]: row["n"] for row in rows}
        where, values = _where(Selection(tag=tag), now)
        (due,) = await self.fetch(
            f"SELECT count(*) AS n, min(run_at) AS first FROM mailwright_jobs WHERE (ready > 0 OR wake <= $1::float8) AND {where}",  # noqa: S608
            *values,
        )
        return found | {"due": due["n"], "oldest_due_s": 0.0 if due["first"] is None else max(0.0, now - due["first"])}

    # -- contents, rates, suppressions

    async def put_contents(self, contents: Mapping[str, bytes], *, transaction: object | None = None) -> None:
        """See there."""
        async with translated(), self._pool.acquire() as connection, connection.transaction():
            for name in sorted(contents):
                known = await connection.execute(
                    "UPDATE mailwright_contents SET touched = $2 WHERE name = $1", name, self._now()
                )
                if known == "UPDATE 0":
                    await connection.execute(
                        "INSERT INTO mailwright_contents VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                        name, contents[name], self._now(),
                    )  # fmt: skip

    async def content(self, name: str) -> bytes:
        """See there."""
        rows = await self.fetch("SELECT body FROM mailwright_contents WHERE name = $1", name)
        if not rows:
            raise KeyError(name)
        return bytes(rows[0][0])

    async def clean(self, *, limit: int = 500) -> int:
        """See there."""
        now = self._now()
        gone = await self.fetch(
            "DELETE FROM mailwright_contents WHERE name IN (SELECT name FROM mailwright_contents c WHERE touched < $1 AND "
            "NOT EXISTS (SELECT 1 FROM mailwright_job_contents j WHERE j.name = c.name) LIMIT $2) AND touched < $1 "
            "RETURNING 1",
            now - _GRACE_S, limit,
        )  # fmt: skip
        gone += await self.fetch(
            "DELETE FROM mailwright_keys WHERE key IN (SELECT key FROM mailwright_keys WHERE until < $1 LIMIT $2) "
            "AND until < $1 RETURNING 1",
            now, limit,
        )  # fmt: skip
        gone += await self.fetch("DELETE FROM mailwright_suppressions WHERE until < $1 RETURNING 1", now)
        return len(gone)

    async def admit(self, key: str, *, rate: float, burst: int, tokens: int = 1) -> float:
        """See there."""
        now, step, slack = self._now(), tokens / rate, max(burst, tokens) / rate
        if await self.fetch(_ADMIT, key, now, step, slack):
            return 0.0
        rows = await self.fetch("SELECT tat FROM mailwright_rates WHERE key = $1", key)
        return max(0.001, float(rows[0][0]) + step - slack - now)

    async def due(self, *, limit: int) -> Sequence[str]:
        """See `mailwright.spi.SharingLedger`."""
        return [row[0] for row in await self.fetch(_ANNOUNCED, self._now(), limit)]

    async def share(self, key: str, holder: str, *, using: int, wanted: int, most: int, lease_s: float) -> int:
        """See `mailwright.spi.SharingLedger`."""
        now = self._now()
        async with translated(), self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", _SHARES_LOCK, key)
            await connection.execute(
                "DELETE FROM mailwright_shares WHERE key = $1 AND (until < $2 OR until > $3 OR ($4 AND holder = $5))",
                key, now, now + _HORIZON_S, not using and not wanted, holder,
            )  # fmt: skip
            if not using and not wanted:
                return 0
            rows = await connection.fetch(
                "SELECT holder, held, wanted FROM mailwright_shares WHERE key = $1 AND holder <> $2", key, holder
            )
            wants = {row["holder"]: row["wanted"] for row in rows} | {holder: wanted}
            fair = fair_share(wants, most=most, turn=int(now / _TURN_S))[holder]
            allowed = max(0, min(fair, most - sum(row["held"] for row in rows)))
            await connection.execute(
                "INSERT INTO mailwright_shares VALUES ($1, $2, $3, $4, $5) ON CONFLICT (key, holder) DO UPDATE SET "
                "held = excluded.held, wanted = excluded.wanted, until = excluded.until",
                key, holder, max(allowed, using), wanted, now + lease_s,
            )  # fmt: skip
        return allowed

    async def suppress(self, entries: Sequence[Suppression]) -> None:
        """See there."""
        rows = [(entry.address.lower(), entry.reason, entry.until) for entry in entries]
        async with translated():
            await self._pool.executemany(
                "INSERT INTO mailwright_suppressions VALUES ($1, $2, $3) ON CONFLICT (address) DO UPDATE SET "
                "reason = excluded.reason, until = excluded.until",
                rows,
            )

    async def suppressed(self, addresses: Sequence[str]) -> Sequence[Suppression]:
        """See there."""
        lower = [address.lower() for address in addresses]
        statement = "SELECT * FROM mailwright_suppressions WHERE address = ANY($1::text[]) AND until > $2"
        return [Suppression(**dict(row)) for row in await self.fetch(statement, lower, self._now())]

    async def suppressions(self, *, limit: int, after: str = "") -> Sequence[Suppression]:
        """See there."""
        statement = "SELECT * FROM mailwright_suppressions WHERE address > $1 ORDER BY address LIMIT $2"
        return [Suppression(**dict(row)) for row in await self.fetch(statement, after, limit)]

    async def unsuppress(self, addresses: Sequence[str]) -> int:
        """See there."""
        lower = [address.lower() for address in addresses]
        statement = "DELETE FROM mailwright_suppressions WHERE address = ANY($1::text[]) RETURNING 1"
        return len(await self.fetch(statement, lower))


async def exists(url: str) -> bool:
    """Whether the tables are there.

    Raises:
        QueueError: The database does not answer.
    """
    place = Place.of(url)
    async with translated():
        connection = await asyncpg.connect(place.dsn, timeout=15)
        try:
            found = await connection.fetchval("SELECT to_regclass($1)", f'"{place.schema}".mailwright_meta')
        finally:
            await connection.close()
    return found is not None


@contextlib.asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """What the driver raises, as a QueueError without the URL in it."""
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
        msg = f"the outbox's database: {type(error).__name__}: {error}"
        raise QueueError(msg) from error


def _still_ours(changed: int, claim: Claim) -> None:
    if not changed:
        msg = f"job {claim.job_id}: another worker has taken it over, or somebody has cancelled it"
        raise LeaseLost(msg)


def _where(selection: Selection, *first: float) -> tuple[str, list[Any]]:
    pieces, values = ["true"], list[Any](first)

    def place(value: Any) -> str:
        values.append(value)
        return f"${len(values)}"

    if selection.ids:
        pieces.append(f"id = ANY({place(list(selection.ids))}::text[])")
    if selection.states:
        states = f"state = ANY({place(list(selection.states))}::text[])"
        pieces.append(f"({states}) IS TRUE" if selection.ids else states)
    if selection.tag is not None:
        pieces.append(f"id IN (SELECT job FROM mailwright_job_tags WHERE tag = {place(selection.tag)})")  # noqa: S608
    if selection.older_than is not None:
        pieces.append(f"updated < {place(selection.older_than)}")
    return " AND ".join(pieces), values


def _job(row: Any) -> Job:
    return Job(
        id=row[0], state=row[1], message_id=row[2], connection=row[3], payload=bytes(row[4]), result=bytes(row[5]),
        run_at=row[6], priority=row[7], on_unknown=row[8], tags=tuple(json.loads(row[9])), key=row[10], created=row[11],
        updated=row[12], attempts=row[13], starts=row[14], reason=row[15],
    )  # fmt: skip


def _claim(row: Any) -> Claim:
    return Claim(job=_job(row), fence=row[16])
