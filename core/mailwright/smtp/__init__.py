"""SMTP without a socket: replies in, commands and outcomes out."""

from mailwright.smtp.capabilities import Capabilities
from mailwright.smtp.commands import auth_lines, mail_from, rcpt_to
from mailwright.smtp.plan import Job, Leg, Plan, further, plain_leg, plan
from mailwright.smtp.replies import ProtocolError, ReplyParser, server_id
from mailwright.smtp.stuffing import DotStuffer, closed
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
    "closed",
    "further",
    "mail_from",
    "plain_leg",
    "plan",
    "rcpt_to",
    "server_id",
]
