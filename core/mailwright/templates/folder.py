"""Messages from a folder of templates, for Python code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from mailwright.model import Message, Part

_FIELDS: Final = frozenset(attribute.alias or attribute.name for attribute in attrs.fields(Message) if attribute.init)


class Templates:
    """A folder of templates.

        mails = Templates("mails/")
        message = mails.message("welcome.html.j2", to="ann@example.org", subject="Welcome", name="Ann")

    ``*.html`` escapes values for HTML, ``*.md`` is Markdown; ``welcome.txt.j2`` beside ``welcome.html.j2`` becomes the plain
    text. Images that a template names (``<img src="logo.png">``) go along as inline parts. Values are never templates.

    Args:
        root: The folder; includes, macros and images stay below it.
        inline_css: Move CSS rules into style attributes; needs ``mailwright[css]``.
    """

    def __init__(self, root: str | Path, *, inline_css: bool = False) -> None:
        self._root = Path(root).resolve()
        self._inline_css = inline_css

    def render(self, template: str, values: Mapping[str, Any] | None = None, /, **named: Any) -> str:
        """Render a template to text; Markdown comes as HTML.

        Raises:
            TemplateError: With file and line where there is one.
        """
        from mailwright.templates.files import folder_of  # noqa: PLC0415 - jinja2, when something is rendered

        return folder_of(self._root).render(template, {**(values or {}), **named})

    def message(self, template: str, values: Mapping[str, Any] | None = None, /, **fields: Any) -> Message:
        """Make a message.

        Args:
            template: File below the root.
            values: For the template; needed only for names that are fields of `Message`.
            fields: Fields of `Message` (``to``, ``subject``, …); every other name is a value for the template.

        Returns:
            The message, with HTML, plain text where there is a template for it, and the template's images.

        Raises:
            TemplateError: As `render`, and for an image that is not there.
            MessageError, AddressError: As `Message`.
        """
        from mailwright.templates.files import folder_of, inline_css, kind_of, text_beside  # noqa: PLC0415 - as above

        folder = folder_of(self._root)
        given = {name: fields.pop(name) for name in _FIELDS & fields.keys()}
        names = {**(values or {}), **fields}
        body = folder.render(template, names)
        if kind_of(template) == "text":
            return Message(**({"text": body} | given))
        body, images = folder.images(body, template)
        parts = [Part(content=folder.path(name), content_id=identity) for identity, name in images.items()]
        beside = text_beside(template)
        if "text" not in given and (folder.root / beside).is_file():
            given["text"] = folder.render(beside, names)
        given["attachments"] = (*given.get("attachments", ()), *parts)
        return Message(html=inline_css(body) if self._inline_css else body, **given)
