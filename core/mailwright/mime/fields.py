"""Header fields: folding, unstructured text, mailboxes, parameters (RFC 5322 §2.2.3, RFC 2231)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from mailwright.errors import MessageError
from mailwright.mime.transfer import MAX_LINE
from mailwright.mime.words import encoded_words

if TYPE_CHECKING:
    from mailwright.model import Address

WIDTH: Final = 76  # RFC 2047 §2 for lines with encoded-words; below the 78 of RFC 5322 §2.1.1
BETWEEN_FIELDS: Final = re.compile(rb"\r\n(?![ \t])")  # not inside a folded one
_ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_BLANK_RUNS: Final = re.compile(r" *[^ ]+")
_MAX_NAME: Final = 60  # longer display names become encoded-words, which fold anywhere
_NO_OFFSET: Final = timedelta()
_MINUTE: Final = timedelta(minutes=1)
_TWO: Final = tuple(f"{number:02d}" for number in range(60))


def fold(name: str, tokens: Iterable[str]) -> str:
    """One field from tokens that stay whole: a line ends before the token that would pass column 76.

    Args:
        name: Field name.
        tokens: What stands between blanks.

    Returns:
        ``Name: token token`` with CRLF and a blank wherever it was folded; no line end behind it.
    """
    out = [name, ":"]
    column = start = len(name) + 1
    for token in tokens:
        # A token too long for any line stays behind the name: an empty first line helps nobody.
        if column + 1 + len(token) > WIDTH and (column > start or len(token) < WIDTH):
            out.append("\r\n ")
            column = 1 + len(token)
        else:
            out.append(" ")
            column += 1 + len(token)
        out.append(token)
    return "".join(out)


def refold(name: str, text: str) -> str:
    """Fold a value that is ready for the wire at its blanks; of several in a row the first one begins the new line.

    Folding what was unfolded (RFC 5322 §2.2.3) gives the same field again.
    """
    return f"{name}: {text}" if len(name) + 2 + len(text) <= WIDTH else fold(name, _tokens(text))


def _tokens(text: str) -> list[str]:
    """What stands between blanks; further blanks stay in front of what they precede."""
    whole = text.rstrip(" ")
    runs = _BLANK_RUNS.findall(whole)
    if not runs:
        return [text]
    runs[-1] += text[len(whole) :]
    return [runs[0], *(run[1:] for run in runs[1:])]


def unstructured(name: str, text: str, *, longest: int = WIDTH - 1) -> str:
    """A field of free text: ASCII as it is, everything else, and what only looks encoded, as encoded-words.

    Args:
        name: Field name.
        text: Checked for control characters.
        longest: Unbreakable stretches of ASCII up to this stay as they are.

    Returns:
        The folded field. Unfolding and decoding give `text` again.
    """
    if text.isascii() and "=?" not in text and text.isprintable() and text[:1] != " " and text[-1:] != " ":
        line = f"{name}: {text}"
        if len(line) <= WIDTH:
            return line
        tokens = _tokens(text)
        if max(map(len, tokens), default=0) <= longest:
            return fold(name, tokens)
    words = encoded_words(text, first=WIDTH - len(name) - 2)
    return f"{name}: {words[0]}" if len(words) == 1 and len(words[0]) + len(name) + 2 <= WIDTH else fold(name, words)


def mailboxes(name: str, addresses: Sequence[Address]) -> str:
    """A field of mailboxes separated by commas, folded between them and between the words of a name."""
    found = [_mailbox(address.name, address.email) for address in addresses]
    line = f"{name}: {' '.join(found[0]) if len(found) == 1 else ', '.join(map(' '.join, found))}"
    if len(line) <= WIDTH:
        return line
    tokens: list[str] = []
    for mailbox in found:
        tokens += mailbox
        tokens[-1] += ","
    tokens[-1] = tokens[-1][:-1]
    return fold(name, tokens)


@lru_cache(maxsize=64, typed=True)
def author(field: str, name: str, email: str) -> str:
    """A field of one mailbox; the same authors write again and again."""
    return fold(field, _mailbox(name, email))


def _mailbox(name: str, email: str) -> list[str]:
    if not name:
        return [email if email[0] != '"' and email.isascii() else f"<{email}>"]
    if name.isascii() and len(name) <= _MAX_NAME and "=?" not in name:
        if _ATOMS.fullmatch(name):
            return [name, f"<{email}>"]
        # Many readers do not undo quoted-pairs: a name with one is encoded, which all of them decode.
        if '"' not in name and "\\" not in name and "  " not in name and name[0] != " " and name[-1] != " ":
            return [f'"{name}"', f"<{email}>"]
    return [*encoded_words(name), f"<{email}>"]


def date_time(moment: datetime) -> str:
    """``Mon, 02 Nov 2026 15:04:05 +0100`` (RFC 5322 §3.3), whatever the locale."""
    zone = _zone(moment.utcoffset() or _NO_OFFSET)
    if zone is None:
        try:
            return date_time(moment.astimezone(UTC))
        except OverflowError:
            msg = f"date: {moment.isoformat()} is not in the years 1 to 9999 in UTC"
            raise MessageError(msg) from None
    day = _day(moment.toordinal())
    return f"{day} {_TWO[moment.hour]}:{_TWO[moment.minute]}:{_TWO[moment.second]} {zone}"


@lru_cache(maxsize=64)
def _zone(offset: timedelta) -> str | None:
    """``+0100``; None for one of odd seconds, which cannot be written."""
    minutes, rest = divmod(offset, _MINUTE)
    return None if rest else f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"


@lru_cache(maxsize=16)
def _day(ordinal: int) -> str:
    shown = date.fromordinal(ordinal).ctime()  # Mon Nov  2 00:00:00 2026, in English by definition
    return f"{shown[:3]}, {shown[8:10].replace(' ', '0')} {shown[4:7]} {shown[20:]}"


def header_block(fields: Sequence[str]) -> bytes:
    """Write fields under one another, CRLF between them, and make sure that nothing else comes with them.

    Raises:
        MessageError: As `check_block`.
    """
    text = "\r\n".join(fields)
    block = text.encode()
    # Mostly the only CR and LF are those just written, and those of folds: a blank stands behind them, then something else.
    starts: Sequence[str] = fields
    breaks, ends = text.count("\n"), len(fields) - 1
    if breaks != ends:
        pieces = text.split("\r\n ")
        starts = [*fields, *pieces]
        ends += len(pieces) - 1
    sound = breaks == ends == text.count("\r") and min(starts) > "!" and "\0" not in text
    if not sound or len(block) > MAX_LINE:
        check_block(block, fields=len(fields))
    return block


def check_fields(fields: Sequence[str], *, field: str) -> None:
    """The same for a part's header fields, which are ASCII always.

    Raises:
        MessageError: Names `field`.
    """
    try:
        header_block(fields).decode("ascii")
    except UnicodeDecodeError:
        msg = f"{field}: a header of the part was not encoded; the message is refused"
        raise MessageError(msg) from None
    except MessageError as error:
        msg = f"{field}: {error.message}"
        raise MessageError(msg) from None


def check_block(block: bytes, *, fields: int) -> None:
    """Make sure that a header block holds exactly the fields that were meant; the last line of defence.

    Args:
        block: Field after field, CRLF between them, none behind the last.
        fields: How many were meant.

    Raises:
        MessageError: For NUL, a bare CR or LF, a line over 998 octets, a blank line, or another number of fields.
    """
    lines = block.split(b"\r\n")
    ends = len(lines) - 1
    folded = [line for line in lines if line[:1] == b" "] if ends >= fields else []
    if ends - len(folded) != fields - 1 or block.count(b"\n") != ends or block.count(b"\r") != ends or b"\0" in block:
        msg = "headers: a line end, NUL or field that nobody meant to write; the message is refused"
        raise MessageError(msg)
    if len(block) > MAX_LINE and max(map(len, lines)) > MAX_LINE:
        msg = f"headers: a line is longer than {MAX_LINE} octets (RFC 5322 §2.1.1)"
        raise MessageError(msg)
    if b"" in lines or not all(map(bytes.strip, folded)):
        msg = "headers: a line holds nothing but blanks"
        raise MessageError(msg)
