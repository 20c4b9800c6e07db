"""Stateful: the transaction machine against a model of a server, replies cut anywhere, neighbours behind the dot."""

from __future__ import annotations

import re
from collections import Counter, deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mailwright import Envelope
from mailwright.errors import SessionError
from mailwright.model import RecipientStatus
from mailwright.smtp import DotStuffer, ProtocolError, ReplyParser, State, Transaction

BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
CODES = st.sampled_from(["2", "2", "2", "4", "5", "421"])


class Server:
    """What RFC 5321 lets a server do: one reply a command, 421 and gone at any time; every reply names its cause."""

    def __init__(self, held: Counter[tuple[str, str]], *, lenient: bool) -> None:
        self.held = held
        self.lenient = lenient
        self.inbox = b""
        self.outbox = b""
        self.gone = False
        self.body = False
        self.thrown_away = False
        self._forget()

    def _forget(self) -> None:
        self.sender = ""
        self.told: list[str] = []

    def can_act(self) -> bool:
        return not self.gone and (b"\r\n.\r\n" in b"\r\n" + self.inbox if self.body else b"\r\n" in self.inbox)

    def act(self, code: str, lines: int) -> None:
        if self.body:
            self._take(code, lines)
            return
        line, _, self.inbox = self.inbox.partition(b"\r\n")
        verb, _, rest = line.decode().partition(" ")
        address = rest.partition("<")[2].partition(">")[0]
        if code == "421":
            self._say("421", verb, address, lines)
            self.gone = True
        elif verb == "RSET":
            self._forget()
            self._say("250", verb, "", lines)
        elif verb == "MAIL":
            assert not self.sender, "MAIL within a transaction"
            self.sender = address if code == "2" else ""
            self._say({"2": "250", "4": "451", "5": "550"}[code], verb, address, lines)
        elif verb == "RCPT":
            good = code == "2" and bool(self.sender)
            self.told += [address] if good else []
            refusal = {"4": "450"}.get(code, "550")
            self._say("250" if good else refusal if self.sender else "503", verb, address, lines)
        elif verb == "BDAT":
            self._chunk(int(rest.split()[0]), code, lines)
        else:
            assert verb == "DATA", line
            self._data(code, lines)

    def _data(self, code: str, lines: int) -> None:
        if not self.sender or not (self.told or self.lenient):
            self._say("503", "DATA", self.sender, lines)
        elif code == "2" or not self.told:
            self._say("354", "DATA", self.sender, lines)
            self.body = True
        else:
            self._say({"4": "451", "5": "554"}[code], "DATA", self.sender, lines)
        if not self.body:
            self._forget()

    def _take(self, code: str, lines: int) -> None:
        body, _, self.inbox = (b"\r\n" + self.inbox).partition(b"\r\n.\r\n")
        self.body = False
        if self.thrown_away:
            self.gone = True
            return
        if code == "2":
            subject = body.removeprefix(b"\r\n").decode().partition("\r\n")[0]
            assert subject in {self.sender, ""}, "one message's body in another's transaction"
            self.held.update((self.sender, address) for address in self.told)
        self._say({"2": "250", "4": "451", "5": "554", "421": "421"}[code], "dot", self.sender, lines)
        self.gone = code == "421"
        self._forget()

    def _chunk(self, octets: int, code: str, lines: int) -> None:
        """A refused chunk leaves who knows what behind: only RSET helps."""
        body, self.inbox = self.inbox[:octets], self.inbox[octets:]
        if not (self.sender and self.told):
            self._say("503", "dot", self.sender, lines)
        elif code == "2":
            assert body == self.sender.encode(), "one message's body in another's transaction"
            self.held.update((self.sender, address) for address in self.told)
            self._say("250", "dot", self.sender, lines)
            self._forget()
        else:
            self._say({"4": "451", "5": "554"}[code], "dot", self.sender, lines)

    def refuse_early(self, lines: int) -> None:
        self._say("552", "body", self.sender, lines)
        self.thrown_away = True

    def _say(self, code: str, verb: str, about: str, lines: int) -> None:
        text = f"{verb} {about or '-'}"
        self.outbox += b"".join(f"{code}-{text}\r\n".encode() for _ in range(lines)) + f"{code} {text}\r\n".encode()


