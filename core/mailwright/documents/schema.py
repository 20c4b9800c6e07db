"""JSON Schema (draft 2020-12) of both documents, from the classes that load them and the installed plugins.

The schema describes the canonical spelling (``store_result``, not ``storeResult``). What it cannot say (whether an address is one, a
header may be set, a template compiles) loading says. Beyond the standard words it has ``x-template`` (takes ``{{ … }}``),
``x-secret``, and ``x-groups``: the groups of a rendered form with their fields, in order.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence as AbstractSequence
from enum import Enum
from pathlib import PurePath
from typing import Any, Literal, Union, get_args, get_origin

import attrs

from mailwright.documents.catalogue import Catalogue, Kind, Labelled, settings_class
from mailwright.documents.connection import LIFTED
from mailwright.documents.fields import fields, key_of
from mailwright.documents.forms import GROUPS, ConnectionForm, NodeForm
from mailwright.documents.plain import plain
from mailwright.errors import PluginError
from mailwright.model import Address, Secret, Settings

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SIMPLE: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_SAID: Schema = {
    "anyOf": [
        {"type": "string", "pattern": r"[^\s,;]"},
        {"type": "array", "contains": {"type": "string", "pattern": r"[^\s,;]"}},
    ]
}


def connection_schema(catalogue: Catalogue) -> Schema:
    """JSON Schema of connection documents.

    Args:
        catalogue: The installed plugins; one that is also `Labelled` gives titles and notes.

    Returns:
        Plain values, ready for `json.dumps`.
    """
    return {"$schema": DIALECT, "title": "Connection", **_connection(catalogue), "x-groups": _groups(ConnectionForm)}


def node_schema(catalogue: Catalogue) -> Schema:
    """JSON Schema of Send Email nodes; arguments as `connection_schema`."""
    schema = object_schema(NodeForm)
    inline = {"$ref": "#/$defs/connection"}
    name: Schema = {"type": "string", "pattern": r"\S", "title": "Name of a saved connection"}
    own = schema["properties"]
    own["connection"] |= {
        "anyOf": [name, inline, {"type": "array", "minItems": 1, "items": {"anyOf": [name, inline]}}, {"type": "null"}]
    }
    own["attachments"] |= {"anyOf": [{"type": "array", "items": _tagged(catalogue, "attachment")}, {"type": "null"}]}
    own["options"] |= _options(catalogue)
    own["store_result"]["anyOf"][0] |= {
        "if": {"properties": {"in": {"enum": ["input", "context"]}}, "required": ["in"]},
        "then": {"properties": {"key": {"minLength": 1}}, "required": ["key"]},
    }
    said = [{"properties": {key: _SAID}, "required": [key]} for key in ("to", "cc", "bcc")]
    said.append(
        {"properties": {"envelope": {"properties": {"to": _SAID}, "required": ["to"]}}, "required": ["envelope"]}
    )
    return {
        "$schema": DIALECT,
        "title": "Send Email",
        **schema,
        "anyOf": said,
        "if": {"properties": {"text": {"const": False}}, "required": ["text"]},
        "then": {"required": ["content"]},
        "$defs": {"connection": _connection(catalogue)},
        "x-groups": _groups(NodeForm),
    }


def object_schema(cls: type, *, skip: Iterable[str] = ()) -> Schema:
    """Schema of an attrs class: one property a field, nothing else allowed."""
    skipped = set(skip)
    own = [attribute for attribute in fields(cls) if attribute.name not in skipped]
    schema: Schema = {
        "type": "object",
        "properties": {key_of(attribute): _property(attribute) for attribute in own},
        "additionalProperties": False,
    }
    if required := [key_of(attribute) for attribute in own if attribute.default is attrs.NOTHING]:
        schema["required"] = required
    return schema


def _property(attribute: attrs.Attribute[Any]) -> Schema:
    metadata = attribute.metadata
    title = metadata.get("title") or key_of(attribute).replace("_", " ").capitalize()
    schema: Schema = {"title": title}
    if metadata.get("description"):
        schema["description"] = metadata["description"]
    schema |= metadata["schema"] if "schema" in metadata else type_schema(attribute.type)
    default = attribute.default
    if default is not attrs.NOTHING and isinstance(default, (str, int, float, bool, Enum)):
        schema["default"] = plain(default) if isinstance(default, Enum) else default
    if metadata.get("template"):
        schema["x-template"] = True
    if metadata.get("secret"):
        schema |= {"writeOnly": True, "x-secret": True}
    return schema


def type_schema(tp: Any) -> Schema:
    """Schema of what the strict converter takes for a type."""
    origin, arguments = get_origin(tp), get_args(tp)
    if tp in _SIMPLE:
        return {"type": _SIMPLE[tp]}
    if tp is Secret:
        return {"type": "string", "writeOnly": True, "x-secret": True}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in {Union, types.UnionType}:
        return {"anyOf": [type_schema(member) for member in arguments]}
    if origin in {dict, AbstractMapping}:
        return {"type": "object", "additionalProperties": type_schema(arguments[1])}
    if origin in {tuple, list, set, frozenset, AbstractSequence}:
        return _array(origin, arguments)
    return _class(tp) if isinstance(tp, type) else {}


def _array(origin: Any, arguments: tuple[Any, ...]) -> Schema:
    if origin is tuple and arguments[-1] is not Ellipsis:
        count = len(arguments)
        return {
            "type": "array",
            "prefixItems": [type_schema(a) for a in arguments],
            "minItems": count,
            "maxItems": count,
        }
    return {"type": "array", "items": type_schema(arguments[0])}


def _class(tp: type) -> Schema:
    if tp is Address or issubclass(tp, PurePath):
        return {"type": "string"}
    if issubclass(tp, Enum):
        return {"enum": [member.value for member in tp]}
    return object_schema(tp) if attrs.has(tp) else {}


def _known(catalogue: Catalogue, kind: Kind) -> dict[str, type[Settings]]:
    """Every name that can be used; disputed ones cannot."""
    found = {}
    for name in catalogue.names(kind):
        try:
            found[name] = settings_class(catalogue, kind, name)
        except PluginError:
            continue
    return found


def _labelled(catalogue: Catalogue, kind: Kind, name: str) -> Schema:
    title, note = catalogue.label(kind, name) if isinstance(catalogue, Labelled) else ("", "")
    return {"const": name, "title": title or name} | ({"description": note} if note else {})


def _tagged(catalogue: Catalogue, kind: Kind) -> Schema:
    """One branch for each plugin type."""
    branches = []
    for name, cls in _known(catalogue, kind).items():
        branch, label = object_schema(cls), _labelled(catalogue, kind, name)
        branch["properties"] = {"type": {"const": name}, **branch["properties"]}
        branch["required"] = ["type", *branch.get("required", ())]
        branches.append({"title": label["title"], **branch})
    return {"oneOf": branches} if branches else {"not": {}}


def _options(catalogue: Catalogue) -> Schema:
    known = {name: object_schema(cls) for name, cls in _known(catalogue, "provider").items()}
    return {"anyOf": [{"type": "object", "properties": known, "additionalProperties": False}, {"type": "null"}]}


def _connection(catalogue: Catalogue) -> Schema:
    schema = object_schema(ConnectionForm)
    providers = _known(catalogue, "provider")
    own = schema["properties"]
    choices = [_labelled(catalogue, "provider", name) for name in providers]
    rule: Schema = {"oneOf": choices} if choices else {"not": {}}
    own["provider"] |= rule
    own["provider"].pop("type", None)
    own["auth"] |= {"anyOf": [_tagged(catalogue, "auth"), {"type": "null"}]}
    own["options"] |= {"type": "object"}
    schema["allOf"] = [_provider_rules(names, cls) for cls, names in _by_class(providers).items()]
    return schema


def _by_class(providers: Mapping[str, type[Settings]]) -> dict[type[Settings], list[str]]:
    """Services that share settings share a branch."""
    found: dict[type[Settings], list[str]] = {}
    for name, cls in providers.items():
        found.setdefault(cls, []).append(name)
    return found


def _provider_rules(names: list[str], cls: type[Settings]) -> Schema:
    own = {attribute.name: attribute for attribute in fields(cls)}
    options = object_schema(cls, skip=LIFTED)
    properties: Schema = {key: False for key in ("host", "port") if key not in own}
    properties["options"] = options
    required = [key for key in LIFTED if key in own and own[key].default is attrs.NOTHING]
    if options.get("required"):
        required.append("options")
    then: Schema = {"properties": properties} | ({"required": required} if required else {})
    return {"if": {"properties": {"provider": {"enum": names}}, "required": ["provider"]}, "then": then}


def _groups(cls: type) -> list[dict[str, Any]]:
    found: dict[str, list[str]] = {}
    for attribute in fields(cls):
        found.setdefault(attribute.metadata.get("group", "service"), []).append(key_of(attribute))
    return [{"name": name, "title": title, "fields": found[name]} for name, title in GROUPS.items() if name in found]
