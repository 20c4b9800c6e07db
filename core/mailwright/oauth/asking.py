"""Asking a token endpoint: in time, a few times, and with errors that say what to do and hold no secret."""

from __future__ import annotations

import asyncio
from typing import Final

from mailwright.errors import AuthError, HttpError
from mailwright.model import Grant, RefreshGrant
from mailwright.oauth.answers import MAX_BYTES, Answer, Refusal, read
from mailwright.oauth.breaker import Breaker
from mailwright.oauth.forms import Forms
from mailwright.oauth.meanings import next_step, without
from mailwright.ports import Clock, Http, HttpRequest, HttpResponse

TRIES: Final = 3
BACKOFF_S: Final = (1.0, 4.0)
LONGEST_PAUSE_S: Final = 10.0


class Asking:
    """The token endpoint of one connection.

    Args:
        name: The saved connection, for errors.
        user: The mailbox, for errors.
        http: Configured: https, no redirects, the connection's proxy and authorities.
        forms: Writes requests.
        clock: Time.
        limit_s: For one request, the answer included.
    """

    def __init__(self, *, name: str | None, user: str, http: Http, forms: Forms, clock: Clock, limit_s: float) -> None:
        self._name = name
        self._user = user
        self._http = http
        self._forms = forms
        self._clock = clock
        self._limit_s = limit_s
        self.breaker = Breaker(clock)

    async def ask(self, grant: Grant, refresh_token: str | None) -> Answer:
        """A token for a grant.

        Raises:
            AuthError: Permanent (log in again, mend the settings), or for the moment.
        """
        self.breaker.check()
        try:
            answer = await self._rounds(grant, refresh_token)
        except Refusal as refusal:
            error = self.told(refusal, personal=isinstance(grant, RefreshGrant))
            self.breaker.failed(error, wait_s=refusal.retry_after_s)
            raise error from None
        self.breaker.succeeded()
        return answer

    async def _rounds(self, grant: Grant, refresh_token: str | None) -> Answer:
        """Up to three requests; what is permanent is not asked twice, and a long wait is the breaker's."""
        for attempt in range(TRIES):
            try:
                response = await self.once(await self._forms.renewal(grant, refresh_token))
                return read(response, wanted=grant.scopes)
            except Refusal as refusal:
                pause = refusal.retry_after_s or BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)]
                if refusal.permanent or attempt + 1 == TRIES or pause > LONGEST_PAUSE_S:
                    raise
            await self._clock.sleep(pause)
        raise AssertionError  # the last try returns or raises

    async def once(self, request: HttpRequest) -> HttpResponse:
        """One request; raises `Refusal` where no answer came."""
        try:
            async with asyncio.timeout(self._limit_s):
                return await self._http.request(request, max_bytes=MAX_BYTES)
        except TimeoutError:
            raise Refusal(f"no answer within {self._limit_s:g} s", error="timeout") from None
        except HttpError as error:
            raise Refusal(error.message, error="unreachable", permanent=bool(error.permanent)) from None

    def told(self, refusal: Refusal, *, personal: bool) -> AuthError:
        """For people: whose token, who said what, what to do next."""
        step = next_step(refusal.error, refusal.message, name=self._name, personal=personal)
        message = f"no access token for {self._user}: the token server: {refusal.message}"
        message = without(message, self._forms.seen) + (f" ({step})" if step else "")
        return AuthError(message, permanent=refusal.permanent, command="AUTH XOAUTH2")
