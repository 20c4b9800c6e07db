"""Tables, and the statements that write jobs: plain values, for whichever driver the caller's transaction is of."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from typing import Any, Final

from mailwright.spi import Job

ENDED: Final = "state IN ('sent', 'partial', 'failed', 'cancelled', 'quarantined')"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS mailwright_meta (version integer NOT NULL);
CREATE TABLE IF NOT EXISTS mailwright_jobs (
    seq bigserial PRIMARY KEY, id text COLLATE "C" NOT NULL UNIQUE, state text NOT NULL, message_id text NOT NULL,
    connection text NOT NULL, payload bytea NOT NULL, result bytea NOT NULL, run_at double precision NOT NULL,
    priority integer NOT NULL, on_unknown text NOT NULL, tags text NOT NULL, key text,
    created double precision NOT NULL, updated double precision NOT NULL, attempts integer NOT NULL DEFAULT 0,
    starts integer NOT NULL DEFAULT 0, fence bigint NOT NULL DEFAULT 0, ready smallint NOT NULL DEFAULT 0,
    wake double precision, reason text NOT NULL DEFAULT '') WITH (fillfactor = 80);
CREATE INDEX IF NOT EXISTS mailwright_jobs_ready ON mailwright_jobs (ready, priority DESC, run_at, seq) WHERE ready > 0;
CREATE INDEX IF NOT EXISTS mailwright_jobs_wake ON mailwright_jobs (wake) WHERE wake IS NOT NULL;
CREATE INDEX IF NOT EXISTS mailwright_jobs_far ON mailwright_jobs (wake) WHERE wake IS NOT NULL AND state <> 'scheduled';
CREATE INDEX IF NOT EXISTS mailwright_jobs_state ON mailwright_jobs (state, id);
CREATE TABLE IF NOT EXISTS mailwright_job_tags (
    tag text NOT NULL, job text COLLATE "C" NOT NULL, PRIMARY KEY (tag, job));
CREATE INDEX IF NOT EXISTS mailwright_job_tags_job ON mailwright_job_tags (job);
CREATE TABLE IF NOT EXISTS mailwright_job_contents (
    name text NOT NULL, job text COLLATE "C" NOT NULL, PRIMARY KEY (name, job));
CREATE INDEX IF NOT EXISTS mailwright_job_contents_job ON mailwright_job_contents (job);
CREATE TABLE IF NOT EXISTS mailwright_contents (
    name text PRIMARY KEY, body bytea NOT NULL, touched double precision NOT NULL);
ALTER TABLE mailwright_contents ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS mailwright_keys (key text PRIMARY KEY, job text NOT NULL, until double precision NOT NULL);
CREATE INDEX IF NOT EXISTS mailwright_keys_until ON mailwright_keys (until);
CREATE TABLE IF NOT EXISTS mailwright_rates (key text PRIMARY KEY, tat double precision NOT NULL);
CREATE TABLE IF NOT EXISTS mailwright_suppressions (
    address text COLLATE "C" PRIMARY KEY, reason text NOT NULL, until double precision NOT NULL);
"""
_ENDINGS: Final = f"""
CREATE INDEX IF NOT EXISTS mailwright_jobs_ended ON mailwright_jobs (state, updated) WHERE {ENDED};
CREATE INDEX IF NOT EXISTS mailwright_contents_touched ON mailwright_contents (touched, name);
CREATE INDEX IF NOT EXISTS mailwright_suppressions_until ON mailwright_suppressions (until);
"""
_SHARES: Final = """
CREATE TABLE IF NOT EXISTS mailwright_shares (
    key text NOT NULL, holder text NOT NULL, held integer NOT NULL, wanted integer NOT NULL,
    until double precision NOT NULL, PRIMARY KEY (key, holder));
"""
STEPS: Final = (_TABLES, _ENDINGS, _SHARES)
"""What brings tables from one version to the next."""
VERSION: Final = len(STEPS)
_KEY: Final = (
    "INSERT INTO mailwright_keys AS k VALUES (%s, %s, %s) ON CONFLICT (key) DO UPDATE SET job = excluded.job, "
    "until = excluded.until WHERE k.until <= %s RETURNING job"
)
_JOB: Final = (
    "INSERT INTO mailwright_jobs (id, state, message_id, connection, payload, result, run_at, priority, on_unknown, tags, "
    "key, created, updated, ready, wake, reason) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
Step = tuple[str, list[tuple[Any, ...]], bool]
"""A statement, its arguments for each time, and whether rows are wanted."""


def adding(jobs: Sequence[Job], now: float) -> Generator[Step, list[tuple[Any, ...]], list[str]]:
    """The statements that store jobs; send back the rows of each, get the ids at the end."""
    owners: dict[str, str] = {}
    keyed = {job.key: job for job in reversed(jobs) if job.key is not None}
    for key in sorted(keyed):  # in one order everywhere: two batches with the same keys wait for one another, in turn
        rows = yield _KEY, [(key, keyed[key].id, keyed[key].key_until, now)], True
        if not rows:
            rows = yield "SELECT job FROM mailwright_keys WHERE key = %s", [(key,)], True
        owners[key] = rows[0][0]
    ids = [job.id if job.key is None else owners[job.key] for job in jobs]
    new = [job for job, owner in zip(jobs, ids, strict=True) if job.id == owner]
    if new:
        yield _JOB, [_row(job, now) for job in new], False
    if tags := [(tag, job.id) for job in new for tag in job.tags]:
        yield "INSERT INTO mailwright_job_tags VALUES (%s, %s) ON CONFLICT DO NOTHING", tags, False
    if names := [(name, job.id) for job in new for name in job.contents]:
        yield "INSERT INTO mailwright_job_contents VALUES (%s, %s) ON CONFLICT DO NOTHING", names, False
    return ids


def _row(job: Job, now: float) -> tuple[Any, ...]:
    waits = job.state in {"queued", "scheduled"}
    due = waits and job.run_at <= now and job.state == "queued"
    return (
        job.id, job.state, job.message_id, job.connection, job.payload, job.result, job.run_at, job.priority,
        job.on_unknown, json.dumps(job.tags), job.key, job.created, job.updated, int(due),
        job.run_at if waits and not due else None, job.reason,
    )  # fmt: skip
