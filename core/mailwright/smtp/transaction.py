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
- One at a time, a reply that is there before its command was written is one too: the session is out of step.

    state     expects            next
    ------    ----------------   ------------------------------------------------
    ASKING    MAIL, RCPT, DATA   BODY, EMPTY or DONE
    BODY      nothing            FINAL when the dot is written; early reply: DONE
    EMPTY     nothing            FINAL when the lone dot is written
    FINAL     one reply          DONE
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
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
    DONE = "done"


class Transaction:
    """One message for some recipients on one session.

    Args:
        envelope: Who is told.
        mail_parameters: ESMTP parameters of MAIL.
        rcpt_parameters: Of RCPT, for each recipient.
        pipelining: Write all commands at once.
        chunking: The body goes in BDAT chunks.
    """

    def __init__(
        self,
        envelope: Envelope,
        *,
        mail_parameters: Iterable[str] = (),
        rcpt_parameters: Callable[[str], Iterable[str]] = lambda recipient: (),
        pipelining: bool = False,
        chunking: bool = False,
    ) -> None:
        self._envelope = envelope
        self._statuses: list[RecipientStatus | None] = [None] * len(envelope.recipients)
        self._accepted: dict[int, Reply] = {}
        self._pipelining = pipelining
        self._to_send: deque[tuple[Stage, bytes]] = deque([("mail", mail_from(envelope.sender, mail_parameters))])
        self._to_send.extend(("rcpt", rcpt_to(address, rcpt_parameters(address))) for address in envelope.recipients)
        if not chunking:
            self._to_send.append(("data", b"DATA\r\n"))
        self.chunking = chunking
        self.chunks = 0
        self._asked: deque[Stage] = deque()
        self._recipient = 0
        self._final: Reply | None = None
        self._untouched = True
        self._in_step = not pipelining
        self.state = State.ASKING
        self.close = False

    @property
    def dirty(self) -> bool:
        """Whether the session needs RSET before the next MAIL.

        After anything but success: the reply to RSET also shows that no reply is left over that would be paired with
        the next command.
        """
        return self.state is State.DONE and not any(
            status and status.outcome == "accepted" for status in self._statuses
        )

    @property
    def untouched(self) -> bool:
        """Whether the server took no notice of it: no answer, or 421 to MAIL. Another session may try it at once."""
        return self._untouched

    @property
    def one_too_many(self) -> bool:
        """Whether some recipients need a further transaction."""
        return any(status is not None and one_too_many(status) for status in self._statuses)

    def commands(self) -> bytes:
        """What to write now; nothing while a reply is awaited."""
        if self.state is not State.ASKING or (self._asked and not self._pipelining):
            return b""
        batch: list[bytes] = []
        while self._to_send:
            stage, command = self._to_send.popleft()
            self._asked.append(stage)
            batch.append(command)
            if not self._pipelining:
                break
        return b"".join(batch)

    def dot_sent(self) -> None:
        """The final dot, or the last chunk, is on its way: from here on a lost session means *unknown*."""
        self.state = State.FINAL

    def chunk_sent(self) -> None:
        """A chunk that is not the last is on its way; `chunks` counts those without an answer."""
        self.chunks += 1

    def receive(self, reply: Reply) -> None:
        """Take the next reply.

        Raises:
            ProtocolError: For a reply that no command asked for, or a code that does not fit.
        """
        self._untouched = self._untouched and reply.code == 421 and self._asks("mail")
        if self.chunks:
            self._receive_chunk(reply)
        elif self.state is State.FINAL:
            self._receive_final(reply)
        elif self.state in {State.BODY, State.EMPTY}:
            self._receive_early(reply)
        elif not self._asked:
            raise ProtocolError(f"the server said what nobody asked for: {reply}")
        elif reply.code == 421:
            self._closing(reply, self._asked[0])
        else:
            getattr(self, f"_receive_{self._asked.popleft()}")(reply)

    def lost(self, error: MailwrightError) -> None:
        """The session broke: decide what is undecided."""
        outcome = "unknown" if self.state is State.FINAL else "rejected"
        stage: Stage = {State.FINAL: "final", State.BODY: "body", State.EMPTY: "body"}.get(  # type: ignore[assignment]
            self.state, self._asked[0] if self._asked else "mail"
        )
        out_of_step = isinstance(error, ProtocolError) and not self._in_step and self.state is not State.DONE
        for index in range(len(self._statuses)):
            if self._statuses[index] is None or out_of_step:
                self._decide(index, outcome, stage, error.reply, permanent=False)
        self._finish(close=True)

    @property
    def final(self) -> Reply | None:
        """The reply that ended it."""
        return self._final

    @property
    def statuses(self) -> tuple[RecipientStatus, ...]:
        """The outcome; every recipient is decided once the state is DONE."""
        assert all(self._statuses), "asked for the outcome before there was one"
        return tuple([status for status in self._statuses if status])

    # -- one reply for each command

    def _receive_mail(self, reply: Reply) -> None:
        if reply.code // 100 == 2:
            return
        self._refusal(reply, "MAIL")
        self._final = reply
        for index in range(len(self._statuses)):
            self._decide(index, "rejected", "mail", reply)
        self._give_up()

    def _receive_rcpt(self, reply: Reply) -> None:
        index = self._recipient
        self._recipient += 1
        if self._statuses[index] is not None:  # MAIL was refused
            self._give_up()
            return
        if reply.code // 100 == 2:
            self._accepted[index] = reply
        else:
            self._refusal(reply, "RCPT")
            self._final = reply
            self._decide(index, "rejected", "rcpt", reply)
        if self._recipient == len(self._statuses):
            if not self._accepted:
                self._give_up()
            elif self.chunking:
                self.state = State.BODY

    def _receive_data(self, reply: Reply) -> None:
        if reply.code == 354:
            self._in_step = True
            self.state = State.BODY if self._accepted else State.EMPTY
            return
        self._refusal(reply, "DATA")
        if self._accepted:
            self._final = reply
        self._decide_accepted("rejected", "data", reply)
        self._finish()

    def _receive_final(self, reply: Reply) -> None:
        if reply.code // 100 == 2:
            self._decide_accepted("accepted", "final", reply)
        else:
            self._refusal(reply, "the final dot")
            self._decide_accepted("rejected", "final", reply)
        if self._accepted:
            self._final = reply
        self._finish(close=reply.code == 421)

    def _receive_chunk(self, reply: Reply) -> None:
        self.chunks -= 1
        if reply.code // 100 == 2:
            return
        self.chunks = 0
        self._receive_early(reply)

    def _receive_early(self, reply: Reply) -> None:
        self._refusal(reply, "the body")
        self._final = reply
        self._decide_accepted("rejected", "body", reply)
        self._finish(close=True)

    # -- helpers

    def _asks(self, stage: Stage) -> bool:
        return self.state is State.ASKING and bool(self._asked) and self._asked[0] == stage

    def _refusal(self, reply: Reply, what: str) -> None:
        if reply.code // 100 not in {4, 5}:
            raise ProtocolError(f"the server answered {what} with {reply}")

    def _closing(self, reply: Reply, stage: Stage) -> None:
        self._final = reply
        for index, status in enumerate(self._statuses):
            if status is None:
                self._decide(index, "rejected", stage, reply, permanent=False)
        self._finish(close=True)

    def _give_up(self) -> None:
        """Nobody is left: ask nothing more; with DATA on the wire its reply is still to come."""
        self._to_send.clear()
        if not self._asked:
            self._finish()

    def _decide_accepted(self, outcome: str, stage: Stage, reply: Reply) -> None:
        for index in self._accepted:
            self._decide(index, outcome, stage, reply)

    def _decide(
        self, index: int, outcome: str, stage: Stage, reply: Reply | None, *, permanent: bool | None = None
    ) -> None:
        if outcome == "rejected" and permanent is None:
            permanent = reply is not None and reply.permanent
        self._statuses[index] = RecipientStatus(
            address=self._envelope.recipients[index],
            outcome=outcome,  # type: ignore[arg-type]
            permanent=permanent if outcome == "rejected" else None,
            stage=stage,
            reply=reply,
        )

    def _finish(self, *, close: bool = False) -> None:
        self.state = State.DONE
        self.close = self.close or close