class Neighbours(RuleBasedStateMachine):
    """Messages on one session after another; a new session takes over where one ends."""

    def __init__(self) -> None:
        super().__init__()
        self.held: Counter[tuple[str, str]] = Counter()
        self.waiting: deque[Envelope] = deque()
        self.current: tuple[Envelope, Transaction] | None = None
        self.ahead: tuple[Envelope, Transaction] | None = None
        self.number = 0
        self.resetting = False

    @initialize(pipelining=st.booleans(), lenient=st.booleans())
    def connect(self, pipelining: bool, lenient: bool) -> None:
        self.pipelining, self.lenient = pipelining, lenient
        self._connect()

    def _connect(self) -> None:
        self.server = Server(self.held, lenient=self.lenient)
        self.parser = ReplyParser()
        self.resetting = False

    def _write(self, data: bytes) -> None:
        assert not BARE.search(data)
        self.server.inbox += data

    def _begin(self) -> tuple[Envelope, Transaction]:
        envelope = self.waiting.popleft()
        return envelope, Transaction(envelope, pipelining=self.pipelining)

    @precondition(lambda self: len(self.waiting) < 4)
    @rule(recipients=st.integers(1, 3))
    def queue(self, recipients: int) -> None:
        self.number += 1
        name = f"m{self.number}@x.org"
        told = tuple(f"r{index}-{name}" for index in range(recipients))
        self.waiting.append(Envelope(sender=name, recipients=told))

    @precondition(lambda self: self.waiting and self.current is None and not self.resetting)
    @rule()
    def start(self) -> None:
        self.current = self._begin()
        self._write(self.current[1].commands())

    @precondition(lambda self: self.server.can_act())
    @rule(code=CODES, lines=st.integers(0, 2))
    def server_acts(self, code: str, lines: int) -> None:
        self.server.act(code, lines)

    @precondition(lambda self: self.server.body and not self.server.thrown_away and self.server.told)
    @rule(lines=st.integers(0, 1))
    def server_refuses_early(self, lines: int) -> None:
        if not self.server.can_act():
            self.server.refuse_early(lines)

    @precondition(lambda self: self.current is not None and self.current[1].state is State.BODY)
    @rule(text=st.text("a.\r\n", max_size=8), cut=st.integers(0, 8), look_ahead=st.booleans())
    def send_body(self, text: str, cut: int, look_ahead: bool) -> None:
        assert self.current is not None
        envelope, transaction = self.current
        lines = re.sub(r"\r\n|\r|\n", "\r\n", text)
        body, stuffer = f"{envelope.sender}\r\n{lines}".encode(), DotStuffer()
        wire = b"".join(stuffer.feed(piece) for piece in (body[:cut], body[cut:])) + stuffer.end()
        if self.pipelining and look_ahead and self.waiting:
            self.ahead = self._begin()
            wire += self.ahead[1].commands()
        self._write(wire)
        transaction.dot_sent()

    @precondition(lambda self: self.server.outbox)
    @rule(octets=st.integers(1, 200))
    def replies_arrive(self, octets: int) -> None:
        piece, self.server.outbox = self.server.outbox[:octets], self.server.outbox[octets:]
        server = self.server
        for reply in self.parser.feed(piece):
            if self.resetting:
                assert reply.text.startswith("RSET") or reply.code == 421
                self.resetting = False
                if reply.code == 421:
                    self._hang_up()
            else:
                assert self.current is not None, f"nobody waits for {reply}"
                self.current[1].receive(reply)
                self._go_on()
            if self.server is not server:
                return

    def _go_on(self) -> None:
        assert self.current is not None
        transaction = self.current[1]
        if commands := transaction.commands():
            self._write(commands)
        if transaction.state is State.EMPTY:
            self._write(b".\r\n")
            transaction.dot_sent()
        if transaction.state is not State.DONE:
            return
        self._judge(*self.current)
        self.current = None
        if transaction.close:
            self._hang_up()
        elif self.ahead is not None:
            self.current, self.ahead = self.ahead, None
        elif transaction.dirty:
            self._write(b"RSET\r\n")
            self.resetting = True

    @precondition(lambda self: self.server.gone and not self.server.outbox)
    @rule()
    def the_end_is_seen(self) -> None:
        self._lose()

    @rule(dice=st.integers(0, 9))
    def the_link_breaks(self, dice: int) -> None:
        if dice == 0:
            self._lose()

    def _lose(self) -> None:
        if self.current is not None:
            envelope, transaction = self.current
            final = transaction.state is State.FINAL
            transaction.lost(SessionError("gone"))
            while self.server.can_act():  # what was on its way may still count
                self.server.act("2", 0)
            self._judge(envelope, transaction)
            assert final or all(status.outcome != "unknown" for status in transaction.statuses)
            self.current = None
        self._hang_up()

    def _hang_up(self) -> None:
        """The neighbour's commands are without a body: it waits again."""
        if self.ahead is not None:
            self.waiting.appendleft(self.ahead[0])
            self.ahead = None
        self._connect()

    def _judge(self, envelope: Envelope, transaction: Transaction) -> None:
        assert tuple(status.address for status in transaction.statuses) == envelope.recipients
        for status in transaction.statuses:
            there = self.held[envelope.sender or "", status.address]
            assert there in {"accepted": {1}, "rejected": {0}, "unknown": {0, 1}}[status.outcome], status
            self._paired(envelope, status)

    def _paired(self, envelope: Envelope, status: RecipientStatus) -> None:
        if status.reply is None:
            return
        verb, about = status.reply.text.split()[:2]
        wanted = {"mail": "MAIL", "rcpt": "RCPT", "data": "DATA", "body": "body", "final": "dot"}[status.stage or ""]
        assert verb == wanted or {verb, wanted} == {"body", "dot"}, status
        if verb == "RCPT" and status.reply.code != 421:
            assert about == status.address
        elif about != "-":
            assert about in {envelope.sender, *envelope.recipients}

    @invariant()
    def one_body_is_owed_at_most(self) -> None:
        """Of all transactions begun, one is without its final dot."""
        begun = [one[1] for one in (self.current, self.ahead) if one is not None]
        assert sum(transaction.state in {State.ASKING, State.BODY, State.EMPTY} for transaction in begun) <= 1

    def teardown(self) -> None:
        if self.current is not None:
            self._lose()
        assert all(count == 1 for count in self.held.values())


