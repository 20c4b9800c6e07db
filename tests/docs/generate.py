"""Pages of the reference that are made from the code: `python tests/docs/generate.py` writes them, a test compares."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import attrs

import mailwright
from mailwright import Registry, connection_schema, errors, hookspecs, http_api, node_schema, ports, spi

sys.path.insert(0, str(Path(__file__).parent))
import plugin_page

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
NOTE = "<!-- made by tests/docs/generate.py; do not edit -->"


def documents() -> str:
    """Every key of both documents."""
    registry = Registry(installed=False)  # whatever else is installed beside us does not belong into our page
    page = [
        "# Documents",
        NOTE,
        (
            "Both documents are JSON, TOML, YAML or a mapping. Every key may also be written in camelCase; both spellings of one "
            "key at once are an error. Unknown keys are refused. Fields marked *template* take `{{ … }}`."
        ),
    ]
    for title, schema in (
        ("Send Email node", node_schema(registry=registry)),
        ("Connection", connection_schema(registry=registry)),
    ):
        page.append(f"## {title}")
        for group in schema["x-groups"]:
            page.append(f"### {title}: {group['title'].lower()}")
            page.append(_table({key: schema["properties"][key] for key in group["fields"]}))
        for key, heading in (("attachments", "Attachments by type"), ("auth", "Authentication by type")):
            if key in schema["properties"]:
                page.append(f"### {heading}")
                page += _branches(schema["properties"][key])
        if "provider" in schema["properties"]:
            page.append("### Services")
            rows = ["| provider | service | note |", "|---|---|---|"]
            rows += [
                f"| `{choice['const']}` | {choice['title']} | {choice.get('description', '')} |"
                for choice in schema["properties"]["provider"]["oneOf"]
            ]
            page.append("\n".join(rows))
    return "\n\n".join(page) + "\n"


def _branches(rule: dict[str, Any]) -> list[str]:
    branches = _kinds(rule)
    found = []
    for branch in branches:
        own = dict(branch["properties"])
        name = own.pop("type")["const"]
        required = set(branch.get("required", ()))
        found.append(f"`{name}` — {branch['title']}\n\n{_table(own, required)}")
    return found


def _kinds(rule: dict[str, Any]) -> list[dict[str, Any]]:
    """The first choice of objects, however deep it stands."""
    if "oneOf" in rule:
        found: list[dict[str, Any]] = rule["oneOf"]
        return found
    inner = [*rule.get("anyOf", ()), *([rule["items"]] if "items" in rule else [])]
    return next((kinds for each in inner if (kinds := _kinds(each))), [])


def _table(properties: dict[str, Any], required: Collection[str] = ()) -> str:
    rows = ["| key | takes | default | says |", "|---|---|---|---|"]
    return "\n".join(rows + _rows(properties, "", required))


def _rows(properties: dict[str, Any], prefix: str, required: Collection[str] = ()) -> list[str]:
    rows = []
    for key, rule in properties.items():
        default = (
            f"`{json.dumps(rule['default'], ensure_ascii=False)}`" if rule.get("default") not in {None, ""} else ""
        )
        default = "required" if key in required else default
        marks = [name for name, mark in (("template", "x-template"), ("secret", "x-secret")) if rule.get(mark)]
        says = ". ".join(
            filter(None, (rule.get("description") or rule.get("title", ""), *(f"*{mark}*" for mark in marks)))
        )
        says = says.replace("|", "\\|")
        rows.append(f"| `{prefix}{key}` | {_takes(rule)} | {default} | {says} |")
        inner = next((each for each in (rule, *rule.get("anyOf", ())) if each.get("properties")), None)
        if inner is not None and "oneOf" not in inner and key != "options":
            rows += _rows(inner["properties"], f"{prefix}{key}.")
    return rows


def _takes(rule: dict[str, Any]) -> str:
    if "enum" in rule:
        return " \\| ".join(f"`{value}`" for value in rule["enum"])
    if "const" in rule:
        return f"`{json.dumps(rule['const'])}`"
    if "oneOf" in rule:
        return "a choice, see below"
    if "$ref" in rule:
        return "a connection document"
    if "anyOf" in rule:
        return " or ".join(dict.fromkeys(_takes(each) for each in rule["anyOf"] if each.get("type") != "null"))
    words = {"string": "text", "integer": "whole number", "boolean": "true or false", "object": "mapping"}
    if rule.get("type") == "array":
        return f"list of {_takes(rule.get('items', {}))}"
    return words.get(str(rule.get("type")), str(rule.get("type", "any")))


def api() -> str:
    """Every public name with its docstring."""
    page = ["# Python API", NOTE, "`from mailwright import …`. Names load when they are first used."]
    page += [_entry(name, getattr(mailwright, name)) for name in sorted(mailwright.__all__, key=str.lower)]
    for module, title in ((spi, "`mailwright.spi`: for plugins"), (ports, "`mailwright.ports`: what is handed in")):
        page.append(f"## {title}")
        page += [_entry(name, value, level=3) for name, value in _own(module)]
    page.append("## `mailwright.http_api`: transports over HTTP")
    page += [_entry(name, getattr(http_api, name), level=3) for name in http_api.__all__]
    page.append("## `mailwright.errors`")
    page.append("\n".join(f"- `{name}`: {_summary(value)}" for name, value in _own(errors)))
    return "\n\n".join(page) + "\n"


RECORDS, BEFORE, OBSERVERS = "Records", "Before a message leaves", "Observers"
HOOK_KINDS = {
    RECORDS: (
        "Called once, when something of the kind is first looked up. A plugin yields records from `mailwright.spi`; one that "
        "raises, or yields anything else, is left out and named by `mailwright plugins`."
    ),
    BEFORE: (
        "Sync or async. They may replace what they are given, by returning another, or forbid the message by raising `Veto`. "
        "Several run one after another, each given what the one before left; `@hookimpl(tryfirst=True)` and "
        "`@hookimpl(trylast=True)` order them. A sync hook runs in a thread. A hook that raises anything else, returns anything "
        "else, or takes more than ten seconds stops the message: what a signer or a guard was to do has not been done."
    ),
    OBSERVERS: "Sync or async, under the same limit. They change nothing; what they raise is logged.",
}


def hooks() -> str:
    """Every hook from its specification."""
    page = [
        "# Hooks",
        NOTE,
        (
            "A plugin is a module (or any object) whose functions carry `@hookimpl` from `mailwright`. An implementation takes any "
            "of the arguments below, by name; a name that is not there keeps the plugin from loading. `MAILWRIGHT_TRACE_PLUGINS=1` "
            "logs each call with its time and the types of its arguments. [Hook into sending](../how-to/hook-into-sending.md) has "
            "examples."
        ),
    ]
    found: dict[str, list[str]] = {kind: [] for kind in HOOK_KINDS}
    for name, function in vars(hookspecs).items():
        if name.startswith("mailwright_"):
            arguments = ", ".join(inspect.signature(function).parameters)
            kind = BEFORE if "_before_" in name else OBSERVERS if arguments else RECORDS
            shown = f"```text\n@hookimpl\ndef {name}({arguments})\n```"
            found[kind].append(f"### {name}\n\n{shown}\n\n{_text(inspect.getdoc(function) or '')}")
    for kind, entries in found.items():
        page += [f"## {kind}", HOOK_KINDS[kind], *entries]
    return "\n\n".join(page) + "\n"


def _own(module: Any) -> list[tuple[str, Any]]:
    """Its classes, file by file in the order of the source."""
    found = [
        (name, value)
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and f"{value.__module__}.".startswith(f"{module.__name__}.")
        and not name.startswith("_")
    ]
    return sorted(found, key=lambda own: (own[1].__module__, inspect.getsourcelines(own[1])[1]))


def _entry(name: str, value: Any, *, level: int = 2) -> str:
    lines = [f"{'#' * level} {name}"]
    if inspect.isclass(value) or inspect.isroutine(value):
        shown = _signature(name, value)
        lines += [f"```text\n{shown}\n```"] if shown else []
    lines.append(_text(inspect.getdoc(value) or ""))
    if inspect.isclass(value):
        lines += _members(value)
    return "\n\n".join(filter(None, lines))


def _signature(name: str, value: Any) -> str:
    if inspect.isclass(value) and (getattr(value, "_is_protocol", False) or issubclass(value, BaseException)):
        return ""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    pieces = []
    seen_keyword = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not seen_keyword:
            seen_keyword = True
            pieces.append("*")
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = "" if parameter.default is parameter.empty or star else "=…"
        if isinstance(parameter.default, (str, int, float, bool, type(None))):
            default = f"={parameter.default!r}"
        pieces.append(f"{star}{parameter.name}{default}")
    line = f"{name}({', '.join(pieces)})"
    return line if len(line) <= 100 else f"{name}(\n    " + ",\n    ".join(pieces) + ",\n)"


def _members(value: type) -> list[str]:
    fields = {field.name for field in attrs.fields(value)} if attrs.has(value) else set()
    found = []
    for name, member in vars(value).items():
        if name.startswith("_") or name in fields:
            continue
        function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        if isinstance(member, property):
            found.append(f"- `.{name}`: {_summary(member)}")
        elif inspect.isfunction(function):
            prefix = "await " if inspect.iscoroutinefunction(function) else ""
            shown = re.sub(r"\s+", " ", _signature(name, function)).replace("(self, ", "(").replace("(self)", "()")
            found.append(f"- `{prefix}.{shown.replace('(cls, ', '(')}`: {_summary(function)}")
    return ["\n".join(found)] if found else []


def _summary(value: Any) -> str:
    return re.sub(r"\s+", " ", (inspect.getdoc(value) or "").partition("\n\n")[0]).replace("``", "`")


def _text(doc: str) -> str:
    """Google style → Markdown."""
    out: list[str] = []
    for block in doc.replace("``", "`").split("\n\n"):
        head, _, rest = block.partition("\n")
        if head in {"Args:", "Attributes:", "Returns:", "Raises:", "Yields:"}:
            entries = re.split(r"\n(?=    \S)", "\n" + rest)[1:] if rest else []
            items = [re.sub(r"\s+", " ", entry).strip() for entry in entries]
            out.append(f"*{head[:-1]}*\n\n" + "\n".join(f"- {_named(item)}" for item in items))
        else:
            out.append(block)
    return "\n\n".join(out)


def _named(item: str) -> str:
    name, colon, text = item.partition(": ")
    return f"`{name}`: {text}" if colon and re.fullmatch(r"[\w, ]+", name) else item


def plugins() -> str:
    """The page as it stands, with the table of built-ins made again."""
    head, begin, rest = (REFERENCE / "plugins.md").read_text().partition(plugin_page.BEGIN)
    return head + begin + plugin_page.built_in() + plugin_page.END + rest.partition(plugin_page.END)[2]


PAGES = {"documents.md": documents, "api.md": api, "hooks.md": hooks, "plugins.md": plugins}

if __name__ == "__main__":
    for file_name, make in PAGES.items():
        (REFERENCE / file_name).write_text(make(), encoding="utf-8")
        sys.stdout.write(f"{file_name}\n")
