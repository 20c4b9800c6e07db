"""`mailwright compose`: the octets of a node's letter, to a file or to the next program."""

from __future__ import annotations

import sys
from pathlib import Path

from mailwright.cli.letter import make_letter
from mailwright.cli.output import DELIVERED, read_state, show_json
from mailwright.errors import ConfigurationError


def run(node: Path, state: Path | None, *, output: Path | None, attach_root: Path | None, json: bool) -> int:
    """Write the letter as ``.eml``; with `json` a summary goes to stdout instead of the octets."""
    letter = make_letter(node, read_state(state), attach_root=attach_root)
    if output is not None:
        try:
            with output.open("wb") as file:
                file.writelines(letter.composed)
        except OSError as error:
            msg = f"{output}: cannot be written: {error.strerror}; choose another place with -o"
            raise ConfigurationError(msg) from None
        if not json:
            sys.stderr.write(f"{output}: {letter.composed.size} bytes, {letter.composed.message_id}\n")
    if json:
        show_json(letter.summary())
    elif output is None:
        for chunk in letter.composed:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    return DELIVERED
