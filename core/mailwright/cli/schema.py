"""`mailwright schema`: what forms and editors need."""

from __future__ import annotations

from typing import Literal

from mailwright import connection_schema, node_schema
from mailwright.cli.output import DELIVERED, show_json


def run(kind: Literal["node", "connection"]) -> int:
    """The JSON Schema on stdout."""
    show_json(node_schema() if kind == "node" else connection_schema())
    return DELIVERED
