"""Templates in files: full Jinja in the same sandbox, everything below one folder.

``welcome.html.j2`` escapes values for HTML, ``welcome.md.j2`` for Markdown and becomes HTML, anything else is plain text.
Includes, macros and inheritance stay below the folder; neither ``..`` nor a symbolic link leads out of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from jinja2 import BaseLoader, Environment, TemplateNotFound, TemplateSyntaxError
from jinja2.runtime import BlockReference, LoopContext, Macro
from jinja2.utils import Cycler, Joiner, Namespace

from mailwright.errors import TemplateError
from mailwright.templates.expressions import SafeEnvironment, environment_for, guarded, joined
from mailwright.templates.fields import Kind

_SUFFIXES: Final = (".j2", ".jinja", ".jinja2")
_KINDS: Final[Mapping[str, Kind]] = {
    ".html": "html", ".htm": "html", ".xhtml": "html", ".md": "markdown", ".markdown": "markdown", ".txt": "text",
}  # fmt: skip
_MAX_FILE: Final = 2_000_000
_REFERENCE: Final = re.compile(
    r"""((?:\bsrc|\bbackground)\s{0,8}=\s{0,8}|\burl\(\s{0,8})(["'])([^"'<>:\s{}]{1,500})\2""", re.IGNORECASE
)
_IMAGES: Final = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".avif", ".bmp", ".ico"})


class _Loader(BaseLoader):
    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        try:
            path = self._folder.path(template)
            text = self._folder.read(path)
        except TemplateError as error:
            raise TemplateNotFound(template, error.message) from None
        stamp = path.stat().st_mtime_ns
        return text, template, lambda: path.is_file() and path.stat().st_mtime_ns == stamp


class _FileEnvironment(SafeEnvironment):
    """As for expressions; besides, what templates themselves define may be called."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Also macros of imported templates, and methods of ``loop``, ``cycler`` and ``joiner``."""
        if isinstance(value, Macro) or (isinstance(obj, (LoopContext, Cycler, Joiner)) and attr[:1] != "_"):
            return True
        return super().is_safe_attribute(obj, attr, value)

    def is_safe_callable(self, obj: Any) -> bool:
        """Also macros and blocks."""
        if isinstance(obj, (Macro, BlockReference, LoopContext, Joiner)) or obj in (Cycler, Joiner, Namespace):
            return True
        return isinstance(getattr(obj, "__self__", None), (LoopContext, Cycler)) or super().is_safe_callable(obj)


