"""Mail APIs over HTTP, for transports of plugins: sign, commit, ask, and the truth about what came of it.

api = MailApi(opening)
report = await api.submit(submission, request)      # in Transport.deliver
answer = await api.ask(request)                     # in Transport.verify, and for what comes before a submission
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import define, evolve

from mailwright.errors import AddressError, ApiError, AuthError, HttpError, LeaseLost, MailwrightError, MessageError
from mailwright.model import Address, Envelope, Reply, Report
from mailwright.ports import HttpRequest, HttpResponse
from mailwright.spi import Commit, Opening, Submission

__all__ = ["MailApi", "misaddressed", "retry_after_s", "says", "undelivered"]

ASK_S: Final = 60.0
LONGEST_WAIT_S: Final = 86400.0
_NO_ANSWER: Final = frozenset({502, 504})
"""A gateway's words: it got no answer it could use from the server behind, which may have sent the message (RFC 9110 §15.6)."""
_SECRET: Final = re.compile(r"authorization|token|key|secret", re.IGNORECASE)


def retry_after_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """How long a server wants to be left alone: seconds or a date (RFC 9110 §10.2.3).

    Args:
        headers: Of its answer, names in any case.
        now: With a zone.

    Returns:
        Seconds, at most a day; None when it does not say, or nonsense.
    """
    said = next((value.strip() for name, value in headers.items() if name.lower() == "retry-after"), "")
    if re.fullmatch(r"[0-9]{1,9}", said):
        return min(float(said), LONGEST_WAIT_S)
    try:
        moment = parsedate_to_datetime(said)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return min(max(0.0, (moment - now).total_seconds()), LONGEST_WAIT_S)


def says(response: HttpResponse) -> str:
    """What an answer says in words: code and message of the usual JSON shapes, or plain text; nothing of a web page."""
    try:
        found = json.loads(response.body)
    except (ValueError, RecursionError):
        kind = next((value for name, value in response.headers.items() if name.lower() == "content-type"), "")
        return response.body.decode("utf-8", "replace").strip() if kind.startswith("text/plain") else ""
    error = found.get("error") if isinstance(found, dict) else None
    source = error if isinstance(error, dict) else found
    if not isinstance(source, dict):
        return ""
    code = _first(source, "status", "code", "ErrorCode", "name", "type")
    message = _first(source, "message", "Message", "error_description", "detail", "title", "error")
    return ": ".join(piece for piece in (code, message) if piece)


def _first(found: Mapping[str, Any], *names: str) -> str:
    return next((str(found[name]) for name in names if isinstance(found.get(name), (str, int)) and found[name]), "")


def undelivered(envelope: Envelope, error: MailwrightError) -> Report:
    """The report of an attempt that ended before anything could be delivered, whatever was asked before.

    Args:
        envelope: Of the submission.
        error: What stopped it.
    """
    stage = error.stage or "http"
    report = Report.all(
        envelope, "rejected", stage=stage, permanent=bool(error.permanent), reply=error.reply, error=error
    )
    return evolve(report, retry_after_s=error.retry_after_s if isinstance(error, ApiError) else None)


@define
class _Flight:
    """Whether a request is on its way that may deliver."""

    in_doubt: bool = False


async def _nothing() -> None:
    """What is only asked needs no commit."""


