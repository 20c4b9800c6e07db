"""Text → plain values. JSON, TOML and YAML say the same; what one parser would let pass silently is refused in all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, NoReturn

from mailwright.errors import DocumentError, Problem

Format = Literal["json", "toml", "yaml"]
FORMATS: dict[str, Format] = {".json": "json", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}


def parse(text: str, format: Format, *, source: str = "") -> dict[str, Any]:  # noqa: A002 - the word users know
    """Read one document.

    Args:
        text: The document.
        format: ``json``, ``toml`` or ``yaml``.
        source: What to call it in errors.

    Returns:
        Plain dictionaries, lists, text, numbers.

    Raises:
        DocumentError: For a syntax error, with line and column; for a key written twice; when it is not an object.
    """
    readers = {"json": _json, "toml": _toml, "yaml": _yaml}
    if format not in readers:
        _refuse("format", f"{format!r} is not a format: json, toml or yaml", source)
    try:
        value = readers[format](text.removeprefix("\ufeff"))
    except _Duplicate as error:
        _refuse("duplicate-key", f"the key {error.args[0]!r} is written twice{error.args[1]}", source)
    except RecursionError:
        _refuse("syntax", "nested too deeply", source)
    except ValueError as error:
        _refuse("syntax", f"not {format.upper()}: {error}", source)
    if not isinstance(value, dict):
        _refuse("wrong-type", "a document is an object with keys such as 'to' and 'subject'", source)
    return value


def read(path: str | Path) -> dict[str, Any]:
    """Read a document file; its suffix tells the format.

    Raises:
        DocumentError: When it cannot be read, or as `parse`.
    """
    file = Path(path)
    name = file.name or str(path)
    try:
        octets = file.read_bytes()
    except (OSError, ValueError) as error:
        _refuse("unreadable", f"cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}", name)
    format_ = FORMATS.get(file.suffix.lower())
    if format_ is None:
        _refuse("format", f"the suffix {file.suffix!r} is not one of {', '.join(FORMATS)}", name)
    try:
        text = octets.decode()
    except UnicodeDecodeError as error:
        _refuse("syntax", f"not UTF-8: octet {error.start}; save the file as UTF-8", name)
    return parse(text, format_, source=name)


def _refuse(code: str, message: str, source: str) -> NoReturn:
    raise DocumentError([Problem(code=code, path="$", message=message)], source=source) from None


class _Duplicate(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Duplicate(key, "")
        found[key] = value
    return found


def _constant(name: str) -> NoReturn:
    msg = f"{name} is not a JSON number"
    raise ValueError(msg)


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_constant)


def _toml(text: str) -> Any:
    import tomllib  # noqa: PLC0415 - only for this format

    return tomllib.loads(text)


def _yaml(text: str) -> Any:
    import yaml  # noqa: PLC0415 - only for this format

    class Loader(yaml.SafeLoader):
        """PyYAML lets the last of two equal keys win."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key_node, _ in node.value:
                if isinstance(key_node, yaml.ScalarNode) and key_node.tag != "tag:yaml.org,2002:merge":
                    if key_node.value in seen:
                        raise _Duplicate(key_node.value, f" (line {key_node.start_mark.line + 1})")
                    seen.add(key_node.value)
            return super().construct_mapping(node, deep=deep)

    try:
        return yaml.load(text, Loader=Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        msg = f"{error.problem or error.context or 'malformed'}{where}"
        raise ValueError(msg) from None
    except yaml.YAMLError as error:
        msg = str(error).splitlines()[0]
        raise ValueError(msg) from None
