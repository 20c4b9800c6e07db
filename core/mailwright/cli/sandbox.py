"""`mailwright sandbox`: a development inbox."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import time
from json import dumps as json_text
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Never

from rich.console import Console

from mailwright.cli.output import DELIVERED
from mailwright.errors import ConfigurationError
from mailwright.testing import Sandbox

if TYPE_CHECKING:
    from mailwright.testing.sandbox import InboxMessage

POLL_S = 0.2
HELP = "open N shows a letter in the browser (open: the last), quit ends, as Ctrl-C does."


def run(port: int, folder: Path | None, *, json: bool) -> int:
    """Stay until Ctrl-C, printing a line for each message."""
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"{folder}: {error.strerror}; choose another folder"
            raise ConfigurationError(msg) from None
    try:
        with (
            TemporaryDirectory(prefix="mailwright-") as pages,
            Sandbox(folder, tls="none", port=port, login=False) as box,
        ):
            (_Feed(box) if json else _Inbox(box, Path(pages))).watch()
    except KeyboardInterrupt:
        pass
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else str(error)
        msg = f"port {port}: {why}; choose another with --port, or 0 for a free one"
        raise ConfigurationError(msg) from None
    return DELIVERED


class _Feed:
    """A JSON document a line: where it listens, then what arrives."""

    def __init__(self, box: Sandbox) -> None:
        self._box = box

    def watch(self) -> Never:
        """Until Ctrl-C."""
        self._say({"host": self._box.host, "port": self._box.port})
        shown = 0
        while True:
            for message in self._box.messages[shown:]:
                shown += 1
                envelope = {"from": message.sender, "to": list(message.recipients)}
                path = str(message.path) if message.path else None
                self._say({"number": shown, "envelope": envelope, "subject": message.subject, "path": path})
            time.sleep(POLL_S)

    @staticmethod
    def _say(value: object) -> None:
        sys.stdout.write(json_text(value, ensure_ascii=False) + "\n")
        sys.stdout.flush()


class _Inbox:
    """What arrives, and what its reader asks for."""

    def __init__(self, box: Sandbox, pages: Path) -> None:
        self._box = box
        self._pages = pages
        self._console = Console(highlight=False, markup=False, soft_wrap=True)
        self._asked: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._shown = 0

    def watch(self) -> None:
        """List messages and obey until quit."""
        where = f"{self._box.host}:{self._box.port}"
        self._console.print(f'Listening on {where} (provider = "sandbox", MAILWRIGHT_SANDBOX={where}). Ctrl-C ends.')
        if _reads_commands():
            self._console.print(HELP)
            threading.Thread(target=self._read, daemon=True).start()
        while True:
            self._list()
            with contextlib.suppress(queue.Empty):
                if not self._obey(self._asked.get(timeout=POLL_S)):
                    return

    def _read(self) -> None:
        for line in sys.stdin:
            self._asked.put(line)

    def _list(self) -> None:
        for message in self._box.messages[self._shown :]:
            self._shown += 1
            path = f"  {message.path}" if message.path else ""
            who = ", ".join(message.recipients)
            self._console.print(f"{self._shown:4} {message.sender or '<>'} → {who}: {message.subject}{path}")

    def _obey(self, line: str) -> bool:
        verb, _, rest = line.strip().partition(" ")
        if verb == "open":
            self._open(rest.strip())
        elif verb:
            if verb in {"quit", "exit", "q"}:
                return False
            self._console.print(HELP)
        return True

    def _open(self, number: str) -> None:
        self._list()
        messages = self._box.messages
        chosen = int(number) if number.isdecimal() else len(messages)
        if not 1 <= chosen <= len(messages):
            self._console.print(f"no message {number or 'yet'}; there are {len(messages)}")
            return
        page = self._pages / f"{chosen:04d}.html"
        page.write_text(page_of(messages[chosen - 1]), encoding="utf-8")
        import webbrowser  # noqa: PLC0415 - for readers only

        if not webbrowser.open(page.as_uri()):
            self._console.print(f"no browser here; the page is {page}")


def _reads_commands() -> bool:
    """Whether somebody may type: not where reading a terminal would stop a job in the background."""
    try:
        return not sys.stdin.isatty() or os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False


def page_of(message: InboxMessage) -> str:
    """A letter as one page: header, HTML (or text) with its inline images; scripts and the network stay out."""
    from html import escape  # noqa: PLC0415 - for readers only

    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:"
    head = "".join(
        f"<div><b>{name}</b> {escape(str(message.parsed[name]))}</div>"
        for name in ("From", "To", "Cc", "Subject")
        if message.parsed[name]
    )
    body = f"<pre>{escape(message.text or '')}</pre>" if message.html is None else _with_images(message)
    return (
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{escape(message.subject)}</title>"
        f'<div style="font-family:sans-serif;border-bottom:1px solid #ccc;padding:8px">{head}</div>{body}'
    )


def _with_images(message: InboxMessage) -> str:
    import base64  # noqa: PLC0415 - for readers only

    html = message.html or ""
    for part in message.parsed.walk():
        name = str(part.get("Content-ID", "")).strip("<> ")
        content = part.get_payload(decode=True)
        if name and isinstance(content, bytes):
            data = f"data:{part.get_content_type()};base64,{base64.b64encode(content).decode()}"
            html = html.replace(f"cid:{name}", data)
    return html
