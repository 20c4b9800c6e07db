"""Which rows a selection means, and a page of them that costs what is shown, not what is stored."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from mailwright.spi import Selection

_FEW: Final = 50_000
"""So many rows of a state are looked through for a tag faster than all that have the tag are for the state."""


def where(selection: Selection) -> tuple[str, dict[str, Any]]:
    """A condition on rows of ``jobs``, and its values."""
    pieces, values = ["1"], dict[str, Any]()
    for name, column, chosen in (("id", "id", selection.ids), ("state", "state", selection.states)):
        if chosen:
            names = {f"{name}{index}": value for index, value in enumerate(chosen)}
            pieces.append(f"{column} IN ({', '.join(f':{key}' for key in names)})")
            values |= names
    if selection.tag is not None:
        pieces.append("id IN (SELECT job FROM job_tags WHERE tag = :tag)")
        values["tag"] = selection.tag
    if selection.older_than is not None:
        pieces.append("updated < :older")
        values["older"] = selection.older_than
    return " AND ".join(pieces), values


def statement(
    connection: sqlite3.Connection, selection: Selection, *, limit: int, before: str | None, columns: str
) -> tuple[str, dict[str, Any]]:
    """The newest rows of a selection before an id: read in the order of an index that has it, never sorted."""
    values = where(selection)[1] | {"before": before, "limit": limit}
    older = [] if selection.older_than is None else ["updated < :older"]
    ids = [] if not selection.ids else [f"id IN ({', '.join(f':id{index}' for index in range(len(selection.ids)))})"]
    if selection.tag is not None and not _few(connection, selection):
        earlier = [] if before is None else ["job < :before"]
        states = [f"state IN ({_names(selection)})"] if selection.states else []
        condition = " AND ".join(["tag = :tag", *earlier, *states, *older, *ids])
        return (
            f"SELECT {columns} FROM job_tags CROSS JOIN jobs ON id = job WHERE {condition} ORDER BY job DESC LIMIT :limit",  # noqa: S608
            values,
        )
    tagged = ["EXISTS (SELECT 1 FROM job_tags WHERE tag = :tag AND job = id)"] if selection.tag is not None else []
    rest = [*([] if before is None else ["id < :before"]), *tagged, *older, *ids]
    each = [[f"state = :state{index}", *rest] for index in range(len(selection.states))] or [rest or ["1"]]
    pages = [
        f"SELECT * FROM (SELECT {columns} FROM jobs WHERE {' AND '.join(one)} ORDER BY id DESC LIMIT :limit)"  # noqa: S608
        for one in each
    ]
    return f"{' UNION ALL '.join(pages)} ORDER BY id DESC LIMIT :limit", values


def _few(connection: sqlite3.Connection, selection: Selection) -> bool:
    """Whether the chosen states have so few rows that they are the way to a tag's."""
    if not selection.states:
        return False
    values = {f"state{index}": state for index, state in enumerate(selection.states)} | {"few": _FEW}
    counted = f"SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state IN ({_names(selection)}) LIMIT :few)"  # noqa: S608
    return int(connection.execute(counted, values).fetchone()[0]) < _FEW


def _names(selection: Selection) -> str:
    return ", ".join(f":state{index}" for index in range(len(selection.states)))
