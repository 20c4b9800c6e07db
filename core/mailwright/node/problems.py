"""Everything that is wrong with one run, before anything is fetched or sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from mailwright.errors import (
    AddressError,
    AttachmentError,
    ConfigurationError,
    DocumentError,
    MailwrightError,
    MessageError,
    PluginError,
    Problem,
    SecretError,
    TemplateError,
)
from mailwright.node.message import build_message, message_problems
from mailwright.node.state import FlowState, check_target
from mailwright.templates import assembled, try_render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailwright.model import Message, NodeDocument

_CLASSES: Final[dict[str, type[MailwrightError]]] = {
    "bad-address": AddressError,
    "too-many-recipients": AddressError,
    "bad-template": TemplateError,
    "bad-key": ConfigurationError,
    "missing": ConfigurationError,
    "no-connection": ConfigurationError,
    "secret": SecretError,
    "plugin": PluginError,
}


def checked_message(
    document: NodeDocument, state: FlowState, plain: Mapping[str, Any] | None = None
) -> tuple[Message | None, list[Problem]]:
    """The message for one state, or every reason why there is none.

    Args:
        document: The node.
        state: For its templates.
        plain: What `render_plain` made elsewhere; None: render here.

    Returns:
        The message, attachments not read yet; and the problems, of the result path too.
    """
    rendered, problems = try_render(document, state) if plain is None else assembled(document, plain)
    message = None
    if not problems:
        try:
            message = build_message(document, rendered)
        except MailwrightError:
            problems = message_problems(document, rendered)
    else:
        told = {problem.path for problem in problems}
        problems += [problem for problem in message_problems(document, rendered) if problem.path not in told]
    problems += target_problems(document, state)
    return (None if problems else message), problems


def target_problems(document: NodeDocument, state: FlowState) -> list[Problem]:
    """What is wrong with the place of the result."""
    try:
        check_target(document.store_result, state)
    except MailwrightError as error:
        path, _, message = error.message.partition(": ")
        return [Problem(code="bad-key", path=path, message=message)]
    return []


def as_error(problems: Sequence[Problem]) -> MailwrightError:
    """One error for all: of the kind of the first, for flows that branch on its code."""
    first = problems[0]
    kind = AttachmentError if first.path.startswith("$.attachments") else _CLASSES.get(first.code, MessageError)
    if len(problems) == 1:
        return kind(str(first))
    return DocumentError(problems, code=kind.code)
