"""Laws of what is believed about tokens, whatever a server or a store says."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailwright.discovery import read_config
from mailwright.errors import ConfigurationError
from mailwright.oauth.answers import LONGEST_S, Answer, Refusal, read
from mailwright.oauth.forms import checked_url
from mailwright.oauth.meanings import without
from mailwright.oauth.record import Record, parse
from mailwright.ports import HttpResponse

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = PLAIN | st.lists(PLAIN, max_size=3) | st.dictionaries(st.text(max_size=8), PLAIN, max_size=3)
KEYS = ("access_token", "token_type", "expires_in", "refresh_token", "scope", "error", "error_description", "error_uri")
ANSWERS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(KEYS, JSON | st.sampled_from(["Bearer", "good-token", "mail"]))
)


def _judge(status: int, body: bytes, headers: dict[str, str] | None = None) -> Answer | Refusal:
    try:
        return read(HttpResponse(status=status, headers=headers or {}, body=body), wanted=("mail",))
    except Refusal as refusal:
        return refusal


@given(st.integers(100, 599), ANSWERS)
@example(200, {"access_token": "good-token", "expires_in": float("nan")})
@example(200, {"access_token": "good-token", "token_type": "BEARER", "scope": "MAIL more", "expires_in": 1})
def test_an_answer_is_a_whole_token_or_a_printable_refusal(status: int, values: dict[str, Any]) -> None:
    found = _judge(status, json.dumps(values).encode())
    if isinstance(found, Answer):
        assert status == 200
        assert "error" not in values
        for token in filter(None, (found.access_token, found.refresh_token)):
            assert token.isascii()
            assert token.isprintable()
            assert " " not in token
        assert 0 < found.expires_in_s <= LONGEST_S
        assert not found.scopes or "mail" in map(str.lower, found.scopes)
    else:
        assert found.message.isprintable()
        assert found.permanent in {True, False}


@given(st.integers(100, 599), st.binary(max_size=200), st.text(max_size=20))
def test_any_octets_are_judged(status: int, body: bytes, wait: str) -> None:
    found = _judge(status, body, {"retry-after": wait, "content-type": wait})
    assert isinstance(found, (Answer, Refusal))
    if isinstance(found, Refusal) and found.retry_after_s is not None:
        assert 0 <= found.retry_after_s <= 3600


TOKENS = st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)
TIMES = st.none() | st.floats(1, 1e11)


@given(TOKENS, TIMES, TIMES, TOKENS, TOKENS)
def test_records_come_back(token: Any, ends: Any, since: Any, refresh: Any, lease: Any) -> None:
    record = Record(access_token=token, expires_at=ends, obtained_at=since, refresh_token=refresh, lease=lease)
    assert parse(record.text()) == record


@given(st.none() | st.text() | JSON.map(json.dumps))
def test_any_text_is_a_record_or_none(text: str | None) -> None:
    assert isinstance(parse(text), Record)


@given(st.text(max_size=30), st.text(min_size=4, max_size=30), st.text(max_size=30))
def test_no_form_of_a_secret_stays(before: str, secret: str, after: str) -> None:
    raw = secret.encode("utf-8", "surrogatepass") if secret.isascii() else None
    if raw is None:
        return  # secrets in forms and headers are ASCII
    for form in (secret, quote(secret, safe=""), quote_plus(secret), base64.b64encode(raw).decode()):
        kept = without(f"{before} {form} {after}", [secret]).replace("[credential]", "")
        assert form not in kept or form in f"{before} {after}" or len(set(secret)) < 3


@given(st.text(max_size=60) | st.builds("https://{}/token".format, st.text(max_size=30)))
@example("https://a@b/token")
@example("https://[::1/token")
def test_urls_that_are_taken_lead_to_one_https_host(url: str) -> None:
    try:
        taken = checked_url(url)
    except ConfigurationError:
        return
    parts = urlsplit(taken)
    assert parts.scheme == "https"
    assert parts.hostname
    assert "@" not in parts.netloc
    assert taken.isascii()


@given(st.binary(max_size=300))
@pytest.mark.filterwarnings("error")
def test_any_octets_of_a_config_are_read(xml: bytes) -> None:
    for finding in read_config(xml, "ann@firma.example", source="x"):
        assert finding.endpoint.host