TestNeighbours = Neighbours.TestCase
TestNeighbours.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)


class Together(RuleBasedStateMachine):
    """Whole messages on one session before the first is answered; the server may give one answer too many."""

    def __init__(self) -> None:
        super().__init__()
        self.held: Counter[tuple[str, str]] = Counter()
        self.asked: deque[tuple[Envelope, Transaction]] = deque()
        self.number = 0
        self._connect()

    def _connect(self) -> None:
        self.server = Server(self.held, lenient=False)
        self.parser = ReplyParser()
        self.surplus = False

    @precondition(lambda self: len(self.asked) < 8)
    @rule()
    def write(self) -> None:
        self.number += 1
        name = f"m{self.number}@x.org"
        envelope = Envelope(sender=name, recipients=(f"r-{name}",))
        transaction = Transaction(envelope, pipelining=True, chunking=True, at_once=True)
        body = name.encode()
        self.server.inbox += b"%bBDAT %d LAST\r\n%bRSET\r\n" % (transaction.commands(), len(body), body)
        transaction.dot_sent()
        self.asked.append((envelope, transaction))

    @precondition(lambda self: self.server.can_act())
    @rule(code=CODES, lines=st.integers(0, 2))
    def server_acts(self, code: str, lines: int) -> None:
        self.server.act(code, lines)

    @precondition(lambda self: not self.surplus and not self.server.gone and self.asked)
    @rule()
    def server_says_too_much(self) -> None:
        self.surplus = True
        self.server._say("250", "by", "the way", 0)

    @precondition(lambda self: self.server.outbox)
    @rule(octets=st.integers(1, 200))
    def replies_arrive(self, octets: int) -> None:
        piece, self.server.outbox = self.server.outbox[:octets], self.server.outbox[octets:]
        try:
            for reply in self.parser.feed(piece):
                if not self.asked:
                    self._lose(ProtocolError("what nobody asked for"))
                    return
                envelope, transaction = self.asked[0]
                transaction.receive(reply)
                if transaction.state is State.DONE:
                    self.asked.popleft()
                    self._judge(envelope, transaction, shown=not transaction.close)
                    if transaction.close:
                        self._lose(SessionError("closed"))
                        return
        except ProtocolError as error:
            if not self.surplus:
                raise
            self._lose(error)

    @precondition(lambda self: self.server.gone and not self.server.outbox)
    @rule()
    def the_end_is_seen(self) -> None:
        self._lose(SessionError("gone"))

    @rule(dice=st.integers(0, 9))
    def the_link_breaks(self, dice: int) -> None:
        if dice == 0:
            self._lose(SessionError("gone"))

    def _lose(self, error: SessionError) -> None:
        while self.server.can_act():  # what was on its way may still count
            self.server.act("2", 0)
        for envelope, transaction in self.asked:
            transaction.lost(error)
            self._judge(envelope, transaction, shown=isinstance(error, ProtocolError))
        self.asked.clear()
        self._connect()

    def _judge(self, envelope: Envelope, transaction: Transaction, *, shown: bool) -> None:
        """After an answer too many an acceptance is sure where RSET's own answer came, else it is the server's word."""
        [status] = transaction.statuses
        there = self.held[envelope.sender or "", status.address]
        if shown or not self.surplus or status.outcome != "accepted":
            assert there in {"accepted": {1}, "rejected": {0}, "unknown": {0, 1}}[status.outcome], status

    def teardown(self) -> None:
        self._lose(SessionError("the end"))
        assert all(count == 1 for count in self.held.values())


TestTogether = Together.TestCase
TestTogether.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
