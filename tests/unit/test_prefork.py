"""Servers that load the application once and fork: gunicorn --preload, Celery's prefork pool."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from mailwright import Mailer, Message
from mailwright.testing import Sandbox

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]

APPLICATION = """
import os
from mailwright import Mailer, Message

mailer = Mailer({connection!r})
mailer.__enter__()
mailer.send_sync(Message(from_="me@x.org", to="ann@x.org", subject="preloaded"))  # loop, thread and session exist now


def application(environ, start_response):
    receipt = mailer.send_sync(Message(from_="me@x.org", to="ann@x.org", subject=str(os.getpid())))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [receipt.status.encode()]
"""


def test_gunicorn_preload(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    with Sandbox(tls="none", login=False) as box, socket.socket() as listening:
        (tmp_path / "app.py").write_text(APPLICATION.format(connection=box.connection))
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.set_inheritable(True)
        where = f"--bind=fd://{listening.fileno()}"
        command = [sys.executable, "-m", "gunicorn", "--preload", "--workers=2", where, "app:application"]
        with subprocess.Popen(command, cwd=tmp_path, pass_fds=[listening.fileno()], stderr=subprocess.PIPE) as server:
            try:
                url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
                answers = [urllib.request.urlopen(url, timeout=30).read() for _ in range(6)]
            finally:
                server.send_signal(signal.SIGTERM)
                server.communicate(timeout=30)
        assert answers == [b"sent"] * 6
        subjects = [message.subject for message in box.messages]
    assert subjects[0] == "preloaded"
    assert len(subjects) == 7
    assert str(server.pid) not in subjects


def test_a_prefork_pool() -> None:
    """What Celery's default pool does."""
    with Sandbox(tls="none", login=False) as box:
        mailer = Mailer(box.connection)
        with mailer:
            mailer.send_sync(Message(from_="me@x.org", to="ann@x.org", subject="parent"))
            _Work.mailer = mailer
            with multiprocessing.get_context("fork").Pool(2) as pool:
                assert pool.map(_Work.send, range(6), chunksize=1) == ["sent"] * 6
            mailer.send_sync(Message(from_="me@x.org", to="ann@x.org", subject="parent again"))
        subjects = sorted(message.subject for message in box.messages)
    assert subjects == ["0", "1", "2", "3", "4", "5", "parent", "parent again"]


class _Work:
    mailer: Mailer

    @staticmethod
    def send(number: int) -> str:
        return _Work.mailer.send_sync(Message(from_="me@x.org", to="ann@x.org", subject=str(number))).status
