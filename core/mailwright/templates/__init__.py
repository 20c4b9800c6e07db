"""Rendering of a node's fields: jinja2's sandbox, cut down to expressions.

Only ``{{ … }}`` is markup. CSS such as ``{#id`` and ``{%`` is text, because blocks and comments have delimiters nobody can
guess; so there are no loops, no assignments, no includes. Data is never compiled. What an expression may cost is bounded.

* Keys come before attributes: ``{{ input.items }}`` is the key ``items``, not the method.
* A missing name is an error, ``None`` renders as nothing.
* A field that is exactly one expression keeps its native value: a list stays a list.
* ``content: {file: …}`` is full Jinja in the same sandbox, below one folder: see `mailwright.templates.files`.
* In ``content`` values are HTML-escaped; ``| safe`` is for ready HTML.
"""

from mailwright.templates.fields import (
    MARK,
    Rendered,
    State,
    assembled,
    check_file,
    check_syntax,
    compile_template,
    render,
    render_plain,
    try_render,
)

__all__ = [
    "MARK",
    "Rendered",
    "State",
    "assembled",
    "check_file",
    "check_syntax",
    "compile_template",
    "render",
    "render_plain",
    "try_render",
]
