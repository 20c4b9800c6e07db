"""SMTP without a socket: replies in, commands and outcomes out."""

from mailwright.smtp.capabilities import Capabilities
from mailwright.smtp.commands import auth_lines, mail_from, rcpt_to
from mailwright.smtp.plan import Job, Leg, Plan, further, plan
from mailwright.smtp.replies import ProtocolError, ReplyParser, server_id
from mailwright.smtp.stuffing import DotStuffer
from mailwright.smtp.transaction import State, Transaction

__all__ = [
    "Capabilities",
    "DotStuffer",
    "Job",
    "Leg",
    "Plan",
    "ProtocolError",
    "ReplyParser",
    "State",
    "Transaction",
    "auth_lines",
    "further",
    "mail_from",
    "plan",
    "rcpt_to",
    "server_id",
]
