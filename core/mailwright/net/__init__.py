"""The one HTTP implementation, handed out as a port under one of two policies.

*Configured*: for token endpoints and APIs that the user's own connection names. *Guarded*: for attachments, whose URLs may
come from anybody: every address a request is led to is checked before it is connected to.
"""

from mailwright.net.allowed import Allowed
from mailwright.net.configured import ConfiguredHttp
from mailwright.net.guarded import GuardedHttp

__all__ = ["Allowed", "ConfiguredHttp", "GuardedHttp"]
