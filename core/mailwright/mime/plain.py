"""HTML → plain text that people like to read. One pass, linear time, nothing fetched.

The scanner is our own because `html.parser` needs quadratic time for hostile input on supported Pythons (CVE-2025-6069).
"""

from __future__ import annotations

import re
from html import unescape
from typing import Final

_TAG: Final = re.compile(r"/?[a-zA-Z][^\s/>]*")
_ATTRIBUTE: Final = re.compile(r"""[\s/]*([^\s=>/]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"'][^\s>]*)))?""")
_BLANKS: Final = re.compile(r"[ \t\r\n\f]+")
_HIDDEN: Final = re.compile(r"display\s{0,9}:\s{0,9}none", re.IGNORECASE)
_RAW: Final = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in ("script", "style", "title", "textarea", "xmp")
}
_VOID: Final = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_SKIPPED: Final = frozenset({"template", "svg", "math", "object", "iframe", "audio", "video", "select", "noscript"})
_PARAGRAPHS: Final = frozenset(
    {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "blockquote", "pre", "table", "figure"}
)
_BLOCKS: Final = frozenset({
    "address", "article", "aside", "body", "caption", "center", "dd", "details", "div", "dt", "fieldset", "figcaption",
    "footer", "form", "header", "html", "li", "main", "nav", "section", "summary", "tbody", "tfoot", "thead", "tr",
})  # fmt: skip
_LINKS: Final = ("http:", "https:", "mailto:", "tel:")
_DEEP: Final = 12  # lists and quotations nested deeper are not indented further: output stays linear


def plain_text(html: str) -> str:
    r"""Turn HTML into text: paragraphs, headings, lists, tables and links (``text <url>``) stay readable.

    Args:
        html: Any text; broken HTML is read as browsers do, roughly.

    Returns:
        Lines ended by ``\\n``; empty when nothing can be read.
    """
    reader = _Reader()
    reader.read(html)
    return reader.writer.text()


