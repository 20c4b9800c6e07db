"""Parameters of Content-Type and Content-Disposition (RFC 2045 §5.1, RFC 2231)."""

from __future__ import annotations

import re
from typing import Final

from mailwright.errors import MessageError
from mailwright.mime.fields import WIDTH, fold

_QUOTABLE: Final = re.compile(
    r"[ !#-:<-\[\]-~]+"
)  # printable ASCII without what some readers cut at: " ; and backslash
_ATTRIBUTE_CHAR: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`{|}~")
_ENCODED: Final = tuple(chr(byte) if byte in _ATTRIBUTE_CHAR else f"%{byte:02X}" for byte in range(256))
MAX_PIECES: Final = 9  # some readers know one digit only
_MAX_PIECE: Final = 900


def with_parameter(field: str, value: str, name: str, text: str) -> str:
    """A field with one parameter whose text may be anything.

    Args:
        field: Field name.
        value: What stands before the parameter.
        name: Parameter name, a token.
        text: Its text.

    Returns:
        The folded field. ASCII is quoted; anything else is percent-encoded UTF-8, in at most nine pieces.

    Raises:
        MessageError: For a text that nine pieces do not hold.
    """
    if _QUOTABLE.fullmatch(text) and "=?" not in text:
        line = f'{field}: {value}; {name}="{text}"'
        if len(line) <= WIDTH:
            return line
        if len(text) + len(name) + 4 <= WIDTH:
            return fold(field, [f"{value};", f'{name}="{text}"'])
    return fold(field, [f"{value};", *_pieces(name, text)])


def _pieces(name: str, text: str) -> list[str]:
    encoded = ["".join([_ENCODED[byte] for byte in char.encode()]) for char in text]
    total = sum(map(len, encoded)) + 7
    if total + len(name) + 3 <= WIDTH:
        return [f"{name}*=utf-8''{''.join(encoded)}"]
    room = max(
        WIDTH - len(name) - 6, -(-total // MAX_PIECES) + 12
    )  # a character that does not fit leaves up to 11 unused
    if room > _MAX_PIECE:
        msg = f"{name}: too long; {text[:40]!r}…"
        raise MessageError(msg)
    pieces: list[str] = []
    current, length = ["utf-8''"], 7
    for char in encoded:
        if length + len(char) > room:
            pieces.append("".join(current))
            current, length = [], 0
        current.append(char)
        length += len(char)
    pieces.append("".join(current))
    last = len(pieces) - 1
    return [f"{name}*{index}*={piece}{'' if index == last else ';'}" for index, piece in enumerate(pieces)]
