"""Values of single fields: raw → checked, together with the JSON Schema that says the same."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from mailwright.documents import units
from mailwright.documents.converter import TEMPLATE_MARK
from mailwright.documents.kinds import kind_of, one_of, wrong
from mailwright.documents.problems import Collector, Invalid
from mailwright.errors import MailwrightError
from mailwright.model import Address, ContentSource
from mailwright.model.address import addresses
from mailwright.model.text import check_header

_ORIGINAL_TLS: Final = {"implicit": "tls"}
_RESULT_KEY = re.compile(r"[^\W\d][\w-]*(?:\.[\w-]+)*")
RESULT_KEY_PATTERN = r"^([^\W\d][\w-]*(\.[\w-]+)*)?$"


def between(low: int, high: int) -> dict[str, Any]:
    """Metadata of a whole number with bounds."""

    def parse(value: object) -> int:
        if type(value) is not int:
            raise wrong("a whole number", value)
        if not low <= value <= high:
            raise Invalid(("out-of-range", (), f"{value} is not between {low} and {high}"))
        return value

    return {"parse": parse, "schema": {"type": "integer", "minimum": low, "maximum": high}}


def _seconds(value: object) -> float:
    if type(value) not in {int, float}:
        raise wrong("a number of seconds", value)
    if not 0 < value <= 86400:  # type: ignore[operator]
        raise Invalid(("out-of-range", (), f"{value} is not between 0 and 86400 seconds"))
    return float(value)  # type: ignore[arg-type]


SECONDS = {"parse": _seconds, "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": 86400}}
SIZE = {
    "parse": units.size,
    "schema": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": units.SIZE_PATTERN}]},
}
RATE = {
    "parse": units.rate,
    "schema": {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": units.RATE_PATTERN}]},
}


def matching(pattern: str, says: str) -> dict[str, Any]:
    """Metadata of text of one form."""
    compiled = re.compile(pattern)

    def parse(value: object) -> str:
        if type(value) is not str:
            raise wrong("text", value)
        if not compiled.search(value):
            raise Invalid(("invalid-value", (), says))
        return value

    return {"parse": parse, "schema": {"type": "string", "pattern": pattern}}


def tls(value: object) -> str:
    """A TLS choice; ``implicit`` is the original's word for ``tls``."""
    value = _ORIGINAL_TLS.get(value, value) if isinstance(value, str) else value
    return str(one_of(value, ("tls", "starttls", "none")))


def one_address(value: object) -> Address:
    """Exactly one mailbox."""
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise wrong("text", value)
    return Address.parse(value)


def _several(value: object, what: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, (list, tuple)):
        raise wrong("text or a list of text", value)
    bad = tuple(
        ("wrong-type", (index,), f"text, not {kind_of(item)}")
        for index, item in enumerate(value)
        if type(item) is not str
    )
    if bad:
        raise Invalid(*bad)
    if not value:
        raise Invalid(("empty", (), f"an empty list; give {what}, or leave the key out"))
    return tuple(value)


def some_addresses(value: object) -> tuple[Address, ...]:
    """At least one mailbox."""
    found = addresses(_several(value, "an address"))
    if not found:  # an empty list would let everything through
        raise Invalid(("empty", (), "no address; name one, or leave the key out"))
    return found


def allowed(value: object) -> tuple[str, ...]:
    """Addresses and domains."""
    items = _several(value, "an address or a domain")
    bad = tuple(
        (
            "invalid-value",
            (index,) if not isinstance(value, str) else (),
            f"{item!r} is neither an address nor a domain",
        )
        for index, item in enumerate(items)
        if not re.fullmatch(r"@?[^\s@]+|[^\s@]+@[^\s@]+", item)
    )
    if bad:
        raise Invalid(*bad)
    return items


def hosts(value: object) -> tuple[str, ...]:
    """Host names, addresses and networks."""
    items = _several(value, "a host name or a network")
    bad = tuple(
        (
            "invalid-value",
            (index,) if not isinstance(value, str) else (),
            f"{item!r} is neither a host name nor a network such as 10.1.0.0/16",
        )
        for index, item in enumerate(items)
        if not _is_host(item)
    )
    if bad:
        raise Invalid(*bad)
    return items


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return re.fullmatch(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*", text) is not None and not re.search(
            r"(^|\.)\d+$", text
        )
    return True


TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}