class _Writer:
    """Lines with indentation; blanks and line ends are pending until a word needs them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.current: list[str] = []
        self.prefixes: list[str] = []
        self.marker = ""
        self.blank = False
        self.separator = ""
        self.preformatted = 0
        self._gap: str | None = None

    def words(self, text: str) -> None:
        if self.preformatted:
            for index, line in enumerate(text.replace("\r\n", "\n").split("\n")):
                if index:
                    self.line_end(keep=True)
                if line:
                    self._put(line)
            return
        text = _BLANKS.sub(" ", text)
        if text == " ":
            self.blank = bool(self.current)
            return
        if not text:
            return
        self.blank = self.blank or (text[0] == " " and bool(self.current))
        trailing = text[-1] == " "
        self._put(text.strip(" "))
        self.blank = trailing

    def _put(self, text: str) -> None:
        if self.current:
            self.current.append(self.separator or (" " if self.blank else ""))
        self.separator = ""
        self.blank = False
        self.current.append(text)

    def line_end(self, *, keep: bool = False) -> None:
        if not self.current and not keep:
            return
        if self._gap is not None and self.lines:
            self.lines.append(self._gap)
        self._gap = None
        indent = "".join(self.prefixes[:_DEEP])
        if self.marker:
            indent = indent[: -len(self.marker)] + self.marker
            self.marker = ""
        self.lines.append((indent + "".join(self.current)).rstrip(" "))
        self.current = []
        self.blank = False
        self.separator = ""

    def paragraph(self) -> None:
        self.line_end()
        around = "".join(self.prefixes[:_DEEP]).rstrip(" ")
        self._gap = around if self._gap is None else min(self._gap, around, key=len)

    def text(self) -> str:
        self.line_end()
        return "\n".join((*self.lines, "")) if self.lines else ""


class _Reader:
    """Walks over tags and text and tells the writer."""

    def __init__(self) -> None:
        self.writer = _Writer()
        self.skipping = ""
        self.depth = 0
        self.lists: list[int] = []
        self.link: tuple[str, int, int] | None = None
        self.heading = 0

    def read(self, html: str) -> None:
        position, end = 0, len(html)
        while position < end:
            start = html.find("<", position)
            if start < 0:
                start = end
            if start > position and not self.skipping:
                self.writer.words(_unescape(html[position:start]))
            if start == end:
                return
            position = self._markup(html, start)

    def _markup(self, html: str, start: int) -> int:
        """Read what begins with ``<``; return where the text goes on."""
        tag = _TAG.match(html, start + 1)
        if tag is None:
            if html.startswith("<!--", start):
                return _behind(html, "-->", start + 4)
            if html.startswith(("<!", "<?", "</"), start):
                return _behind(html, ">", start + 2)
            if not self.skipping:
                self.writer.words("<")
            return start + 1
        name = tag.group().lower()
        position, attributes = _attributes(html, tag.end())
        closing = name.startswith("/")
        name = name.lstrip("/")
        if self.skipping:
            if name == self.skipping and name not in _VOID:
                self.depth += -1 if closing else 1
                if not self.depth:
                    self.skipping = ""
        elif closing:
            self._close(name)
        elif name in _RAW:
            found = _RAW[name].search(html, position)
            return _behind(html, ">", found.start()) if found else len(html)
        elif name not in _VOID and (
            name in _SKIPPED or "hidden" in attributes or _HIDDEN.search(attributes.get("style", ""))
        ):
            self.skipping, self.depth = name, 1
        else:
            self._open(name, attributes)
        return position

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        writer = self.writer
        if name == "br":
            writer.line_end(keep=True)
        elif name == "img":
            if alt := attributes.get("alt", "").strip():
                writer.words(alt)
        elif name == "a":
            self._close_link()
            self.link = attributes.get("href", "").strip(), len(writer.lines), len(writer.current)
        elif name in {"td", "th"}:
            writer.separator = " | " if writer.current else ""
        elif name == "hr":
            writer.paragraph()
            writer.words("-" * 40)
            writer.paragraph()
        elif name in _PARAGRAPHS:
            if self.lists:
                writer.line_end()
            else:
                writer.paragraph()
            self._enter(name)
        elif name in _BLOCKS:
            writer.line_end()
            if name == "li":
                self._item()
            elif name == "dd":
                writer.words("  ")

    def _enter(self, name: str) -> None:
        writer = self.writer
        if name in {"ul", "ol"}:
            self.lists.append(0 if name == "ol" else -1)
            writer.prefixes.append("   " if name == "ol" else "  ")
        elif name == "blockquote":
            writer.prefixes.append("> ")
        elif name == "pre":
            writer.preformatted += 1
        elif name in {"h1", "h2"}:
            self.heading = len(writer.lines) + 1

    def _item(self) -> None:
        if not self.lists:
            self.writer.words("- ")
        elif self.lists[-1] < 0:
            self.writer.marker = "- "
        else:
            self.lists[-1] += 1
            self.writer.marker = f"{self.lists[-1]}. "[-9:]

    def _close(self, name: str) -> None:
        writer = self.writer
        if name == "a":
            self._close_link()
        elif name in _PARAGRAPHS:
            if name in {"h1", "h2"}:
                self._underline("=" if name == "h1" else "-")
            writer.line_end()
            self._leave(name)
            if not self.lists:
                writer.paragraph()
        elif name in _BLOCKS:
            writer.line_end()

    def _leave(self, name: str) -> None:
        writer = self.writer
        if name in {"ul", "ol"} and self.lists:
            self.lists.pop()
            _drop_last(writer.prefixes, {"  ", "   "})
            writer.marker = ""
        elif name == "blockquote":
            _drop_last(writer.prefixes, {"> "})
        elif name == "pre" and writer.preformatted:
            writer.preformatted -= 1

    def _underline(self, stroke: str) -> None:
        writer = self.writer
        if self.heading and writer.current:
            width = min(72, max(3, len("".join(writer.current))))
            writer.line_end()
            writer.words(stroke * width)
        self.heading = 0

    def _close_link(self) -> None:
        if self.link is None:
            return
        target, line, place = self.link
        self.link = None
        writer = self.writer
        if not target.lower().startswith(_LINKS):
            return
        text = "".join(writer.current[place:] if line == len(writer.lines) else writer.current).strip(" |")
        bare = target.partition(":")[2] if target.lower().startswith(("mailto:", "tel:")) else target
        if text in {target, bare, bare.removeprefix("//"), target.removesuffix("/")}:
            return
        trailing = writer.blank
        writer.blank = True
        writer._put(f"<{_BLANKS.sub('', target)}>")  # noqa: SLF001 - the two classes are one machine
        writer.blank = trailing


def _drop_last(prefixes: list[str], kinds: set[str]) -> None:
    if prefixes and prefixes[-1] in kinds:
        prefixes.pop()


def _behind(html: str, mark: str, position: int) -> int:
    found = html.find(mark, position)
    return len(html) if found < 0 else found + len(mark)


def _attributes(html: str, position: int) -> tuple[int, dict[str, str]]:
    """Read up to the tag's ``>``; a tag that never ends takes the rest with it, as in browsers."""
    found: dict[str, str] = {}
    while True:
        match = _ATTRIBUTE.match(html, position)
        if match is None:
            return _behind(html, ">", position), found
        name, double, single, bare = match.groups()
        found.setdefault(name.lower(), _unescape(double or single or bare or ""))
        position = match.end()


def _unescape(text: str) -> str:
    if "&" not in text:
        return text
    try:
        return unescape(text)
    except ValueError:  # a character reference of more digits than int() reads
        return text
