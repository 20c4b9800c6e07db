"""SASL as byte machines: challenges in, answers out; no socket in sight.

Public for plugins: an authentication method picks its machine here. A machine that checks the server in turn has
`complete`; a login that the server calls successful while it is still False is refused.
"""

from mailwright.sasl.bindings import server_end_point
from mailwright.sasl.choose import passwords, tokens
from mailwright.sasl.machines import CramMd5, External, Login, OAuthBearer, Plain, XOAuth2
from mailwright.sasl.scram import ScramSha1, ScramSha256

__all__ = [
    "CramMd5",
    "External",
    "Login",
    "OAuthBearer",
    "Plain",
    "ScramSha1",
    "ScramSha256",
    "XOAuth2",
    "passwords",
    "server_end_point",
    "tokens",
]
