"""Testing mail without a provider: a real SMTP server on loopback that does as it is told, and an inbox for people.

async with ScriptedServer(users={"ann": "secret"}) as server:      # wire tests: replies and faults for each stage
...
server.messages[0].raw

with Sandbox() as box:                                             # application tests: what arrived, parsed
Mailer(box.connection).send_sync(message)
box.messages[0].subject
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailwright.testing.capture import Capture
    from mailwright.testing.sandbox import Sandbox
    from mailwright.testing.services import Delivered, HttpAnswer, HttpService, ReceivedRequest, SmtpService
    from mailwright.testing.smtp_server import ScriptedServer
    from mailwright.testing.smtp_session import Fault, ReceivedMessage
    from mailwright.testing.token_server import TokenAnswer, TokenServer

_HOME = {
    "Capture": "capture",
    "Delivered": "services",
    "Fault": "smtp_session",
    "HttpAnswer": "services",
    "HttpService": "services",
    "ReceivedMessage": "smtp_session",
    "ReceivedRequest": "services",
    "Sandbox": "sandbox",
    "ScriptedServer": "smtp_server",
    "SmtpService": "services",
    "TokenAnswer": "token_server",
    "TokenServer": "token_server",
}

__all__ = [
    "Capture",
    "Delivered",
    "Fault",
    "HttpAnswer",
    "HttpService",
    "ReceivedMessage",
    "ReceivedRequest",
    "Sandbox",
    "ScriptedServer",
    "SmtpService",
    "TokenAnswer",
    "TokenServer",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        msg = f"module 'mailwright.testing' has no attribute {name!r}"
        raise AttributeError(msg)
    import importlib  # noqa: PLC0415 - only when a name is first used

    return getattr(importlib.import_module(f"mailwright.testing.{_HOME[name]}"), name)
