"""What a bulk run has done, on disk: a receipt for each row, and beside it the rows that may have gone.

``<receipts>`` has one line of JSON for each row that is settled. ``<receipts>.journal`` has the fingerprint of the rows and
where this run's receipts begin, then the number of each row whose message is about to pass the point of no return. A row in
the journal without a receipt was in flight when the process died: nobody knows whether it went, so it is reported as unknown
and never repeated. A row in neither has not gone.
"""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from mailwright.errors import ConfigurationError, MailwrightError

UNKNOWN = "the run ended while this message was being handed over: it may have been delivered or not"


class Journal:
    """Opened for one run; another process cannot open it meanwhile.

    Args:
        receipts: The file for people and programs.
        fingerprint: Of the rows.
        resume: Go on with an earlier run.
        again: When going on, try rows again that failed.

    Raises:
        ConfigurationError: When the receipts are there already, belong to other rows, or are being written.
    """

    def __init__(self, receipts: Path, *, fingerprint: str, resume: bool, again: bool = False) -> None:
        self.settled: set[int] = set()
        self.unknown: list[int] = []
        self.before: dict[str, int] = {}
        self._path = receipts
        beside = receipts.with_name(receipts.name + ".journal")
        if not resume and (receipts.exists() or beside.exists()):
            msg = (
                f"{receipts} is there already: add --resume to go on with that run, or name another file by --receipts"
            )
            raise ConfigurationError(msg)
        try:
            self._receipts = os.open(receipts, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            self._journal = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            msg = f"{receipts}: {error.strerror or error}"
            raise ConfigurationError(msg) from None
        self._lock(beside)
        try:
            self._read(fingerprint, again=again)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the files back."""
        os.close(self._receipts)
        os.close(self._journal)

    def _lock(self, path: Path) -> None:
        try:
            import fcntl  # noqa: PLC0415 - not on Windows
        except ImportError:
            return
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            msg = f"{path}: another run is writing it"
            raise ConfigurationError(msg) from None

    def _read(self, fingerprint: str, *, again: bool) -> None:
        last: dict[int, str] = {}
        known, begun, numbers = self._begun()
        if known not in {"", fingerprint}:
            msg = f"{self._path} belongs to other rows: they were changed since; name another file by --receipts"
            raise ConfigurationError(msg)
        position, since = 0, set[int]()
        for line in _lines(self._receipts):
            row, status = self._receipt(line)
            last[row] = status
            if position >= begun:
                since.add(row)
            position += len(line) + 1
        self.unknown = sorted(numbers - since)
        for row in self.unknown:
            error = {"code": "EUNKNOWN", "message": UNKNOWN, "permanent": None, "stage": "final"}
            self.settle(row, {"status": "unknown", "error": error})
            last[row] = "unknown"
        self.before = dict(Counter(last.values()))
        self.settled = {row for row, status in last.items() if not (again and status == "failed")}
        self._begin(fingerprint)

    def _begun(self) -> tuple[str, int, set[int]]:
        """Of the run before: its rows' fingerprint, where its receipts begin, and the rows it may have sent."""
        head, *numbers = _lines(self._journal) or [b""]
        try:
            fingerprint, _, begun = head.decode().partition(" ")
            return fingerprint, int(begun or 0), {int(number) for number in numbers}
        except ValueError:
            msg = f"{self._path}.journal is no journal; name another file by --receipts"
            raise ConfigurationError(msg) from None

    def _begin(self, fingerprint: str) -> None:
        """All that was in flight has its receipt by now, so an empty journal would say the truth."""
        os.ftruncate(self._journal, 0)
        os.write(self._journal, f"{fingerprint} {os.fstat(self._receipts).st_size}\n".encode())

    def _receipt(self, line: bytes) -> tuple[int, str]:
        try:
            receipt = json.loads(line)
            return int(receipt["row"]), str(receipt["status"])
        except (ValueError, KeyError, TypeError):
            msg = f"{self._path}: holds a line that is no receipt: {line[:60]!r}; name another file by --receipts"
            raise ConfigurationError(msg) from None

    def committing(self, row: int) -> None:
        """Note that a row may have gone from here on; where that cannot be written, the row does not go."""
        self._append(self._journal, b"%d\n" % row)

    def settle(self, row: int, result: Mapping[str, Any]) -> None:
        """Write a receipt."""
        line = json.dumps({"row": row, **result}, ensure_ascii=False, separators=(",", ":")) + "\n"
        self._append(self._receipts, line.encode())
        self.settled.add(row)

    def _append(self, handle: int, data: bytes) -> None:
        """Write a whole line or none of it."""
        size = os.fstat(handle).st_size
        try:
            if os.write(handle, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(handle, size)
            msg = f"{self._path}: cannot be written: {error.strerror}; make room, then go on with --resume"
            raise MailwrightError(msg, permanent=None) from None


def _lines(handle: int) -> list[bytes]:
    """Whole lines; half a line at the end, which a killed process may leave, is cut off."""
    size = os.fstat(handle).st_size
    data = bytearray()
    while len(data) < size and (chunk := os.pread(handle, 1 << 20, len(data))):
        data += chunk
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.ftruncate(handle, whole)
    return bytes(data[:whole]).split(b"\n")[:-1]
