"""Rendered values → `Message`, with the path of whatever does not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mailwright.errors import AddressError, MailwrightError, MessageError, Problem
from mailwright.model import Address, Envelope, Message, NodeDocument
from mailwright.templates import Rendered


def build_message(document: NodeDocument, rendered: Rendered) -> Message:
    """The message of one run.

    Args:
        document: For what is not a template.
        rendered: For what is.

    Returns:
        The message; attachments are still settings.

    Raises:
        MessageError, AddressError: Name every field that does not fit, by its path.
    """
    values, errors = _values(document, rendered)
    if errors:
        raise _joined(errors)
    try:
        return Message(**values)
    except MailwrightError as error:
        raise _joined(_one_by_one(values) or [("$", error)]) from None


def message_problems(document: NodeDocument, rendered: Rendered) -> list[Problem]:
    """As `build_message`, but every mistake is returned."""
    values, errors = _values(document, rendered)
    told = {path for path, _ in errors}
    errors += [found for found in _one_by_one(values) if found[0] not in told]
    if not errors:
        try:
            Message(**values)
        except MailwrightError as error:
            errors = [("$", error)]
    return [
        Problem(code=_CODES.get(type(error), "invalid-value"), path=path, message=_bare(path, error))
        for path, error in errors
    ]


_CODES: dict[type, str] = {AddressError: "bad-address"}
_PATHS = {"from_": "$.from", "html": "$.content"}


def _bare(path: str, error: MailwrightError) -> str:
    """The message without the field's name, which the path says."""
    name = path.removeprefix("$.").partition(".")[0]
    for prefix in (f"{name}: ", "html: " if name == "content" else "\0"):
        if error.message.startswith(prefix):
            return error.message.removeprefix(prefix)
    return error.message


def _joined(errors: list[tuple[str, MailwrightError]]) -> MailwrightError:
    text = "; ".join(f"{path}: {_bare(path, error)}" for path, error in errors)
    first = errors[0][1]
    return (AddressError if isinstance(first, AddressError) else MessageError)(text, code=first.code)


def _values(document: NodeDocument, rendered: Rendered) -> tuple[dict[str, Any], list[tuple[str, MailwrightError]]]:
    errors: list[tuple[str, MailwrightError]] = []

    def take(path: str, convert: Callable[[Any], Any], value: Any, default: Any = None) -> Any:
        try:
            return convert(value)
        except MailwrightError as error:
            errors.append((path, error))
            return default

    values: dict[str, Any] = {
        name: take(f"$.{name}", _addresses, getattr(rendered, name), ()) for name in ("to", "cc", "bcc", "reply_to")
    }
    values["from_"] = take("$.from", _author, rendered.from_)
    values["subject"] = take("$.subject", _text, rendered.subject, "")
    values["html"] = rendered.content if document.content else None
    values["text"] = rendered.text
    values["priority"] = take("$.priority", _priority, rendered.priority, "normal")
    values["headers"] = {
        name: take(f"$.headers.{name}", _text, value, "")
        for name, value in rendered.headers.items()
        if value is not None
    }
    for name in ("in_reply_to", "references"):
        values[name] = take(f"$.{name}", _ids, getattr(rendered, name), ())
    if rendered.envelope is not None:
        values["envelope"] = take("$.envelope", _envelope, rendered.envelope)
    values["attachments"] = (*(settings for _, settings in rendered.attachments), *rendered.images)
    values["tags"] = document.tags
    values["options"] = dict(document.options)
    if not (values["to"] or values["cc"] or values["bcc"] or values.get("envelope") or errors):
        errors.append(("$.to", AddressError("no recipient: to, cc and bcc are empty for this state")))
    return values, errors


def _one_by_one(values: Mapping[str, Any]) -> list[tuple[str, MailwrightError]]:
    errors: list[tuple[str, MailwrightError]] = []
    for name, value in values.items():
        try:
            Message(**({"html": "", name: value} if name == "text" else {name: value}))
        except MailwrightError as error:
            errors.append((_PATHS.get(name, f"$.{name}"), error))
    return errors


def _addresses(value: Any) -> tuple[Address, ...]:
    """Text, an address, a list of either, or nothing; ``{email, name}`` objects as flows keep them."""
    if value is None or value == "":
        return ()
    if isinstance(value, Address):
        return (value,)
    if isinstance(value, str):
        return Address.parse_list(value)
    if isinstance(value, Mapping) and set(value) <= {"email", "name"} and "email" in value:
        return (Address(value["email"], value.get("name") or ""),)
    if isinstance(value, (list, tuple)):
        return tuple(address for item in value for address in _addresses(item))
    msg = f"addresses are text or a list of text, not {type(value).__name__}"
    raise AddressError(msg)


def _author(value: Any) -> Address | None:
    found = _addresses(value)
    if len(found) > 1:
        msg = f"one address, not {len(found)}"
        raise AddressError(msg)
    return found[0] if found else None


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    msg = f"text, not {type(value).__name__}"
    raise MessageError(msg)


def _priority(value: Any) -> str:
    if value in {None, ""}:
        return "normal"
    if value not in {"high", "normal", "low"}:
        msg = "high, normal or low"
        raise MessageError(msg)
    return str(value)


def _ids(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, (list, tuple)) else [value]
    return tuple(word for item in items for word in _text(item).split())


def _envelope(value: Mapping[str, Any]) -> Envelope:
    return Envelope(sender=_author(value.get("from")), recipients=_addresses(value.get("to")))
