"""Connection documents ⇄ `Connection`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from cattrs import Converter

from mailwright.documents.catalogue import Catalogue
from mailwright.documents.converter import strict_converter, structure_fields
from mailwright.documents.fields import fields, is_default, key_of
from mailwright.documents.forms import ConnectionForm
from mailwright.documents.kinds import wrong
from mailwright.documents.plain import plain, plain_fields
from mailwright.documents.problems import Collector, Invalid, point_at_field
from mailwright.documents.tagged import find, plain_tagged, structure_tagged
from mailwright.errors import DocumentError, MailwrightError
from mailwright.model import Connection, Limits, Settings, Timeouts, Trust

LIFTED = ("host", "port", "tls")
"""Settings of a provider that stand at the top level of the document."""


def structure_connection(
    document: Mapping[str, Any], catalogue: Catalogue, *, trust: Trust = "own", source: str = ""
) -> Connection:
    """Load a connection document.

    Args:
        document: Plain values, as from `parse`.
        catalogue: Settings classes of the installed plugins.
        trust: ``untrusted`` documents may not define connections at all.
        source: What to call it in errors.

    Returns:
        The connection.

    Raises:
        DocumentError: With every mistake.
    """
    collect = Collector()
    connection = None
    try:
        connection = build_connection(document, catalogue, strict_converter(trust), trust=trust)
    except Invalid as error:
        collect.take(error)
    if connection is None or collect:
        raise DocumentError(collect.problems(), source=source)
    return connection


def build_connection(document: object, catalogue: Catalogue, converter: Converter, *, trust: Trust) -> Connection:
    """As `structure_connection`; raises `Invalid`, for use inside other documents."""
    collect = Collector()
    if trust == "untrusted":
        collect.add("untrusted", "a document that is not trusted names a saved connection; it cannot define one")
    values, written = structure_fields(converter, ConnectionForm, document, collect, skip=("auth", "options"))
    auth = None
    if "auth" in written and written["auth"][1] is not None:
        try:
            auth = structure_tagged(converter, written["auth"][1], "auth", catalogue)
        except (Invalid, MailwrightError) as error:
            collect.take(error, "auth")
    settings = None
    if "provider" in values:
        try:
            settings = _provider_settings(values, written, catalogue, converter)
        except Invalid as error:
            collect.take(error)
    collect.raise_any()
    return _assemble(values, settings or Settings(), auth)


def _provider_settings(
    values: Mapping[str, Any], written: Mapping[str, tuple[str, Any]], catalogue: Catalogue, converter: Converter
) -> Settings:
    """Of the top level (host, port, tls) and ``options``."""
    cls = find(catalogue, "provider", values["provider"], "provider")
    own = {attribute.name: attribute for attribute in fields(cls)}
    collect = Collector()
    lifted = _lifted(values, written, own, collect)
    options = written.get("options", ("options", {}))[1]
    if not isinstance(options, Mapping):
        collect.take(wrong("an object", options), "options")
        options = {}
    for name in LIFTED:
        if name in own and name in options:
            collect.add("not-here", "belongs to the top level of the connection", "options", name)
    inner = Collector()
    skip = tuple(name for name in LIFTED if name in own)
    found, inner_written = structure_fields(converter, cls, options, inner, skip=skip, extra=skip)
    try:
        inner.raise_any()
    except Invalid as error:
        collect.take(error, "options")
    collect.raise_any()
    if any(name in own and name in written and name not in values for name in LIFTED):
        return Settings()  # its mistake is told by the top level
    try:
        return cls(**found, **lifted)
    except (ValueError, TypeError, MailwrightError) as error:
        spelled = {name: inner_written.get(key_of(item), (key_of(item),))[0] for name, item in own.items()}
        invalid = point_at_field(error, spelled)
        first = invalid.found[0][1][:1]
        raise (invalid if not first or first[0] in LIFTED else invalid.below("options")) from None


def _lifted(
    values: Mapping[str, Any], written: Mapping[str, Any], own: Mapping[str, attrs.Attribute[Any]], collect: Collector
) -> dict[str, Any]:
    """Settings of the provider that stand at the top level."""
    provider = values["provider"]
    for name in ("host", "port"):
        if name in written and name not in own:
            collect.add("not-here", f"only provider 'smtp' takes it; {provider!r} knows its own", name)
    for name in LIFTED:
        if name in own and name not in written and own[name].default is attrs.NOTHING:
            collect.add("missing", f"missing: provider {provider!r} needs it", name)
    return {name: values[name] for name in LIFTED if name in own and name in values}


def _assemble(values: dict[str, Any], settings: Settings, auth: tuple[str, Settings] | None) -> Connection:
    values = {name: value for name, value in values.items() if name not in {"host", "port", "auth", "options"}}
    if (limits := values.pop("limits", None)) is not None:
        values["limits"] = Limits(**attrs.asdict(limits, recurse=False))
    if (timeouts := values.pop("timeouts", None)) is not None:
        values["timeouts"] = Timeouts(**attrs.asdict(timeouts, recurse=False))
    if (capabilities := values.pop("capabilities", None)) is not None:
        values["mask"] = frozenset(word.upper() for word in capabilities.mask)
    if "labels" in values:
        values["labels"] = tuple(values["labels"].items())
    return Connection(settings=settings, auth=auth, **values)


def unstructure_connection(connection: Connection, *, mask_secrets: bool = False) -> dict[str, Any]:
    """The document of a connection; defaults are left out.

    Args:
        connection: What to save.
        mask_secrets: Show literal secrets as ``***``. Without it the document loads again as the same connection.

    Returns:
        Plain values for JSON, TOML or YAML.
    """
    document = plain_fields(connection, skip=("settings", "auth", "mask", "labels", "limits"))
    settings = connection.settings
    own = attrs.fields_dict(type(settings))
    lifted = {
        name: getattr(settings, name)
        for name in LIFTED
        if name in own and not is_default(own[name], getattr(settings, name))
    }
    document = {**lifted, **document}
    if options := plain_fields(settings, skip=LIFTED):
        document["options"] = options
    if connection.auth is not None:
        document["auth"] = plain_tagged(*connection.auth)
    if connection.limits is not None:
        document["limits"] = plain(connection.limits)
    if connection.mask:
        document["capabilities"] = {"mask": sorted(connection.mask)}
    if connection.labels:
        document["labels"] = dict(connection.labels)
    if mask_secrets:
        _mask(document, connection)
    order = [key_of(attribute) for attribute in fields(ConnectionForm)]
    return {name: document[name] for name in order if name in document}


def _mask(document: dict[str, Any], connection: Connection) -> None:
    from mailwright.model import Secret  # noqa: PLC0415 - with its only user

    for part, settings in (("options", connection.settings), ("auth", connection.auth[1] if connection.auth else None)):
        for attribute in fields(type(settings)) if settings is not None else ():
            secret = isinstance(getattr(settings, attribute.name), Secret) or attribute.metadata.get("secret")
            if secret and key_of(attribute) in document.get(part, {}):
                document[part][key_of(attribute)] = "***"
    if "proxy" in document and "@" in document["proxy"]:
        scheme, _, rest = document["proxy"].partition("://")
        document["proxy"] = f"{scheme}://***@{rest.rpartition('@')[2]}"
