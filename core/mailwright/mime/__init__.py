"""Message → octets. Pure: clock, ids and boundaries come in as arguments; no event loop, no socket."""

from mailwright.mime.composed import ComposedMessage
from mailwright.mime.composer import compose, with_text
from mailwright.mime.parts import is_message
from mailwright.mime.ready import octets_of, ready
from mailwright.mime.tree import Structure

__all__ = ["ComposedMessage", "Structure", "compose", "is_message", "octets_of", "ready", "with_text"]