class Folder:
    """One folder of templates; compiled ones are kept, and compiled again when their file changes.

    Args:
        root: Nothing outside is ever opened.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._environments: dict[Kind, _FileEnvironment] = {}
        self._written: set[str] = set()

    def path(self, name: str) -> Path:
        """A file of the folder.

        Raises:
            TemplateError: When there is none, or the name or a link leads outside.
        """
        try:
            path = (self.root / name).resolve()
            inside = path.is_relative_to(self.root) and not Path(name).is_absolute()
            found = inside and path.is_file()
        except (OSError, ValueError):
            inside = found = False
        if not inside:
            msg = f"{name[:200]!r} is outside the template folder"
            raise TemplateError(msg)
        if not found:
            msg = f"there is no file {name[:200]!r} in the template folder"
            raise TemplateError(msg)
        return path

    def read(self, path: Path) -> str:
        """Text of a template; its image references become known."""
        try:
            with path.open("rb") as file:
                octets = file.read(_MAX_FILE + 1)
            text = octets.decode()
        except (OSError, UnicodeDecodeError) as error:
            msg = f"{path.name}: cannot be read as UTF-8 text: {type(error).__name__}"
            raise TemplateError(msg) from None
        if len(octets) > _MAX_FILE:
            msg = f"{path.name}: larger than {_MAX_FILE} bytes"
            raise TemplateError(msg)
        self._written.update(found[3] for found in _REFERENCE.finditer(text))
        return text

    def check(self, name: str) -> None:
        """Compile a template. Raises `TemplateError`."""
        self._template(name)

    def render(self, name: str, names: Mapping[str, Any]) -> str:
        """Render a template; Markdown comes as HTML.

        Raises:
            TemplateError: For everything that goes wrong, with file and line where there is one.
        """
        template = self._template(name)
        text = guarded(lambda: joined(template.generate(dict(names))))
        return markdown(text) if kind_of(name) == "markdown" else str(text)

    def _template(self, name: str) -> Any:
        kind = kind_of(name)
        if kind not in self._environments:
            self._environments[kind] = environment_for(
                _FileEnvironment, kind, loader=_Loader(self), auto_reload=True, trim_blocks=True, lstrip_blocks=True,
                extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
            )  # fmt: skip
            self._environments[kind].globals |= {"namespace": Namespace, "cycler": Cycler, "joiner": Joiner}
        try:
            return self._environments[kind].get_template(name)
        except TemplateNotFound as error:
            raise TemplateError(str(error.message or error)) from None
        except TemplateSyntaxError as error:
            msg = f"{error.name or name}, line {error.lineno}: {error.message}"
            raise TemplateError(msg) from None
        except (RecursionError, MemoryError, OverflowError, ValueError) as error:
            msg = f"{name}: too large or too deep: {type(error).__name__}"
            raise TemplateError(msg) from None

    def images(self, html: str, name: str) -> tuple[str, dict[str, str]]:
        """Images that the templates themselves reference by relative names become inline parts.

        Args:
            html: Rendered.
            name: Of the template; references are relative to its folder.

        Returns:
            The HTML with ``cid:`` URLs, and Content-ID → name below the folder. References that came from data, and
            those with a scheme or from the root, stay as they are.

        Raises:
            TemplateError: For an image that is not there.
        """
        found: dict[str, str] = {}

        def replaced(match: re.Match[str]) -> str:
            reference = match[3]
            wanted = Path(reference).suffix.lower() in _IMAGES and not reference.startswith(("/", "#"))
            if not wanted or reference not in self._written:
                return match[0]
            below = self.path(str(Path(name).parent / reference)).relative_to(self.root).as_posix()
            identity = next((known for known, other in found.items() if other == below), None)
            if identity is None:
                identity = f"image{len(found) + 1}.{re.sub(r'[^A-Za-z0-9.]', '', Path(below).name) or 'x'}@templates"
                found[identity] = below
            return f"{match[1]}{match[2]}cid:{identity}{match[2]}"

        return _REFERENCE.sub(replaced, html), found


@lru_cache(maxsize=64)
def folder_of(root: Path) -> Folder:
    """The folder of a root; the same for all nodes that share it."""
    return Folder(root)


def kind_of(name: str) -> Kind:
    """By the suffix before ``.j2``.

    Raises:
        TemplateError: For a file that is no template by its name.
    """
    bare = name.lower()
    for suffix in _SUFFIXES:
        bare = bare.removesuffix(suffix)
    kind = _KINDS.get(Path(bare).suffix)
    if kind is None:
        msg = f"{name[:200]!r} is not the name of a template: *.html, *.md or *.txt, with or without .j2"
        raise TemplateError(msg)
    return kind


def text_beside(name: str) -> str:
    """The name of the plain text that belongs to a template: ``welcome.txt.j2`` beside ``welcome.html.j2``."""
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix):
            bare = name[: -len(suffix)]
            return str(Path(bare).with_suffix(".txt")) + name[-len(suffix) :]
    return str(Path(name).with_suffix(".txt"))


def markdown(text: str) -> str:
    """CommonMark with tables → HTML. HTML in it is text, so that values cannot become markup."""
    from markdown_it import MarkdownIt  # noqa: PLC0415 - only for Markdown

    html: str = (
        MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"]).render(text)
    )
    return html


def inline_css(html: str) -> str:
    """Move rules of style elements into style attributes; nothing is loaded from anywhere.

    Raises:
        TemplateError: Without the extra ``mailwright[css]``, or for CSS that cannot be read.
    """
    try:
        import css_inline  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        msg = 'inline_css needs an extra: pip install "mailwright[css]"'
        raise TemplateError(msg) from None
    inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_style_tags=True, keep_link_tags=True)
    try:
        return inliner.inline(html)
    except (css_inline.InlineError, ValueError) as error:
        msg = f"the CSS cannot be inlined: {error}"
        raise TemplateError(msg) from None
