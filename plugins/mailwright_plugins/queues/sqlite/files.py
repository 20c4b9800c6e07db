"""The database file: made for its owner only, opened durably."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

from mailwright.errors import QueueError

ENDED: Final = "state IN ('sent', 'partial', 'failed', 'cancelled', 'quarantined')"
_TABLES: Final = """
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL, message_id TEXT NOT NULL,
    connection TEXT NOT NULL, payload BLOB NOT NULL, result BLOB NOT NULL, run_at REAL NOT NULL,
    priority INTEGER NOT NULL, on_unknown TEXT NOT NULL, tags TEXT NOT NULL, key TEXT, created REAL NOT NULL,
    updated REAL NOT NULL, attempts INTEGER NOT NULL, starts INTEGER NOT NULL, fence INTEGER NOT NULL DEFAULT 0,
    ready INTEGER NOT NULL DEFAULT 0, wake REAL, reason TEXT NOT NULL DEFAULT '');
CREATE INDEX jobs_ready ON jobs (ready, priority DESC, run_at, seq) WHERE ready > 0;
CREATE INDEX jobs_wake ON jobs (wake) WHERE wake IS NOT NULL;
CREATE INDEX jobs_far ON jobs (wake) WHERE wake IS NOT NULL AND state <> 'scheduled';
CREATE INDEX jobs_state ON jobs (state, id);
CREATE TABLE job_tags (tag TEXT NOT NULL, job TEXT NOT NULL, PRIMARY KEY (tag, job)) WITHOUT ROWID;
CREATE INDEX job_tags_job ON job_tags (job);
CREATE TABLE job_contents (name TEXT NOT NULL, job TEXT NOT NULL, PRIMARY KEY (name, job)) WITHOUT ROWID;
CREATE INDEX job_contents_job ON job_contents (job);
CREATE TABLE contents (name TEXT PRIMARY KEY, body BLOB NOT NULL, touched REAL NOT NULL);
CREATE TABLE keys (key TEXT PRIMARY KEY, job TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX keys_until ON keys (until);
CREATE TABLE rates (key TEXT PRIMARY KEY, tat REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE suppressions (address TEXT PRIMARY KEY, reason TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
"""
_ENDINGS: Final = f"CREATE INDEX jobs_ended ON jobs (state, updated) WHERE {ENDED}; CREATE INDEX contents_touched ON contents (touched, name)"
_SHARES: Final = (
    "CREATE TABLE shares (key TEXT NOT NULL, holder TEXT NOT NULL, held INTEGER NOT NULL, wanted INTEGER NOT NULL, "
    "until REAL NOT NULL, PRIMARY KEY (key, holder)) WITHOUT ROWID"
)
STEPS: Final = (_TABLES, _ENDINGS, _SHARES)
"""What brings a database from one version to the next."""
VERSION: Final = len(STEPS)


def connect(path: Path) -> sqlite3.Connection:
    """Open, or make.

    Raises:
        QueueError: It cannot be opened, or a newer Mailwright made it.
    """
    try:
        _make(path)
        connection = sqlite3.connect(path, timeout=15, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        msg = f"the outbox {path} cannot be opened: {error}"
        raise QueueError(msg) from error
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA busy_timeout=15000")
    except sqlite3.Error as error:
        connection.close()
        msg = f"the outbox {path} cannot be opened: {error}{_hint(error)}"
        raise QueueError(msg) from error
    return connection


def _hint(error: sqlite3.Error) -> str:
    if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:
        return ""
    return (
        " by a transaction; make the outbox before the first one: `mailwright outbox init`, or `await outbox.migrate()`"
    )


def _make(path: Path) -> None:
    """SQLite gives its side files the mode of the main one, so it is enough to make that one right.

    A file that is there is never opened beside SQLite: closing it again would take away all locks this process has on it
    (sqlite.org/howtocorrupt.html §2.2).
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def identity(path: Path) -> tuple[int, int] | None:
    """Tells a file from another one that took its place; None: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def migrate(connection: sqlite3.Connection, path: Path) -> int:
    """Make the tables; returns their version. Safe in several processes at once."""
    found = _version(connection)
    if found < VERSION:
        try:
            connection.execute("BEGIN IMMEDIATE")
            found = _version(connection)
            if found < VERSION:
                for statement in ";".join(STEPS[found:]).split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version={VERSION}")
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            msg = f"the outbox {path} cannot be set up: {error}{_hint(error)}"
            raise QueueError(msg) from error
    if _version(connection) > VERSION:
        msg = f"the outbox {path} was made by a newer Mailwright: upgrade this one"
        raise QueueError(msg, permanent=True)
    return VERSION


def _version(connection: sqlite3.Connection) -> int:
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error as error:
        msg = f"the outbox cannot be read: {error}"
        raise QueueError(msg) from error
