"""Encoded-words (RFC 2047): text outside ASCII in headers."""

from __future__ import annotations

from binascii import b2a_base64, b2a_qp
from typing import Final

from mailwright.mime.transfer import ESCAPE

LIMIT: Final = 75  # octets of one word, RFC 2047 §2
_OVERHEAD: Final = len("=?utf-8?Q??=")
_LITERAL: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"
)  # §5 (3): also in phrases
_SINGLE: Final = bytes((*_LITERAL, 0x20))  # one octet each in Q
_Q: Final = tuple("_" if byte == 0x20 else chr(byte) if byte in _LITERAL else f"={byte:02X}" for byte in range(256))
_OCTET: Final = tuple(bytes((octet,)) for octet in range(256))
_LEFT_TO_QP: Final = bytes((0x3D, 0x5F, *range(0x7F, 0x100)))  # `b2a_qp` escapes these, and blanks as "_"
_ROOM: Final = LIMIT - _OVERHEAD
_NARROW: Final = 24  # less than this is no room for two characters of four octets


def encoded_words(text: str, *, first: int = LIMIT) -> list[str]:
    """Encode all of a text as words that decode on their own and put together give the text again.

    No word splits a character. Of Q and B the shorter one is taken; B only where every word but the last holds a
    multiple of three octets, because some readers join words before they decode them.

    Args:
        text: Any text.
        first: Octets that the first word may take, where a line has already begun.

    Returns:
        Words of at most 75 octets; the first may exceed `first` where that leaves no room for anything.
    """
    data = text.encode()
    room = min(first, LIMIT) - _OVERHEAD
    based = (len(data) + 2) // 3 * 4
    escaped = data.translate(None, _SINGLE)
    quoted = len(data) + 2 * len(escaped)
    if quoted <= based and quoted <= room:
        return [f"=?utf-8?Q?{_quoted(data, escaped)}?="]
    if based < quoted and based <= room:
        return [f"=?utf-8?B?{b2a_base64(data, newline=False).decode()}?="]
    if room < _NARROW:
        room = _ROOM
    if based < quoted and (found := _b_words(text, room)):
        return found
    return _q_words(text, room)


def _quoted(data: bytes, escaped: bytes) -> str:
    """One word in Q, too short for `b2a_qp` to cut it."""
    word = b2a_qp(data, istext=False, header=True)
    if data[-1:] == b" ":
        word = word[:-3] + b"_"
    if len(word) < len(data) + 2 * len(escaped):  # there is ASCII left that may not stand in a phrase
        for octet in {*escaped.translate(None, _LEFT_TO_QP)}:
            word = word.replace(_OCTET[octet], ESCAPE[octet])
    return word.decode()


def _q_words(text: str, room: int) -> list[str]:
    words: list[str] = []
    current: list[str] = []
    length = 0
    for char in text:
        piece = "".join([_Q[byte] for byte in char.encode()])
        if length + len(piece) > room:
            words.append(f"=?utf-8?Q?{''.join(current)}?=")
            current, length, room = [], 0, _ROOM
        current.append(piece)
        length += len(piece)
    words.append(f"=?utf-8?Q?{''.join(current)}?=")
    return words


def _b_words(text: str, room: int) -> list[str]:
    """Words of a multiple of three octets each, or nothing where the characters do not allow that."""
    words: list[str] = []
    data = text.encode()
    start = 0
    while start < len(data):
        end = start + room // 4 * 3
        if end >= len(data):
            end = len(data)
        else:
            while end > start and data[end] & 0xC0 == 0x80:  # inside a character
                end -= 3
            if end <= start:
                return []
        words.append(f"=?utf-8?B?{b2a_base64(data[start:end], newline=False).decode()}?=")
        start, room = end, _ROOM
    return words
