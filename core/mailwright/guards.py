"""What outsiders' records do, kept within bounds: whatever their code raises becomes an error that names the plugin.

Nothing here makes a plugin safe: it runs in this process, with all its rights. It keeps an honest mistake from looking like one
of the host's, from losing what is known about a message, and from hanging past the limit of an attempt.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import define, evolve

from mailwright.errors import HttpError, LeaseLost, MailwrightError, MessageError, PluginError, SecretError
from mailwright.model import Part, RawPart, RecipientStatus, Report, SmtpEndpoint
from mailwright.ports import HttpRequest
from mailwright.spi import AttachmentSource, AuthMethod, AuthTarget, Capabilities, Provider, SecretScheme
from mailwright.vetting import one_line

if TYPE_CHECKING:
    from mailwright.model import Envelope, Reply
    from mailwright.spi import Authenticator, SaslMechanism, SaslOffer, Submission, Transport

GRACE_S: Final = 1.0
"""Past an attempt's deadline, and again for what is cancelled to end. Transports keep deadlines; this is for those that do not."""
_log = logging.getLogger("mailwright.plugins")
T = TypeVar("T")


def guarded(record: Any, who: str) -> Any:
    """The record with its functions guarded.

    Args:
        record: Of an outsider.
        who: Names the plugin in errors, as ``plugin acme (mailwright-acme 1.0)``.
    """
    guard = _Guard(who)
    if isinstance(record, Provider):
        return _provider(record, guard)
    if isinstance(record, AuthMethod):
        login = record.login
        return evolve(
            record,
            open=lambda *given: _Authenticator(guard.call(record.open, given, "open", _ACTING), guard),
            user=lambda settings: guard.call(record.user, (settings,), "user", (str, type(None))),
            login=None if login is None else lambda *given: guard.wait(login, given, "login", (object,)),
        )
    if isinstance(record, AttachmentSource):
        return evolve(record, resolve=lambda *given: _parts(record, given, guard))
    if isinstance(record, SecretScheme):
        return evolve(record, reveal=lambda rest: _revealed(record, rest, guard))
    return record


def _provider(record: Provider[Any], guard: _Guard) -> Provider[Any]:
    changes: dict[str, Any] = {
        "target": lambda settings: guard.call(record.target, (settings,), "target", (AuthTarget,)),
        "explain": lambda reply: guard.aside(record.explain, (reply,), "explain", (str, type(None)), None),
        "advise": lambda *given: guard.aside(lambda *values: [*record.advise(*values)], given, "advise", (list,), []),
    }
    if (endpoint := record.endpoint) is not None:
        changes["endpoint"] = lambda settings: guard.call(endpoint, (settings,), "endpoint", (SmtpEndpoint,))
    if (offers := record.offers) is not None:
        changes["offers"] = lambda settings: guard.aside(offers, (settings,), "offers", (Sequence,), ())
    if (opens := record.open) is not None:
        changes["open"] = lambda *given: _opened(guard.call(opens, given, "open", _DELIVERING), given[1].clock, guard)
    return evolve(record, **changes)


_ACTING: Final = ("sasl", "sign", "refused", "aclose")
_DELIVERING: Final = ("capabilities", "deliver", "verify", "aclose")


class _Garbage(PluginError):
    """What came back is not what the interface promises."""


