"""A RabbitMQ of one's own on free ports: to be killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

SERVER = shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin:" + os.environ.get("PATH", ""))
"""Debian's own script: the one on the PATH changes to a user who may not write here."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Node:
    """One node with data of its own in `folder`. Its files are put away with the folder.

    Attributes:
        url: With the user every new node has.
    """

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plugins").write_text("[].\n")
        self._folder = folder
        self._out = folder / "out"
        self._environment = {
            "PATH": "/usr/lib/rabbitmq/bin:/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin",
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"mailwright{self._port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "ERL_CRASH_DUMP_SECONDS": "0",
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"amqp://guest:guest@127.0.0.1:{self._port}/"

    def start(self, *, limit_s: float = 60) -> None:
        """Start, and wait until it speaks AMQP."""
        assert SERVER is not None
        with self._out.open("ab") as out:
            self._process = subprocess.Popen(
                [SERVER], cwd=self._folder, env=self._environment, stdout=out, stderr=out, start_new_session=True
            )
        until = time.monotonic() + limit_s
        while not self._speaks():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(self._out.read_text()[-2000:])
            time.sleep(0.1)

    def _speaks(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), 1) as link:
                link.sendall(b"AMQP\0\0\x09\x01")
                return bool(link.recv(8))
        except OSError:
            return False

    def remembers(self, queue: str) -> bool:
        """Whether a quorum queue outlives a kill: RabbitMQ writes a new one's name down a second after it was made."""
        files = (self._folder / "data").glob("*/quorum/*/names.dets")
        return any(queue.encode() in file.read_bytes() for file in files)

    def freeze(self, *, thaw: bool = False) -> None:
        """SIGSTOP: connections stay open, nobody answers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGCONT if thaw else signal.SIGSTOP)

    def kill(self) -> None:
        """kill -9: the disk has what it has."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
