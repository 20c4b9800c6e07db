"""Engines' servers of one's own on free ports: to be killed with -9, and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY / "contrib/mailwright-taskiq/tests"))
from rabbitmq_node import SERVER as RABBITMQ  # noqa: E402 - beside its own tests
from rabbitmq_node import Node, free_port  # noqa: E402

__all__ = ["ENGINES", "POSTGRESQL", "RABBITMQ", "Node", "Postgres", "Server", "engine", "missing"]
ENGINES = ("sqlite", "postgresql", "pgqueuer", "amqp")


class Server(Protocol):
    """What chaos needs of one."""

    def start(self) -> None: ...
    def kill(self) -> None: ...


def _bin() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    named = shutil.which("postgres")
    return found[-1].parent if found else Path(named).parent if named else None


POSTGRESQL = _bin()


class Postgres:
    """One cluster. The server refuses to be root's, so root's becomes the user postgres'.

    Attributes:
        url: With its superuser.
    """

    def __init__(self, folder: Path) -> None:
        assert POSTGRESQL is not None
        self._data, self._port = folder / "postgresql", free_port()
        self._as: dict[str, Any] = {}
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            self._as = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
            os.chown(self._data, owner.pw_uid, owner.pw_gid)
            for parent in (folder, folder.parent):
                parent.chmod(parent.stat().st_mode | 0o711)
        self._run("initdb", "-D", str(self._data), "-U", "mail", "-A", "trust", "--no-instructions")
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://mail@127.0.0.1:{self._port}/postgres"

    def _run(self, name: str, *arguments: str) -> None:
        command = [str(POSTGRESQL / name), *arguments]  # type: ignore[operator]
        subprocess.run(command, check=True, capture_output=True, cwd=self._data, **self._as)

    def start(self, *, limit_s: float = 60) -> None:
        """Start, and wait until it has recovered what it had committed."""
        command = [
            str(POSTGRESQL / "postgres"), "-D", str(self._data), "-p", str(self._port), "-h", "127.0.0.1", "-k", "",
        ]  # type: ignore[operator] # fmt: skip
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            with (self._data / "out").open("ab") as out:
                self._process = subprocess.Popen(command, stdout=out, stderr=out, cwd=self._data, **self._as)
            while self._process.poll() is None:
                if self._answers():
                    return
                time.sleep(0.05)
            time.sleep(0.2)  # those that the killed one left behind have its memory for a moment
        raise RuntimeError((self._data / "out").read_text()[-2000:])

    def _answers(self) -> bool:
        ready = [str(POSTGRESQL / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self._port)]  # type: ignore[operator]
        return subprocess.run(ready, check=False, capture_output=True).returncode == 0

    def kill(self) -> None:
        """kill -9 of the postmaster: the disk has what it has."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


def engine(name: str, folder: Path) -> tuple[str, list[Any]]:
    """A URL, and the servers behind it, started."""
    if name == "sqlite":
        return f"sqlite:///{folder}/outbox.db", []
    database = Postgres(folder)
    database.start()
    if name == "amqp":
        node = Node(folder / "rabbitmq")
        node.start()
        return f"{node.url}?ledger={database.url}", [database, node]
    return database.url + ("?dispatcher=pgqueuer" if name == "pgqueuer" else ""), [database]


def missing(name: str) -> str:
    """What an engine needs that is not here."""
    if name != "sqlite" and POSTGRESQL is None:
        return "PostgreSQL's programs"
    return "rabbitmq-server" if name == "amqp" and RABBITMQ is None else ""