@define
class _Guard:
    """Calls one plugin's code."""

    who: str

    def call(
        self, function: Callable[..., Any], given: Iterable[Any], what: str, wanted: Any, *, shown: bool = True
    ) -> Any:
        """Its result; `wanted` is a tuple of types, or of names that the result must have."""
        try:
            result = function(*given)
        except (MailwrightError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise self.failure(what, error, shown=shown) from error
        return self.checked(result, what, wanted)

    async def wait(
        self,
        function: Callable[..., Awaitable[Any]],
        given: Iterable[Any],
        what: str,
        wanted: Any,
        *,
        shown: bool = True,
    ) -> Any:
        """The same, awaited."""
        try:
            found = function(*given)
            result = await found if inspect.isawaitable(found) else found
        except (MailwrightError, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit would end the loop
            raise self.failure(what, error, shown=shown) from (error if shown else None)
        return self.checked(result, what, wanted)

    def aside(self, function: Callable[..., Any], given: Iterable[Any], what: str, wanted: Any, instead: T) -> Any | T:
        """Where nothing depends on it: what fails is logged, and `instead` is used."""
        try:
            return self.call(function, given, what, wanted)
        except MailwrightError as error:
            _log.warning("%s", error if isinstance(error, PluginError) else self.failure(what, error))
            return instead

    def checked(self, result: Any, what: str, wanted: Any) -> Any:
        """The result, if it is what the interface promises."""
        named = wanted and isinstance(wanted[0], str)
        if all(hasattr(result, name) for name in wanted) if named else isinstance(result, wanted):
            return result
        promised = f"no object with {', '.join(wanted)}" if named else f"not {' or '.join(map(_called, wanted))}"
        raise _Garbage(f"{self.who}: {what} returned {type(result).__name__}, {promised}")

    def failure(self, what: str, error: BaseException, *, shown: bool = True) -> PluginError:
        """An error that names the plugin; without its words where they may hold a secret."""
        words = f": {one_line(error)}" if shown and str(error) else ""
        told = f"{self.who}: {what} failed: {type(error).__name__}{words}; tell its author, or disable it"
        return PluginError(told, permanent=not isinstance(error, OSError))  # a network or disk may be back


def _called(kind: type) -> str:
    return "None" if kind is type(None) else kind.__name__


async def _revealed(record: SecretScheme, rest: str, guard: _Guard) -> str:
    async def reveal() -> object:
        try:
            return await record.reveal(rest)
        except (OSError, KeyError, ValueError) as error:
            raise SecretError(f"the secret {record.name}:{rest} cannot be read: {type(error).__name__}") from error

    return await guard.wait(reveal, (), "reveal", (str,), shown=False)  # type: ignore[no-any-return]


async def _parts(record: AttachmentSource[Any], given: tuple[Any, ...], guard: _Guard) -> Sequence[Part | RawPart]:
    parts = await guard.wait(record.resolve, given, "resolve", (Sequence,))
    for part in parts:
        guard.checked(part, "resolve", (Part, RawPart))
    return parts  # type: ignore[no-any-return]


@define
class _Authenticator:
    """Errors without words: they may hold the credential."""

    _inner: Authenticator
    _guard: _Guard

    async def sasl(self, offer: SaslOffer) -> SaslMechanism:
        found = await self._guard.wait(self._inner.sasl, (offer,), "sasl", ("name", "start", "step"), shown=False)
        return _Mechanism(found, self._guard)

    async def sign(self, request: HttpRequest) -> HttpRequest:
        return await self._guard.wait(self._inner.sign, (request,), "sign", (HttpRequest,), shown=False)  # type: ignore[no-any-return]

    async def refused(self, reply: Reply, challenge: bytes | None) -> bool:
        return await self._guard.wait(self._inner.refused, (reply, challenge), "refused", (bool,), shown=False)  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        await _closed(self._inner, self._guard)


@define
class _Mechanism:
    _inner: SaslMechanism
    _guard: _Guard

    @property
    def name(self) -> str:
        return self._guard.call(lambda: self._inner.name, (), "name", (str,))  # type: ignore[no-any-return]

    @property
    def complete(self) -> bool:
        """Whether the server has proved itself, for the mechanisms in which it does."""
        return bool(getattr(self._inner, "complete", True))

    def start(self) -> bytes | None:
        return self._guard.call(self._inner.start, (), "start", (bytes, type(None)), shown=False)  # type: ignore[no-any-return]

    def step(self, challenge: bytes) -> bytes:
        return self._guard.call(self._inner.step, (challenge,), "step", (bytes,), shown=False)  # type: ignore[no-any-return]


async def _closed(inner: Authenticator | Transport, guard: _Guard) -> None:
    try:
        await guard.wait(inner.aclose, (), "aclose", (object,))
    except MailwrightError as error:
        _log.warning("%s", error)


def _opened(transport: Transport, clock: Any, guard: _Guard) -> _Transport:
    guard.call(lambda: transport.capabilities, (), "capabilities", (Capabilities,))
    return _Transport(transport, clock, guard)


@define
class _Transport:
    """A transport that always reports, on every recipient, in time."""

    _inner: Transport
    _clock: Any
    _guard: _Guard

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    async def deliver(self, submission: Submission) -> Report:
        if error := _lacking(submission, self._inner.capabilities):
            return Report.all(submission.envelope, "rejected", stage="prepare", permanent=True, error=error)
        committed = False

        async def commit() -> None:
            nonlocal committed
            await submission.commit()
            committed = True

        watched = evolve(submission, commit=commit)
        try:
            report = await self._in_time(
                self._guard.wait(self._inner.deliver, (watched,), "deliver", (Report,)), watched
            )
        except LeaseLost:
            raise
        except MailwrightError as error:
            _log.warning("%s", error)
            if committed or isinstance(error, _Garbage) or getattr(error, "request_sent", False):
                return Report.all(submission.envelope, "unknown", stage="http", error=error)
            permanent = error.permanent is True and not isinstance(error, PluginError)
            return Report.all(submission.envelope, "rejected", stage="http", permanent=permanent, error=error)
        return self._complete(report, submission.envelope)

    async def _in_time(self, delivering: Any, submission: Submission) -> Report:
        """Cancelled after the deadline, and left behind if that does not end it."""
        left = max(0.0, submission.deadline - self._clock.monotonic()) + GRACE_S
        task = asyncio.ensure_future(delivering)
        try:
            await asyncio.wait({task}, timeout=left)
        except asyncio.CancelledError:
            task.cancel()
            await _ended(task)
            raise
        if task.done() and not task.cancelled():
            return task.result()  # type: ignore[no-any-return]
        task.cancel()
        ended = await _ended(task)
        late = f"{self._guard.who}: deliver did not end by its deadline{'' if ended else ', nor when it was cancelled'}"
        raise HttpError(late)

    def _complete(self, report: Report, envelope: Envelope) -> Report:
        told = {status.address: status for status in report.statuses if isinstance(status, RecipientStatus)}
        wanted = [*envelope.recipients]
        if [status.address for status in told.values()] == wanted and len(told) == len(report.statuses):
            return report
        msg = f"{self._guard.who}: deliver did not report on each recipient once, in order; those without word are unknown"
        _log.warning("%s", msg)
        missing = Report.all(envelope, "unknown", stage="http").statuses
        statuses = tuple(told.get(status.address, status) for status in missing)
        return evolve(report, statuses=statuses, error=report.error or PluginError(msg, stage="http"))

    async def verify(self) -> AsyncIterator[str]:
        try:
            async for step in self._inner.verify():
                yield self._guard.checked(step, "verify", (str,))
        except (MailwrightError, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:
            raise self._guard.failure("verify", error) from error

    async def aclose(self) -> None:
        await _closed(self._inner, self._guard)


def _lacking(submission: Submission, capabilities: Capabilities) -> MessageError | None:
    """What the message asks for and this transport cannot carry: an error, never silence."""
    asked = {"dsn": submission.message.dsn is not None, "requiretls": submission.message.require_tls}
    words = {"dsn": "dsn: delivery status notifications", "requiretls": "require_tls: TLS at every hop"}
    for name, wanted in asked.items():
        if wanted and name not in capabilities.extensions:
            return MessageError(f"{words[name]} cannot be asked for here; leave it away, or use an SMTP connection")
    return None


async def _ended(task: asyncio.Future[Any]) -> bool:
    """Whether a cancelled task ends; one that does not is let go."""
    await asyncio.wait({task}, timeout=GRACE_S)
    if not task.done():
        let_go(task)
    elif not task.cancelled():
        task.exception()
    return task.done()


def let_go(work: asyncio.Future[Any]) -> None:
    """Wait no more for what swallows its cancellation, nor let `asyncio.run` wait for it at its end."""
    work.add_done_callback(lambda done: None if done.cancelled() else done.exception())
    if isinstance(work, asyncio.Task):
        asyncio._unregister_task(work)  # noqa: SLF001 - documented for those who extend tasks
