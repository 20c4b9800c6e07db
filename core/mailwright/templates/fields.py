"""Which fields of a node are templates, and what becomes of them for one state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import attrs
from attrs import field, frozen

from mailwright.errors import MailwrightError, Problem, TemplateError
from mailwright.model import ContentSource, NodeDocument, Part, Settings

if TYPE_CHECKING:
    from mailwright.templates.files import Folder

Kind = Literal["text", "html", "markdown"]
NO_ROOT: Final = (
    "there is no folder for template files: load the node from a file, or name an attach_root (--attach-root)"
)
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
    images: tuple[Part, ...] = ()
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
    return assembled(document, render_plain(document, state))


def render_plain(document: NodeDocument, state: State) -> dict[str, Any]:
    """The rendering itself: plain values only, so that it can be done in another process.

    Returns:
        ``values`` by field, ``settings`` (changed fields of each attachment), ``images`` (Content-ID → file below the
        root) and ``problems``.
    """
    work = _Work({"input": state.input, "context": state.context})
    values: dict[str, Any] = {}
    for name in _TEXTS:
        values[name] = work.one_or_many(getattr(document, name), f"$.{name.strip('_')}")
    values["text"] = work.text(document.text, "$.text") if isinstance(document.text, str) else document.text
    images: Mapping[str, str] = {}
    if isinstance(document.content, ContentSource):
        values["content"], beside, images = work.source(document.content, document.root)
        values["text"] = beside if values["text"] is None else values["text"]
    else:
        values["content"] = work.text(document.content, "$.content", kind="html")
    values["headers"] = {name: work.native(text, _at("$.headers", name)) for name, text in document.headers.items()}
    if document.envelope is not None:
        values["envelope"] = {
            name: work.one_or_many(value, f"$.envelope.{name}") for name, value in document.envelope.items()
        }
    settings = [
        work.settings(settings, f"$.attachments[{index}]") for index, (_, settings) in enumerate(document.attachments)
    ]
    problems = [(problem.code, problem.path, problem.message) for problem in work.problems]
    return {"values": values, "settings": settings, "images": dict(images), "problems": problems}


def assembled(document: NodeDocument, plain: Mapping[str, Any]) -> tuple[Rendered, list[Problem]]:
    """What `render_plain` made, as a record."""
    problems = [Problem(code=code, path=path, message=message) for code, path, message in plain["problems"]]
    attachments: list[tuple[str, Settings]] = []
    for index, ((kind, settings), changes) in enumerate(zip(document.attachments, plain["settings"], strict=True)):
        try:
            attachments.append((kind, attrs.evolve(settings, **changes) if changes else settings))
        except (MailwrightError, ValueError, TypeError) as error:
            name, colon, says = str(error).partition(": ")
            inside = bool(colon) and name in changes
            path = f"$.attachments[{index}]" + (f".{name}" if inside else "")
            problems.append(Problem(code="invalid-value", path=path, message=says if inside else str(error)))
    return Rendered(
        **plain["values"], attachments=tuple(attachments), images=_parts(document, plain["images"])
    ), problems


def _parts(document: NodeDocument, images: Mapping[str, str]) -> tuple[Part, ...]:
    if not images or document.root is None:
        return ()
    from mailwright.templates.files import folder_of  # noqa: PLC0415 - jinja2 is loaded only when there is a template

    folder = folder_of(document.root)
    return tuple(Part(content=folder.path(name), content_id=identity) for identity, name in images.items())


def check_syntax(value: object, path: str = "$") -> list[Problem]:
    """Compile every text below `value`, without a state.

    Args:
        value: A raw document, or a part of it.
        path: Where it is.

    Returns:
        One problem for each text that is no template.
    """
    return list(_syntax(value, path))


def check_file(content: object, root: Path | None) -> list[Problem]:
    """Compile the template file that content names, if its name is no template itself.

    Args:
        content: Of a raw document.
        root: Its folder of templates.
    """
    name = content.get("file") if isinstance(content, Mapping) else None
    if not isinstance(name, str) or not name or MARK in name:
        return []
    try:
        if root is None:
            raise TemplateError(NO_ROOT)
        from mailwright.templates.files import folder_of  # noqa: PLC0415 - as in compile_template

        folder_of(root).check(name)
    except TemplateError as error:
        return [Problem(code="bad-template", path="$.content.file", message=error.message)]
    return []


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

    def text(self, text: str, path: str, *, kind: Kind = "text") -> str:
        return str(self._run(text, path, lambda: compile_template(text, kind=kind)))

    def source(self, content: ContentSource, root: Path | None) -> tuple[str, str | None, Mapping[str, str]]:
        """HTML, plain text and images of content that is not the HTML itself."""
        from mailwright.templates import files  # noqa: PLC0415 - jinja2 is loaded only when there is a template

        try:
            if content.markdown:
                text = self.text(content.markdown, "$.content.markdown", kind="markdown")
                return self._finished(files.markdown(text), content), None, {}
            if root is None:
                raise TemplateError(NO_ROOT)
            name = self.text(content.file, "$.content.file")
            return self._from_folder(files.folder_of(root), name, content) if name else ("", None, {})
        except TemplateError as error:
            path = "$.content.file" if content.file else "$.content.markdown"
            self.problems.append(Problem(code="bad-template", path=path, message=error.message))
            return "", None, {}

    def _from_folder(
        self, folder: Folder, name: str, content: ContentSource
    ) -> tuple[str, str | None, Mapping[str, str]]:
        from mailwright.templates import files  # noqa: PLC0415 - as above

        if files.kind_of(name) == "text":
            msg = f"{name!r} is plain text; content is *.html or *.md, and its *.txt is found beside it"
            raise TemplateError(msg)
        html, images = folder.images(folder.render(name, self.names), name)
        beside = files.text_beside(name)
        text = folder.render(beside, self.names) if (folder.root / beside).is_file() else None
        return self._finished(html, content), text, images

    @staticmethod
    def _finished(html: str, content: ContentSource) -> str:
        from mailwright.templates.files import inline_css  # noqa: PLC0415 - as above

        return inline_css(html) if content.inline_css else html

    def settings(self, settings: Settings, path: str) -> dict[str, str]:
        """The text fields of an attachment's settings that there was anything to render in."""
        changes: dict[str, Any] = {}
        for attribute in attrs.fields(type(settings)):
            value = getattr(settings, attribute.name)
            if attribute.metadata.get("template", True) and attribute.init and isinstance(value, str) and MARK in value:
                changes[attribute.alias or attribute.name] = self.text(value, f"{path}.{attribute.name.strip('_')}")
        return changes

    def _run(self, text: str, path: str, compiled: Callable[[], Compiled]) -> Any:
        if MARK not in text:
            return text
        try:
            return compiled()(self.names)
        except TemplateError as error:
            self.problems.append(Problem(code="bad-template", path=path, message=error.message))
            return ""


@lru_cache(maxsize=1024)
def compile_template(text: str, *, kind: Kind = "text", native: bool = False) -> Compiled:
    """Compile one text; the last 1024 are kept.

    Args:
        text: The template.
        kind: How values are escaped: not at all, for HTML, for Markdown.
        native: When the text is exactly one expression, give its value instead of its text.

    Returns:
        A function of the names.

    Raises:
        TemplateError: For a syntax error; the function raises it for everything that goes wrong while rendering.
    """
    from mailwright.templates import expressions  # noqa: PLC0415 - jinja2 is loaded only when a text holds {{

    return expressions.compile_text(text, kind=kind, native=native)
