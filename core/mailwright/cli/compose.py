"""`mailwright compose`: the octets of a letter, to a file or to the next program."""

from __future__ import annotations

import sys
from pathlib import Path

from mailwright.cli.letter import Options, node_letter, own_letter, summary
from mailwright.cli.output import DELIVERED, read_state, show_json
from mailwright.errors import ConfigurationError


def run(
    node: Path | None,
    state: Path | None,
    *,
    connection: str | None,
    options: Options,
    output: Path | None,
    attach_root: Path | None,
    json: bool,
) -> int:
    """Write the letter as ``.eml``; with `json` a summary goes to stdout instead of the octets."""
    if node is None:
        letter = own_letter(connection, options)
    else:
        letter = node_letter(node, read_state(state), attach_root=attach_root)
    draft = letter.draft()
    if output is not None:
        try:
            with output.open("wb") as file:
                file.writelines(draft.composed)
        except OSError as error:
            msg = f"{output}: cannot be written: {error.strerror}; choose another place with -o"
            raise ConfigurationError(msg) from None
        if not json:
            sys.stderr.write(f"{output}: {draft.composed.size} bytes, {draft.composed.message_id}\n")
    if json:
        show_json(summary(draft))
    elif output is None:
        for chunk in draft.composed:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    return DELIVERED
