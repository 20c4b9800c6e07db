"""Which fields of a node are templates, and what becomes of them for one state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Protocol

import attrs
from attrs import field, frozen

from mailwright.errors import MailwrightError, Problem, TemplateError
from mailwright.model import NodeDocument, Settings

MARK: Final = "{{"
_TEXTS: Final = ("to", "cc", "bcc", "reply_to", "from_", "subject", "priority", "in_reply_to", "references")
Compiled = Callable[[Mapping[str, Any]], Any]


class State(Protocol):
    """What templates see."""

    @property
    def input(self) -> Mapping[str, Any]:
        """The flow's input."""
        ...

    @property
    def context(self) -> Mapping[str, Any]:
        """The flow's context."""
        ...


@frozen(kw_only=True)
class Rendered:
    """Values of a node's fields for one state. Addresses may be text or lists; what they hold is not checked yet."""

    to: Any = ()
    cc: Any = ()
    bcc: Any = ()
    reply_to: Any = ()
    from_: Any = ""
    subject: Any = ""
    content: str = field(default="", repr=False)
    text: Any = field(default=None, repr=False)
    priority: Any = "normal"
    attachments: tuple[tuple[str, Settings], ...] = ()
    headers: Mapping[str, Any] = field(factory=dict)
    in_reply_to: Any = ""
    references: Any = ()
    envelope: Mapping[str, Any] | None = None


def render(document: NodeDocument, state: State) -> Rendered:
    """Render every template of a node.

    Args:
        document: The node.
        state: What ``input`` and ``context`` stand for.

    Returns:
        The values.

    Raises:
        TemplateError: Names every field that does not render, and why.
    """
    rendered, problems = try_render(document, state)
    if problems:
        raise TemplateError("; ".join(map(str, problems)))
    return rendered


def try_render(document: NodeDocument, state: State) -> tuple[Rendered, list[Problem]]:
    """As `render`, but problems are returned; their fields keep an empty value."""
    work = _Work({"input": state.input, "context": state.context})
    values: dict[str, Any] = {}
    for name in _TEXTS:
        values[name] = work.one_or_many(getattr(document, name), f"$.{name.strip('_')}")
    values["content"] = work.text(document.content, "$.content", html=True)
    values["text"] = work.text(document.text, "$.text") if isinstance(document.text, str) else document.text
    values["headers"] = {name: work.native(text, _at("$.headers", name)) for name, text in document.headers.items()}
    values["attachments"] = tuple(
        (name, work.settings(settings, f"$.attachments[{index}]"))
        for index, (name, settings) in enumerate(document.attachments)
    )
    if document.envelope is not None:
        values["envelope"] = {
            name: work.one_or_many(value, f"$.envelope.{name}") for name, value in document.envelope.items()
        }
    return Rendered(**values), work.problems


def check_syntax(value: object, path: str = "$") -> list[Problem]:
    """Compile every text below `value`, without a state.

    Args:
        value: A raw document, or a part of it.
        path: Where it is.

    Returns:
        One problem for each text that is no template.
    """
    return list(_syntax(value, path))


def _syntax(value: object, path: str) -> Iterator[Problem]:
    if isinstance(value, str):
        if MARK in value:
            try:
                compile_template(value)
            except TemplateError as error:
                yield Problem(code="bad-template", path=path, message=error.message)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _syntax(item, _at(path, str(key)))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _syntax(item, f"{path}[{index}]")


def _at(path: str, key: str) -> str:
    return f"{path}.{key}" if key.replace("_", "a").replace("-", "a").isalnum() else f"{path}[{key!r}]"


class _Work:
    """One rendering: the names, and the problems so far."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names
        self.problems: list[Problem] = []

    def one_or_many(self, value: Any, path: str) -> Any:
        if isinstance(value, str):
            return self.native(value, path)
        if isinstance(value, (list, tuple)):
            found: list[Any] = []
            for index, item in enumerate(value):
                one = self.native(item, f"{path}[{index}]") if isinstance(item, str) else item
                found.extend(one if isinstance(one, (list, tuple)) else [one])
            return tuple(found)
        return value

    def native(self, text: str, path: str) -> Any:
        return self._run(text, path, lambda: compile_template(text, native=True))

    def text(self, text: str, path: str, *, html: bool = False) -> str:
        return str(self._run(text, path, lambda: compile_template(text, html=html)))

    def settings(self, settings: Settings, path: str) -> Settings:
        """Render the text fields of an attachment's settings, where there is anything to render."""
        changes: dict[str, Any] = {}
        for attribute in attrs.fields(type(settings)):
            value = getattr(settings, attribute.name)
            if attribute.metadata.get("template", True) and attribute.init and isinstance(value, str) and MARK in value:
                changes[attribute.alias or attribute.name] = self.text(value, f"{path}.{attribute.name.strip('_')}")
        if not changes:
            return settings
        try:
            return attrs.evolve(settings, **changes)
        except (MailwrightError, ValueError, TypeError) as error:
            self.problems.append(Problem(code="invalid-value", path=path, message=str(error)))
            return settings

    def _run(self, text: str, path: str, compiled: Callable[[], Compiled]) -> Any:
        if MARK not in text:
            return text
        try:
            return compiled()(self.names)
        except TemplateError as error:
            self.problems.append(Problem(code="bad-template", path=path, message=error.message))
            return ""


@lru_cache(maxsize=1024)
def compile_template(text: str, *, html: bool = False, native: bool = False) -> Compiled:
    """Compile one text; the last 1024 are kept.

    Args:
        text: The template.
        html: Escape values.
        native: When the text is exactly one expression, give its value instead of its text.

    Returns:
        A function of the names.

    Raises:
        TemplateError: For a syntax error; the function raises it for everything that goes wrong while rendering.
    """
    from mailwright.templates import expressions  # noqa: PLC0415 - jinja2 is loaded only when a text holds {{

    return expressions.compile_text(text, html=html, native=native)
