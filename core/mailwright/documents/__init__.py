"""Node and connection documents: JSON, TOML and YAML ⇄ models, every mistake at once, each with its path.

Documents know no plugins. They are handed a `Catalogue` of settings classes; the registry is one.
"""

from mailwright.documents.catalogue import Catalogue, Kind, Labelled
from mailwright.documents.connection import structure_connection, unstructure_connection
from mailwright.documents.node import check_connection, check_document, structure_node, unstructure_node
from mailwright.documents.reading import FORMATS, Format, parse, read
from mailwright.documents.schema import connection_schema, node_schema

__all__ = [
    "FORMATS",
    "Catalogue",
    "Format",
    "Kind",
    "Labelled",
    "check_connection",
    "check_document",
    "connection_schema",
    "node_schema",
    "parse",
    "read",
    "structure_connection",
    "structure_node",
    "unstructure_connection",
    "unstructure_node",
]
