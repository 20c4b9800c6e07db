"""The life of a token: asked for, checked, kept, renewed early, renewed once when refused, replaced, given back."""

from mailwright.oauth.bearer import Bearer
from mailwright.oauth.desk import TokenDesk
from mailwright.oauth.files import FileTokenStore, MemoryTokenStore
from mailwright.oauth.source import Source

__all__ = ["Bearer", "FileTokenStore", "MemoryTokenStore", "Source", "TokenDesk"]
