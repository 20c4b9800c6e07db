"""One mail transaction (RFC 5321 §3.3) as a machine: replies in, commands and outcomes out.

The rules:

- MAIL, each RCPT and DATA are asked in this order; with PIPELINING (RFC 2920) in one write, else one at a time. Either way
  the n-th reply answers the n-th command.
- A recipient is *accepted so far* by 2yz to its RCPT, *rejected* by anything else. A rejected MAIL rejects them all.
- With CHUNKING (RFC 3030) there is no DATA: the body opens when all recipients are answered and one is accepted so far. Every
  chunk is answered; a refused one refuses the message, and the session must be closed, for others may be on the wire.
- 354 opens the body if anybody is accepted so far. If nobody is, a pipelined DATA may still be answered by 354: then an
  empty message is sent (a lone dot), and whatever the server says to it changes no outcome.
- The reply to the final dot decides for all that were accepted so far. An early 4yz or 5yz while the body is under way
  decides as well, and the session must be closed.
- 421 anywhere means that the server closes: what is undecided is rejected for the moment.
- A session lost before the dot left rejects for the moment; after it, the outcome is unknown (RFC 1047).
- Any other code is a protocol error: the session is closed, nothing is believed, also not what was said to recipients
  before: only 354 shows that replies to commands in one write were paired rightly.
- The commands of the next transaction may ride behind the final dot (RFC 2920 §3.1): whatever the server says to the dot,
  a transaction has ended there, and RSET would only undo the next one.
- *At once*: MAIL, RCPT, the whole message as one last chunk, and RSET go in one write, for one recipient. From that write
  on a lost session means *unknown*. RSET leaves the session clean whatever was refused, and its 2yz, paired after the
  answer to the chunk, is what 354 is elsewhere: a server that gave one answer too many has a refusal of the chunk there.
- One at a time, a reply that is there before its command was written is one too: the session is out of step.

    state     expects            next
    ------    ----------------   ------------------------------------------------
    ASKING    MAIL, RCPT, DATA   BODY, EMPTY or DONE
    BODY      nothing            FINAL when the dot is written; early reply: DONE
    EMPTY     nothing            FINAL when the lone dot is written
    FINAL     one reply          DONE, at once: RESET
    RESET     RSET               DONE
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

from mailwright.errors import MailwrightError, Stage
from mailwright.model import Envelope, RecipientStatus, Reply
from mailwright.smtp.commands import mail_from, rcpt_to
from mailwright.smtp.plan import one_too_many
from mailwright.smtp.replies import ProtocolError


class State(Enum):
    """See the table above."""

    ASKING = "asking"
    BODY = "body"
    EMPTY = "empty"
    FINAL = "final"
    RESET = "reset"
    DONE = "done"


_ASKING, _BODY, _EMPTY, _FINAL, _RESET, _DONE = State  # an enum's members are slow to reach


class Transaction:
    """One message for some recipients on one session.

    Args:
        envelope: Who is told.
        mail_parameters: ESMTP parameters of MAIL.
        rcpt_parameters: Of RCPT, for each recipient; None: none.
        pipelining: Write all commands at once.
        chunking: The body goes in BDAT chunks.
        at_once: It goes with the commands, as one chunk, and RSET behind it; needs `pipelining` and `chunking`.

    Attributes:
        state: See the table above.
        close: Whether the session must be closed once it is DONE.
        chunks: Chunks without an answer.
        final: The reply that ended it.
        whole: Every recipient was accepted.
        untouched: The server took no notice of it: no answer, or 421 to MAIL. Another session may try it at once.
    """

    state = _ASKING
    close = False
    chunks = 0
    final: Reply | None = None
    whole = False
    untouched = True
    _asked = 0
    _answered = 0
    _ended = False

    def __init__(
        self,
        envelope: Envelope,
        *,
        mail_parameters: Sequence[str] = (),
        rcpt_parameters: Callable[[str], Sequence[str]] | None = None,
        pipelining: bool = False,
        chunking: bool = False,
        at_once: bool = False,
    ) -> None:
        self._recipients = envelope.recipients
        self._statuses: list[RecipientStatus | None] = [None] * len(self._recipients)
        self._accepted: dict[int, Reply] = {}
        self._pipelining = pipelining
        self._in_step = not pipelining
        commands = self._commands = [mail_from(envelope.sender, mail_parameters)]
        for address in self._recipients:
            commands.append(rcpt_to(address, rcpt_parameters(address) if rcpt_parameters is not None else ()))  # noqa: PERF401 - a comprehension is a call more
        if not chunking:
            commands.append(b"DATA\r\n")
        self.chunking = chunking
        self.at_once = at_once

    @property
    def dirty(self) -> bool:
        """Whether the session needs RSET before the next MAIL.

        After anything but success: the reply to RSET also shows that no reply is left over that would be paired with
        the next command.
        """
        return (
            self.state is _DONE
            and not self.at_once
            and not any(status and status.outcome == "accepted" for status in self._statuses)
        )

    @property
    def one_too_many(self) -> bool:
        """Whether some recipients need a further transaction."""
        return self.final is not None and any(status is not None and one_too_many(status) for status in self._statuses)

    def commands(self) -> bytes:
        """What to write now; nothing while a reply is awaited."""
        if self.state is not _ASKING or (self._asked > self._answered and not self._pipelining):
            return b""
        first = self._asked
        self._asked = len(self._commands) if self._pipelining else min(first + 1, len(self._commands))
        return b"".join(self._commands[first : self._asked])

    def dot_sent(self) -> None:
        """The final dot, or the last chunk, is on its way: from here on a lost session means *unknown*."""
        self._ended = True
        if self.state is not _ASKING:
            self.state = _FINAL

    def chunk_sent(self) -> None:
        """A chunk that is not the last is on its way; `chunks` counts those without an answer."""
        self.chunks += 1

    def receive(self, reply: Reply) -> bool:
        """Take the next reply.

        Returns:
            Whether it was the last.

        Raises:
            ProtocolError: For a reply that no command asked for, or a code that does not fit.
        """
        if self.state is _ASKING:
            place = self._answered
            if place == self._asked:
                raise ProtocolError(f"the server said what nobody asked for: {reply}")
            if reply.code == 421:
                self._closing(reply)
                return True
            self.untouched = False
            self._answered = place + 1
            if place == 0:
                self._receive_mail(reply)
            elif place <= len(self._statuses):
                self._receive_rcpt(place - 1, reply)
            else:
                self._receive_data(reply)
        elif self.chunks:
            self._receive_chunk(reply)
        elif self.state is _FINAL:
            self._receive_final(reply)
        elif self.state is _RESET:
            self._receive_reset(reply)
        elif self.state is not _DONE:
            self._receive_early(reply)
        else:
            raise ProtocolError(f"the server said what nobody asked for: {reply}")
        return self.state is _DONE

    def lost(self, error: MailwrightError) -> None:
        """The session broke: decide what is undecided."""
        outcome = "unknown" if self._ended else "rejected"
        stage: Stage = "final" if self._ended else self._stage if self.state is _ASKING else "body"
        out_of_step = isinstance(error, ProtocolError) and not self._in_step and self.state is not _DONE
        for index in range(len(self._statuses)):
            if self._statuses[index] is None or out_of_step:
                self._decide(index, outcome, stage, error.reply, permanent=False)
        self._finish(close=True)

    @property
    def statuses(self) -> tuple[RecipientStatus, ...]:
        """The outcome; every recipient is decided once the state is DONE."""
        assert None not in self._statuses, "asked for the outcome before there was one"
        return tuple(self._statuses)  # type: ignore[arg-type]

    # -- one reply for each command

    @property
    def _stage(self) -> Stage:
        """What the next answer is to."""
        return "mail" if not self._answered else "rcpt" if self._answered <= len(self._statuses) else "data"

    def _receive_mail(self, reply: Reply) -> None:
        if reply.code // 100 == 2:
            return
        self._refusal(reply, "MAIL")
        self.final = reply
        for index in range(len(self._statuses)):
            self._decide(index, "rejected", "mail", reply)
        self._give_up()

    def _receive_rcpt(self, index: int, reply: Reply) -> None:
        if self._statuses[index] is not None:  # MAIL was refused
            self._give_up()
            return
        if reply.code // 100 == 2:
            self._accepted[index] = reply
        else:
            self._refusal(reply, "RCPT")
            self.final = reply
            self._decide(index, "rejected", "rcpt", reply)
        if index + 1 == len(self._statuses):
            if not self._accepted:
                self._give_up()
            elif self.chunking:
                self.state = _FINAL if self._ended else _BODY

    def _receive_data(self, reply: Reply) -> None:
        if reply.code == 354:
            self._in_step = True
            self.state = _BODY if self._accepted else _EMPTY
            return
        self._refusal(reply, "DATA")
        if self._accepted:
            self.final = reply
        self._reject_accepted("data", reply)
        self._finish()

    def _receive_final(self, reply: Reply) -> None:
        if reply.code // 100 == 2:
            for index in self._accepted:
                address = self._recipients[index]
                self._statuses[index] = RecipientStatus(address=address, outcome="accepted", stage="final", reply=reply)
            self.whole = len(self._accepted) == len(self._statuses)
        else:
            self._refusal(reply, "the final dot")
            self._reject_accepted("final", reply)
        if self._accepted:
            self.final = reply
        if self.at_once and reply.code != 421:
            self.state = _RESET
        else:
            self._finish(close=reply.code == 421)

    def _receive_reset(self, reply: Reply) -> None:
        if reply.code // 100 != 2 and reply.code != 421:
            raise ProtocolError(f"the server answered RSET with {reply}")
        self._finish(close=reply.code == 421)

    def _receive_chunk(self, reply: Reply) -> None:
        self.chunks -= 1
        if reply.code // 100 == 2:
            return
        self.chunks = 0
        self._receive_early(reply)

    def _receive_early(self, reply: Reply) -> None:
        self._refusal(reply, "the body")
        self.final = reply
        self._reject_accepted("body", reply)
        self._finish(close=True)

    # -- helpers

    def _refusal(self, reply: Reply, what: str) -> None:
        if reply.code // 100 not in {4, 5}:
            raise ProtocolError(f"the server answered {what} with {reply}")

    def _closing(self, reply: Reply) -> None:
        self.final = reply
        stage = self._stage
        for index, status in enumerate(self._statuses):
            if status is None:
                self._decide(index, "rejected", stage, reply, permanent=False)
        self._finish(close=True)

    def _give_up(self) -> None:
        """Nobody is left: ask nothing more; what is on the wire is still answered."""
        del self._commands[self._asked :]
        if self._answered == self._asked:
            if self._ended:
                self.state = _FINAL
            else:
                self._finish()

    def _reject_accepted(self, stage: Stage, reply: Reply) -> None:
        for index in self._accepted:
            self._decide(index, "rejected", stage, reply)

    def _decide(
        self, index: int, outcome: str, stage: Stage, reply: Reply | None, *, permanent: bool | None = None
    ) -> None:
        if outcome == "rejected" and permanent is None:
            permanent = reply is not None and reply.permanent
        self._statuses[index] = RecipientStatus(
            address=self._recipients[index],
            outcome=outcome,  # type: ignore[arg-type]
            permanent=permanent if outcome == "rejected" else None,
            stage=stage,
            reply=reply,
        )

    def _finish(self, *, close: bool = False) -> None:
        self.state = _DONE
        self.close = self.close or close
