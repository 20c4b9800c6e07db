"""The MIME tree: leaves with their header fields, and multiparts around them (RFC 2045, RFC 2046)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, TypeAlias

from attrs import frozen

from mailwright.mime.transfer import Base64, Encoding
from mailwright.ports import Need


@frozen
class Structure:
    """One node of a composed message, for showing.

    Attributes:
        content_type: Media type without parameters.
        size: Octets of content before encoding; of a multipart, of all below it.
        filename: Name for the recipient.
        disposition: ``attachment``, ``inline`` or None.
        children: Of a multipart.
    """

    content_type: str
    size: int
    filename: str | None = None
    disposition: str | None = None
    children: tuple[Structure, ...] = ()


@frozen(slots=False)  # without slots making one takes half the time
class Leaf:
    """A part with content.

    Attributes:
        fields: Its header fields, folded, ASCII, without line ends behind them; empty for a ready-made part, whose
            body holds them.
        body: Encoded octets, or content that encodes itself.
        shown: For `Structure`.
        encoding: Of the body; in what is not encoded a boundary might occur.
    """

    fields: tuple[str, ...]
    body: bytes | Base64
    shown: tuple[str, int, str | None, str | None]
    encoding: Encoding


@frozen
class Multi:
    """A multipart; its boundary comes from its letter and the message's token."""

    subtype: str
    children: tuple[Node, ...]


_VERBATIM: Final = frozenset({"7bit", "8bit", "binary"})
_NOTHING: Final[frozenset[Need]] = frozenset()
_NEEDS: Final[dict[Encoding, Need]] = {"8bit": "8bitmime", "binary": "binarymime"}

Node: TypeAlias = "Leaf | Multi"
Segment: TypeAlias = "bytes | Base64"


def structure_of(node: Node) -> Structure:
    """The tree as it is shown."""
    if isinstance(node, Leaf):
        return Structure(*node.shown)
    children = tuple(structure_of(child) for child in node.children)
    return Structure(f"multipart/{node.subtype}", sum(child.size for child in children), children=children)


def verbatim(node: Node) -> list[Leaf]:
    """What is not encoded: a boundary might occur there, and not every session takes it."""
    if isinstance(node, Leaf):
        return [node] if node.encoding in _VERBATIM else []
    found: list[Leaf] = []
    for child in node.children:
        if isinstance(child, Multi):
            found += verbatim(child)
        elif child.encoding in _VERBATIM:
            found.append(child)
    return found


def needs_of(leaves: Iterable[Leaf]) -> frozenset[Need]:
    """What a session must offer to take these."""
    found = _NOTHING
    for leaf in leaves:
        if leaf.encoding in _NEEDS:
            found |= {_NEEDS[leaf.encoding]}
    return found


def multipart_fields(node: Multi, token: str, needs: frozenset[Need]) -> tuple[str, ...]:
    """Header fields of a multipart. ``=_`` occurs neither in base64 nor in quoted-printable (RFC 2045 §6.7)."""
    # RFC 2387 §3.1: the type of the root
    kind = ' type="text/html";' if node.subtype == "related" else ""
    content_type = f'Content-Type: multipart/{node.subtype};{kind}\r\n boundary="{boundary(node, token)}"'
    if not needs:
        return (content_type,)
    # RFC 2045 §6.4: as unrestricted as the least restricted part
    return content_type, f"Content-Transfer-Encoding: {'binary' if 'binarymime' in needs else '8bit'}"


def boundary(node: Multi, token: str) -> str:
    """Different for each level, none the beginning of another."""
    return f"=_{node.subtype[0]}{token}"


def segments(head: bytes, root: Node, token: str) -> tuple[Segment, ...]:
    """All octets: header block, empty line, bodies, delimiters; neighbours joined."""
    if isinstance(root, Multi):
        pieces: list[Segment] = [head, b"\r\n\r\n"]
        _write(root, token, pieces)
        try:
            return (b"".join(pieces),)  # type: ignore[arg-type]
        except TypeError:  # one of them is streamed
            return tuple(_joined(pieces))
    body = root.body
    if not isinstance(body, bytes):
        return head + b"\r\n\r\n", body
    end = b"\r\n" if body and not body.endswith(b"\r\n") else b""
    return (b"".join((head, b"\r\n\r\n", body, end)),)


def _write(node: Multi, token: str, pieces: list[Segment]) -> None:
    delimiter = f"--{boundary(node, token)}".encode()
    first = delimiter + b"\r\n"
    next_ = b"\r\n" + first
    line = first
    for child in node.children:
        if isinstance(child, Leaf):
            body = child.body
            pieces += (line, _lines(child.fields), body)
            # the last line end of streamed base64 is the delimiter's (RFC 2046 §5.1.1)
            line = first if isinstance(body, Base64) and body.length else next_
        else:
            pieces += (line, _lines(multipart_fields(child, token, needs_of(verbatim(child)))))
            _write(child, token, pieces)
            line = next_
    pieces.append(b"%b--\r\n" % line[:-2])


@lru_cache(maxsize=64)  # texts have the same few
def _lines(fields: tuple[str, ...]) -> bytes:
    """Header fields of a part, and the empty line; a ready-made part has its own."""
    return "\r\n".join((*fields, "", "")).encode() if fields else b""


def _joined(pieces: list[Segment]) -> list[Segment]:
    joined: list[Segment] = []
    run: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            run.append(piece)
        else:
            if run:
                joined.append(b"".join(run))
                run = []
            joined.append(piece)
    if run:
        joined.append(b"".join(run))
    return joined