class MailApi:
    """One mail API in the name of one connection.

    Args:
        opening: The connection's; its authenticator, where there is one, signs every request.
        wording: What an answer says in words; it becomes the reply's text, escaped and cut, credentials masked.
        transient: Whether an answer of 400 to 499 that looks permanent is none, such as a quota told as 403.
    """

    def __init__(
        self,
        opening: Opening,
        *,
        wording: Callable[[HttpResponse], str] = says,
        transient: Callable[[HttpResponse], bool] = lambda response: False,
    ) -> None:
        self._opening = opening
        self._wording = wording
        self._transient = transient

    async def ask(self, request: HttpRequest, *, until: float | None = None) -> HttpResponse:
        """Ask what delivers nothing. A 401 renews the credential, and is tried again, once.

        Args:
            request: Without credential.
            until: In `Clock.monotonic` seconds, such as `Submission.deadline`; None: a minute from now.

        Returns:
            An answer of 200 to 299.

        Raises:
            ApiError: Any other answer.
            AuthError: The credential is refused, or there is none to be had.
            HttpError: No answer.
        """
        until = self._now() + ASK_S if until is None else until
        response, signed = await self._answer(request, until, _Flight(), _nothing)
        if 200 <= response.status < 300:
            return response
        raise self._refusal(response, signed)

    async def submit(
        self,
        submission: Submission,
        request: HttpRequest,
        *,
        read: Callable[[HttpResponse], Report] | None = None,
    ) -> Report:
        """Make the request that delivers: commit, send, tell the outcome.

        2xx: accepted, or as `read` says. 401: the credential is renewed and the request made again, once; then permanent.
        Other 4xx: permanent, but 408, 425, 429 and what `transient` says. 5xx: for the moment. No connection: for the
        moment. No answer to a request that may have been sent, also behind a gateway (502, 504): unknown.

        Args:
            submission: As `Transport.deliver` got it.
            request: Without credential; its body can be read again.
            read: Report of a 2xx answer; where it raises ValueError, LookupError or TypeError, the outcome is unknown.

        Raises:
            LeaseLost: From ``submission.commit``.
        """
        envelope, flight, started = submission.envelope, _Flight(), self._now()
        try:
            response, signed = await self._answer(request, submission.deadline, flight, submission.commit)
        except LeaseLost:
            raise
        except MailwrightError as error:
            if flight.in_doubt:
                return Report.all(envelope, "unknown", stage="http", error=error)
            return undelivered(envelope, error)
        if 200 <= response.status < 300:
            report = self._taken(envelope, response, read)
        elif response.status in _NO_ANSWER:
            report = Report.all(envelope, "unknown", stage="http", reply=self._reply(response, signed))
        else:
            report = undelivered(envelope, self._refusal(response, signed))
        size = len(request.body) if isinstance(request.body, bytes) else request.size or 0
        return evolve(report, message_ms=round((self._now() - started) * 1000), wire_size=size)

    # -- one exchange

    async def _answer(
        self, request: HttpRequest, until: float, flight: _Flight, commit: Commit
    ) -> tuple[HttpResponse, HttpRequest]:
        """Any answer but a first 401, and the request as it was signed."""
        host = urlsplit(request.url).hostname
        left = until - self._now()
        if left <= 0:
            raise HttpError(f"{host}: not asked, the time this message has is over")
        try:
            async with asyncio.timeout(left):
                signed = await self._signed(request)
                await commit()
                response = await self._exchange(signed, flight)
                authenticator = self._opening.authenticator
                if response.status == 401 and authenticator is not None:
                    refusal = Reply(protocol="http", code=401)
                    if await authenticator.refused(refusal, None):
                        signed = await self._signed(request)
                        response = await self._exchange(signed, flight)
                return response, signed
        except TimeoutError:
            raise HttpError(f"{host}: no answer in the time this message has", request_sent=flight.in_doubt) from None

    async def _signed(self, request: HttpRequest) -> HttpRequest:
        authenticator = self._opening.authenticator
        return request if authenticator is None else await authenticator.sign(request)

    async def _exchange(self, request: HttpRequest, flight: _Flight) -> HttpResponse:
        flight.in_doubt = True
        try:
            response = await self._opening.http.request(request)
        except HttpError as error:
            flight.in_doubt = error.request_sent
            raise
        flight.in_doubt = False
        return response

    def _now(self) -> float:
        return self._opening.clock.monotonic()

    # -- what an answer means

    def _taken(
        self, envelope: Envelope, response: HttpResponse, read: Callable[[HttpResponse], Report] | None
    ) -> Report:
        reply = Reply(protocol="http", code=response.status)
        if read is None:
            return Report.all(envelope, "accepted", stage="http", reply=reply)
        try:
            return read(response)
        except (ValueError, LookupError, TypeError) as error:
            told = HttpError(f"the answer makes no sense: {type(error).__name__}", request_sent=True, permanent=None)
            return Report.all(envelope, "unknown", stage="http", reply=reply, error=told)

    def _refusal(self, response: HttpResponse, signed: HttpRequest) -> ApiError | AuthError:
        reply = self._reply(response, signed)
        host = urlsplit(signed.url).hostname
        if response.status == 401:
            return AuthError(f"{host} refuses the credential: {reply}", command="API", reply=reply)
        permanent = (reply.permanent or response.status < 400) and not self._transient(response)
        wait_s = retry_after_s(response.headers, now=self._opening.clock.now())
        return ApiError(f"{host} answered {reply}", reply=reply, permanent=permanent, retry_after_s=wait_s)

    def _reply(self, response: HttpResponse, signed: HttpRequest) -> Reply:
        """A server may repeat a credential in its answer; it is not repeated further."""
        text = self._wording(response)
        for name, value in signed.headers.items():
            if _SECRET.search(name):
                for secret in {value, value.rpartition(" ")[2]} - {""}:
                    text = text.replace(secret, "***")
        return Reply(protocol="http", code=response.status, text=text)


def misaddressed(submission: Submission) -> MessageError | None:
    """Why a transport with ``recipients: headers`` may not send this: its To, Cc and Bcc are not the envelope's recipients.

    Such an API mails to whoever stands in the header, also where a staging rule, a suppression or an envelope of its own
    says otherwise.
    """
    head = b""
    for chunk in submission.composed:
        head += chunk
        if b"\r\n\r\n" in head:
            break
    block = head.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ").decode("utf-8", "replace")
    fields = (line.partition(":") for line in block.split("\r\n"))
    values = [value.strip() for name, _, value in fields if name.lower() in {"to", "cc", "bcc"}]
    try:
        named = {address.email for value in values if value for address in Address.parse_list(value)}
    except AddressError as error:
        return MessageError(f"the header's recipients cannot be read: {error.message}", code="EENVELOPE")
    if named == set(submission.envelope.recipients):
        return None
    msg = (
        "this API mails to everybody in To, Cc and Bcc, and the envelope says otherwise: redirect_to, allow_recipients, "
        "suppressions and envelopes of your own need an SMTP connection"
    )
    return MessageError(msg, code="EENVELOPE")
