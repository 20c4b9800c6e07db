"""Rows of ``--each``: CSV or JSON lines, one state each, counted and fingerprinted before the first is sent."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from mailwright import FlowState
from mailwright.errors import ConfigurationError


@frozen(kw_only=True)
class Rows:
    """A file of rows.

    Attributes:
        path: The file.
        fingerprint: SHA-256 of it: a run is gone on with only over the same rows.
        about: Lines in it, for a progress bar.
    """

    path: Path
    fingerprint: str
    about: int

    @classmethod
    def of(cls, path: Path) -> Rows:
        """Look a file over.

        Raises:
            ConfigurationError: When it cannot be read, or is neither ``.csv`` nor ``.jsonl``.
        """
        if path.suffix.lower() not in {".csv", ".jsonl", ".ndjson"}:
            msg = f"--each: {path.name}: rows are *.csv or *.jsonl"
            raise ConfigurationError(msg)
        digest, lines = hashlib.sha256(), 0
        try:
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
                    lines += chunk.count(b"\n")
        except OSError as error:
            msg = f"--each: {path.name}: {error.strerror or error}"
            raise ConfigurationError(msg) from None
        return cls(path=path, fingerprint=digest.hexdigest(), about=max(lines - (path.suffix.lower() == ".csv"), 1))

    def states(self, common: FlowState) -> Iterator[tuple[int, FlowState]]:
        """Number (from 1) and state of each row; a row's values come before those all rows share.

        A CSV row is ``input`` by its header. A line of JSON is ``input`` too, unless its only keys are ``input`` and
        ``context``.

        Raises:
            ConfigurationError: Names the line that is no row.
        """
        read = self._csv() if self.path.suffix.lower() == ".csv" else self._json()
        try:
            for number, row in enumerate(read, 1):
                whole = row.keys() <= {"input", "context"} and all(isinstance(v, Mapping) for v in row.values()) and row
                given = row if whole else {"input": row}
                yield (
                    number,
                    FlowState(
                        input={**common.input, **given.get("input", {})},
                        context={**common.context, **given.get("context", {})},
                    ),
                )
        except UnicodeDecodeError:
            msg = f"--each: {self.path.name}: not UTF-8; save the file as UTF-8"
            raise ConfigurationError(msg) from None

    def _csv(self) -> Iterator[dict[str, Any]]:
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=_delimiter(self.path), strict=True)
            try:
                header = [name.strip() for name in next(reader, [])]
                if not all(header) or len(set(header)) != len(header):
                    msg = f"--each: {self.path.name}: the first line names the columns, each once"
                    raise ConfigurationError(msg)
                for cells in reader:
                    if not cells:
                        continue
                    if len(cells) != len(header):
                        msg = (
                            f"--each: {self.path.name}, line {reader.line_num}: {len(cells)} cells, "
                            f"but the first line names {len(header)} columns"
                        )
                        raise ConfigurationError(msg)
                    yield dict(zip(header, cells, strict=True))
            except csv.Error as error:
                msg = f"--each: {self.path.name}, line {reader.line_num}: {error}"
                raise ConfigurationError(msg) from None

    def _json(self) -> Iterator[dict[str, Any]]:
        with self.path.open(encoding="utf-8-sig") as file:
            for line, text in enumerate(file, 1):
                if not text.strip():
                    continue
                try:
                    row = json.loads(text)
                except (ValueError, RecursionError) as error:
                    msg = f"--each: {self.path.name}, line {line}: not JSON: {error}"
                    raise ConfigurationError(msg) from None
                if not isinstance(row, dict):
                    msg = f"--each: {self.path.name}, line {line}: a row is an object"
                    raise ConfigurationError(msg)
                yield row


def _delimiter(path: Path) -> str:
    """The commonest of the usual ones in the first line; spreadsheets of half the world write semicolons."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline(100_000)
    return max(",;\t", key=first.count)
