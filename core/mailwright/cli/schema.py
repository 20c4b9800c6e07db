"""`mailwright schema`: what forms and editors need."""

from __future__ import annotations

from typing import Literal

from mailwright.cli.output import DELIVERED, show_json
from mailwright.documents import connection_schema, node_schema
from mailwright.registry import default_registry


def run(kind: Literal["node", "connection"]) -> int:
    """The JSON Schema on stdout."""
    registry = default_registry()
    show_json(node_schema(registry) if kind == "node" else connection_schema(registry))
    return DELIVERED
