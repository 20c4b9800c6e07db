"""What a token endpoint says, checked before anything is believed (RFC 6749 §5). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final, NoReturn

from attrs import field, frozen
from oauthlib.oauth2 import OAuth2Error
from oauthlib.oauth2.rfc6749.parameters import parse_token_response

from mailwright.ports import HttpResponse

MAX_BYTES: Final = 65536
ASSUMED_S: Final = 1800.0
LONGEST_S: Final = 86400.0
LONGEST_WAIT_S: Final = 3600.0
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}")
_UNTOLD: Final = frozenset({"offline_access", "openid", "profile", "email", "offline"})
"""Scopes that ask for something beside the token: servers do not repeat them."""


class Refusal(Exception):
    """The endpoint gave no token.

    Args:
        message: What it said, in words.
        error: Its code (RFC 6749 §5.2), or a word of ours.
        permanent: Whether asking again is in vain.
        retry_after_s: How long it wants to be left alone.
    """

    def __init__(
        self, message: str, *, error: str = "", permanent: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error = error
        self.permanent = permanent
        self.retry_after_s = retry_after_s


@frozen(kw_only=True)
class Answer:
    """A good answer.

    Attributes:
        access_token: Visible ASCII.
        refresh_token: A new one; None: the old one stays.
        expires_in_s: Seconds, from when the answer came; at most a day.
        scopes: What was granted, where the server says so.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_in_s: float = ASSUMED_S
    scopes: tuple[str, ...] = ()


def read(response: HttpResponse, *, wanted: Iterable[str]) -> Answer:
    """Check an answer.

    Args:
        response: As it came.
        wanted: Scopes that must be in it.

    Returns:
        The token.

    Raises:
        Refusal: With what the server said, or what is wrong with its answer.
    """
    values = read_json(response)
    kind = values.get("token_type", "Bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        _broken(f"its token_type is {_shown(kind)}, not Bearer", permanent=True)
    refresh = values.get("refresh_token") or None
    return Answer(
        access_token=_token(values.get("access_token"), "access_token"),
        refresh_token=None if refresh is None else _token(refresh, "refresh_token"),
        expires_in_s=_lifetime(values.get("expires_in")),
        scopes=_granted(values.get("scope"), tuple(wanted)),
    )


def read_json(response: HttpResponse, *, error_only: bool = False) -> dict[str, Any]:
    """The object of a 200; anything else is a `Refusal`."""
    status = response.status
    values = _object(response.body)
    if status == 429 or status >= 500:
        _busy(f"it answered {status}{_said(values)}", status=status, response=response)
    if 300 <= status < 400:
        _broken(f"it answered {status} and points elsewhere: a token endpoint must not", permanent=True)
    if values is None:
        what = response.headers.get("content-type", "").partition(";")[0] or "no media type"
        permanent = 400 <= status < 500 and status not in {404, 408, 421, 425}
        _broken(f"it answered {status} with {_shown(what)}, not with a JSON object", permanent=permanent)
    assert values is not None
    if "error" in values or status != 200:
        _refused(values, status)
    return values


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _no_constant(word: str) -> NoReturn:
    raise ValueError(word)


def _refused(values: dict[str, Any], status: int) -> NoReturn:
    """Oauthlib knows the codes; what it does not know it hands on as a custom error."""
    error, description = (_shown(values.get(name) or "") for name in ("error", "error_description"))
    try:
        parse_token_response(json.dumps({"error": error or "error", "error_description": description}), scope=None)
    except OAuth2Error as known:
        error, description = str(known.error if error else ""), str(known.description or "")
    transient = error in {"temporarily_unavailable", "server_error", "slow_down", "authorization_pending"}
    said = f": {description}" if description else ""
    raise Refusal(f"it answered {error[:80] or status}{said}", error=error, permanent=not transient)


def _busy(message: str, *, status: int, response: HttpResponse) -> NoReturn:
    wait = response.headers.get("retry-after", "").strip()
    seconds = min(float(wait), LONGEST_WAIT_S) if wait.isdecimal() and wait.isascii() and len(wait) < 9 else None
    raise Refusal(message, error="busy" if status == 429 else "down", retry_after_s=seconds)


def _broken(message: str, *, permanent: bool = False) -> NoReturn:
    raise Refusal(message, error="broken_answer", permanent=permanent)


def _said(values: dict[str, Any] | None) -> str:
    return f": {_shown(values['error'])}" if values and isinstance(values.get("error"), str) else ""


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else type(value).__name__
    return "".join(char if char.isprintable() else " " for char in text[:300])


def _token(value: object, name: str) -> str:
    """No control characters: they would end a field of XOAUTH2 or of HTTP (RFC 6750 §2.1)."""
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        _broken(f"its {name} is {'missing' if value is None else 'not a token of visible ASCII'}")
    assert isinstance(value, str)
    return value


def _lifetime(value: object) -> float:
    """Seconds; text is taken. Nonsense counts as not said: refusing it would lose the refresh token that came with it."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,12}(?:\.\d{1,6})?", value, re.ASCII):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        return ASSUMED_S
    return float(min(value, LONGEST_S))


def _granted(value: object, wanted: tuple[str, ...]) -> tuple[str, ...]:
    if value is None or value == "":
        return ()  # RFC 6749 §5.1: missing means as asked for
    if not isinstance(value, str):
        _broken("its scope is not text")
    assert isinstance(value, str)
    granted = tuple(value.split())
    have = {_plain(scope) for scope in granted}
    lost = [s for s in wanted if s not in _UNTOLD and not s.endswith("/.default") and _plain(s) not in have]
    if lost:
        raise Refusal(f"it grants {_shown(value)!r}, without {' '.join(lost)}", error="scope_lost", permanent=True)
    return granted


def _plain(scope: str) -> str:
    return scope.lower().rstrip("/")
