"""Node documents ⇄ `NodeDocument`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cattrs import Converter

from mailwright.documents.catalogue import Catalogue
from mailwright.documents.connection import build_connection, unstructure_connection
from mailwright.documents.converter import strict_converter, structure_class, structure_fields
from mailwright.documents.fields import fields, key_of
from mailwright.documents.forms import NodeForm
from mailwright.documents.kinds import kind_of, wrong
from mailwright.documents.plain import plain, plain_fields
from mailwright.documents.problems import Collector, Invalid
from mailwright.documents.tagged import find, plain_tagged, structure_tagged
from mailwright.errors import DocumentError, MailwrightError, Problem
from mailwright.model import Connection, ContentSource, NodeDocument, Settings, StoreResult, Trust

_APART = ("connection", "attachments", "options")


def structure_node(
    document: Mapping[str, Any],
    catalogue: Catalogue,
    *,
    trust: Trust = "own",
    files: bool | None = None,
    source: str = "",
) -> NodeDocument:
    """Load a node document.

    Args:
        document: Plain values, as from `parse`.
        catalogue: Settings classes of the installed plugins.
        trust: What it may name: see `docs/explanation`.
        files: Whether attachments may be files (the resolver keeps them below its root); default: only when trusted.
        source: What to call it in errors.

    Returns:
        The node, templates not rendered.

    Raises:
        DocumentError: With every mistake.
    """
    collect, built = Collector(), None
    try:
        built = _build(
            document, catalogue, strict_converter(trust), trust, files=trust == "own" if files is None else files
        )
    except Invalid as error:
        collect.take(error)
    if built is None:
        raise DocumentError(collect.problems(), source=source)
    return built


def check_document(
    document: Mapping[str, Any], catalogue: Catalogue, *, trust: Trust = "own", files: bool | None = None
) -> list[Problem]:
    """Every mistake of a node document; empty: it loads."""
    try:
        structure_node(document, catalogue, trust=trust, files=files)
    except DocumentError as error:
        return list(error.problems)
    return []


def check_connection(document: Mapping[str, Any], catalogue: Catalogue, *, trust: Trust = "own") -> list[Problem]:
    """Every mistake of a connection document; empty: it loads."""
    try:
        build_connection(document, catalogue, strict_converter(trust), trust=trust)
    except Invalid as error:
        collect = Collector()
        collect.take(error)
        return collect.problems()
    return []


def _build(document: object, catalogue: Catalogue, converter: Converter, trust: Trust, *, files: bool) -> NodeDocument:
    collect = Collector()
    values, written = structure_fields(converter, NodeForm, document, collect, skip=_APART)
    for name, build in (
        ("connection", lambda raw: _connections(raw, catalogue, converter, trust)),
        ("attachments", lambda raw: _attachments(raw, catalogue, converter, files=files)),
        ("options", lambda raw: _options(raw, catalogue, converter, trust)),
    ):
        if name in written and written[name][1] is not None:
            try:
                values[name] = build(written[name][1])
            except (Invalid, MailwrightError) as error:
                collect.take(error, written[name][0])
    _recipients(values, written, collect)
    _store(values, written, collect)
    if values.get("text") is False and not values.get("content") and "content" not in written:
        collect.add("contradiction", "false means HTML only, but there is no content", written["text"][0])
    if (envelope := values.pop("envelope", None)) is not None:
        values["envelope"] = {"from": envelope.from_ or None, "to": envelope.to}
    if isinstance(values.get("content"), ContentSource) and values["content"].file and not files:
        collect.add("untrusted", "a document that is not trusted may not name files", written["content"][0], "file")
    collect.raise_any()
    values["store_result"] = _store_result(values.pop("store_result", None))
    return NodeDocument(**values, trust=trust)


def _recipients(values: Mapping[str, Any], written: Mapping[str, Any], collect: Collector) -> None:
    if any(name in written and name not in values for name in ("to", "cc", "bcc", "envelope")):
        return  # told already
    envelope = values.get("envelope")
    if not any(_said(values.get(name, ())) for name in ("to", "cc", "bcc")) and not (envelope and _said(envelope.to)):
        collect.add("missing", "no recipient: give at least one address in to, cc or bcc", "to")


def _said(value: str | tuple[str, ...]) -> bool:
    return bool(value.strip(" ,;") if isinstance(value, str) else any(text.strip(" ,;") for text in value))


def _store(values: Mapping[str, Any], written: Mapping[str, Any], collect: Collector) -> None:
    form = values.get("store_result")
    if form is not None and form.in_ != "none" and not form.key:
        message = f"missing: the dotted key in {form.in_} where the result is stored, such as mail.result"
        collect.add("missing", message, written["store_result"][0], "key")


def _store_result(form: Any) -> StoreResult:
    return StoreResult() if form is None else StoreResult(in_=form.in_, key=form.key)


def _connections(raw: object, catalogue: Catalogue, converter: Converter, trust: Trust) -> tuple[str | Connection, ...]:
    if not isinstance(raw, (list, tuple)):
        return (_connection(raw, catalogue, converter, trust),)
    if not raw:
        raise Invalid(("empty", (), "an empty list; name a connection"))
    found, collect = [], Collector()
    for index, item in enumerate(raw):
        try:
            found.append(_connection(item, catalogue, converter, trust))
        except (Invalid, MailwrightError) as error:
            collect.take(error, index)
    collect.raise_any()
    return tuple(found)


def _connection(raw: object, catalogue: Catalogue, converter: Converter, trust: Trust) -> str | Connection:
    if isinstance(raw, str):
        if not raw.strip():
            raise Invalid(("empty", (), "empty: name a saved connection, or write one here"))
        return raw
    if isinstance(raw, Connection) and trust == "own":
        return raw
    if isinstance(raw, (Mapping, Connection)):
        return build_connection(raw, catalogue, converter, trust=trust)
    raise Invalid(("wrong-type", (), f"a name, a connection, or a list of them, not {kind_of(raw)}"))


def _attachments(
    raw: object, catalogue: Catalogue, converter: Converter, *, files: bool
) -> tuple[tuple[str, Settings], ...]:
    if not isinstance(raw, (list, tuple)):
        raise wrong("a list of attachments", raw)
    found, collect = [], Collector()
    for index, item in enumerate(raw):
        if isinstance(item, Mapping) and item.get("type") == "file" and not files:
            collect.add("untrusted", "a document that is not trusted may not attach files", index, "type")
            continue
        try:
            found.append(structure_tagged(converter, item, "attachment", catalogue))
        except (Invalid, MailwrightError) as error:
            collect.take(error, index)
    collect.raise_any()
    return tuple(found)


def _options(raw: object, catalogue: Catalogue, converter: Converter, trust: Trust) -> dict[str, Settings]:
    if not isinstance(raw, Mapping):
        raise wrong("an object", raw)
    if trust == "untrusted" and raw:
        raise Invalid(("untrusted", (), "a document that is not trusted may not set a provider's options"))
    found, collect = dict[str, Settings](), Collector()
    for name, item in raw.items():
        try:
            if type(name) is not str:
                raise wrong("text", name)
            found[name] = structure_class(converter, find(catalogue, "provider", name), item)
        except (Invalid, MailwrightError) as error:
            collect.take(error, str(name))
    collect.raise_any()
    return found


def unstructure_node(document: NodeDocument, *, mask_secrets: bool = False) -> dict[str, Any]:
    """The document of a node; defaults are left out.

    Args:
        document: What to save.
        mask_secrets: As in `unstructure_connection`, for inline connections.

    Returns:
        Plain values for JSON, TOML or YAML.
    """
    apart = ("connection", "attachments", "options", "trust", "root", "envelope")
    found = plain_fields(document, skip=apart)
    if connections := [_plain_connection(item, mask_secrets=mask_secrets) for item in document.connection]:
        found["connection"] = connections[0] if len(connections) == 1 else connections
    if document.attachments:
        found["attachments"] = [plain_tagged(name, settings) for name, settings in document.attachments]
    if document.options:
        found["options"] = {name: plain(settings) for name, settings in document.options.items()}
    if document.envelope is not None:
        found["envelope"] = {name: plain(value) for name, value in document.envelope.items() if value}
    order = [key_of(attribute) for attribute in fields(NodeForm)]
    return {name: found[name] for name in order if name in found}


def _plain_connection(item: str | Connection, *, mask_secrets: bool) -> Any:
    return item if isinstance(item, str) else unstructure_connection(item, mask_secrets=mask_secrets)