def _recipients(value: object) -> str | tuple[str, ...]:
    """Templates; those without an expression are checked here already."""
    if isinstance(value, (list, tuple)) and not value:
        return ()
    if not isinstance(value, (str, list, tuple)):
        raise wrong("text or a list of text", value)
    bad: list[tuple[str, tuple[int, ...], str]] = []
    for index, text in enumerate([value] if isinstance(value, str) else value):
        steps = () if isinstance(value, str) else (index,)
        if type(text) is not str:
            bad.append(("wrong-type", steps, f"text, not {kind_of(text)}"))
        elif TEMPLATE_MARK not in text:
            try:
                Address.parse_list(text)
            except MailwrightError as error:
                bad.append(("bad-address", steps, error.message))
    if bad:
        raise Invalid(*bad)
    return value if isinstance(value, str) else tuple(value)


def author(value: object) -> str:
    """Empty, a template, or one mailbox."""
    if type(value) is not str:
        raise wrong("text", value)
    if value and TEMPLATE_MARK not in value:
        Address.parse(value)
    return value


def some_texts(value: object) -> str | tuple[str, ...]:
    """Text or a list of text."""
    if isinstance(value, (list, tuple)) and not value:
        return ()
    texts = _several(value, "text")
    return value if isinstance(value, str) else texts


def content(value: object) -> str | ContentSource:
    """HTML, or where it comes from."""
    if isinstance(value, ContentSource):
        return value
    if not isinstance(value, Mapping):
        if type(value) is not str:
            raise wrong("text, {file: …} or {markdown: …}", value)
        return value
    collect, found = Collector(), dict[str, Any]()
    for spelling, item in value.items():
        name = "inline_css" if spelling == "inlineCss" else str(spelling)
        kind = {"file": str, "markdown": str, "inline_css": bool}.get(name)
        if kind is None:
            collect.add("unknown-key", "unknown key; content is text, {file: …} or {markdown: …}", str(spelling))
        elif type(item) is not kind:
            expected = "text" if kind is str else "true or false"
            collect.add("wrong-type", f"{expected}, not {kind_of(item)}", str(spelling))
        elif name in found:
            collect.add("duplicate-key", "given twice", str(spelling))
        else:
            found[name] = item
    collect.raise_any()
    if bool(found.get("file")) == bool(found.get("markdown")):
        raise Invalid(("contradiction", (), "give either file or markdown"))
    return ContentSource(**found)


CONTENT = {
    "anyOf": [
        {"type": "string", "contentMediaType": "text/html"},
        *(
            {
                "type": "object",
                "properties": {name: {"type": "string", "minLength": 1}, "inline_css": {"type": "boolean"}},
                "required": [name],
                "additionalProperties": False,
            }
            for name in ("file", "markdown")
        ),
    ]
}


def own_text(value: object) -> str | Literal[False]:
    """Text, or false."""
    if value is False or type(value) is str:
        return value
    raise Invalid(
        ("wrong-type", (), f"text, or false for HTML only, not {'true' if value is True else kind_of(value)}")
    )


def priority(value: object) -> str:
    """A choice or a template."""
    if isinstance(value, str) and TEMPLATE_MARK in value:
        return value
    return str(one_of(value, ("high", "normal", "low")))


def headers(value: object) -> dict[str, str]:
    """Names and templates; what is no template is checked already."""
    if not isinstance(value, Mapping):
        raise wrong("an object", value)
    bad: list[tuple[str, tuple[str, ...], str]] = []
    for name, text in value.items():
        if type(name) is not str:
            bad.append(("unknown-key", (), f"header names are text, not {kind_of(name)}"))
        elif type(text) is not str:
            bad.append(("wrong-type", (name,), f"text, not {kind_of(text)}"))
        else:
            try:
                check_header(name, "" if TEMPLATE_MARK in text else text)
            except MailwrightError as error:
                bad.append(("bad-header", (name,), error.message.removeprefix("headers: ").removeprefix(f"{name}: ")))
    if bad:
        raise Invalid(*bad)
    return dict(value)


def result_key(value: object) -> str:
    """A dotted key such as ``mail.result``."""
    if type(value) is not str:
        raise wrong("text", value)
    if value and (len(value) > 200 or not _RESULT_KEY.fullmatch(value)):
        message = "not a dotted key such as mail.result (letters, digits, _ and -; the first is a letter or _)"
        raise Invalid(("bad-key", (), message))
    return value


ADDRESSES: Final[dict[str, Any]] = {
    "parse": _recipients,
    "schema": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    "template": True,
}
