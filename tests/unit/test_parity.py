"""The original node, row by row: what docs/reference/parity.md says, over a real dialogue."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from mailwright import FlowState, FlowStopped, NodeOutcome, load_node
from mailwright.documents.original import translate
from mailwright.node.running import ATTACHMENT_LIMIT, RETRIES
from mailwright.registry import default_registry
from mailwright.testing import ScriptedServer

STATE = FlowState(input={"name": "Ann", "email": "ann@example.org"}, context={"mail": {"result": "old", "kept": 1}})
NODE: dict[str, Any] = {
    "from": "me@example.org",
    "to": "ann@example.org",
    "subject": "Hi",
    "content": "<p>Hello Ann</p>",
}
PARITY = Path(__file__).parents[2] / "docs/reference/parity.md"


async def run(
    document: dict[str, Any], server: ScriptedServer, state: FlowState = STATE, **connection: Any
) -> NodeOutcome:
    where = {
        "provider": "smtp",
        "host": server.host,
        "port": server.port,
        "tls": server.tls,
        "ca_file": server.ca_file and str(server.ca_file),
    }
    given = {key: value for key, value in (where | {"retries": 0} | connection).items() if value is not None}
    return await load_node({"connection": given} | NODE | document).run(state)


async def arrived(document: dict[str, Any], state: FlowState = STATE) -> EmailMessage:
    async with ScriptedServer() as server:
        outcome = await run(document, server, state)
        assert outcome.ok, outcome.error
        [message] = server.messages
    parsed = message_from_bytes(message.raw, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


class TestMessage:
    async def test_recipients_separated_by_commas_or_semicolons_with_names(self) -> None:
        async with ScriptedServer() as server:
            outcome = await run({"to": '"Doe, Ann" <a@example.org>, b@example.org; c@example.org'}, server)
        assert outcome.result["accepted"] == ["a@example.org", "b@example.org", "c@example.org"]

    async def test_subject(self) -> None:
        assert (await arrived({"subject": "Grüße an {{ input.name }}"}))["Subject"] == "Grüße an Ann"

    async def test_content_is_html_and_its_images_go_along(self) -> None:
        image = base64.b64encode(b"GIF89a" + bytes(20)).decode()
        message = await arrived({"content": f'<p>Hi</p><img src="data:image/gif;base64,{image}">'})
        html = message.get_body(("html",))
        assert html is not None
        assert "cid:" in html.get_content()
        assert "image/gif" in [part.get_content_type() for part in message.walk()]

    async def test_custom_from_and_without_one_the_authenticated_user(self) -> None:
        assert (await arrived({"from": "Shop <shop@example.org>"}))["From"] == "Shop <shop@example.org>"
        async with ScriptedServer(tls="tls", users={"user@example.org": "pw"}) as server:
            auth = {"type": "basic", "username": "user@example.org", "password": "pw"}
            outcome = await run({"from": ""}, server, auth=auth)
        assert outcome.result["envelope"]["from"] == "user@example.org"

    async def test_cc_bcc_and_reply_to(self) -> None:
        async with ScriptedServer() as server:
            outcome = await run(
                {"cc": "c@example.org", "bcc": "secret@example.org", "replyTo": "r@example.org"}, server
            )
            [message] = server.messages
        assert outcome.result["accepted"] == ["ann@example.org", "c@example.org", "secret@example.org"]
        head = message.raw.split(b"\r\n\r\n")[0]
        assert b"Cc: c@example.org" in head
        assert b"Reply-To: r@example.org" in head
        assert b"secret@example.org" not in message.raw
        assert b"Bcc" not in head

    async def test_own_plain_text_derived_or_none(self) -> None:
        def kinds(message: EmailMessage) -> list[str]:
            return [part.get_content_type() for part in message.walk()]

        own = await arrived({"text": "My own text"})
        assert kinds(own) == ["multipart/alternative", "text/plain", "text/html"]
        assert "My own text" in own.get_body(("plain",)).get_content()  # type: ignore[union-attr]
        derived = await arrived({})
        assert "Hello Ann" in derived.get_body(("plain",)).get_content()  # type: ignore[union-attr]
        assert kinds(await arrived({"text": False})) == ["text/html"]

    async def test_priority_headers(self) -> None:
        for priority, wanted in (
            ("high", ("1 (Highest)", "High", "urgent")),
            ("low", ("5 (Lowest)", "Low", "non-urgent")),
            ("normal", (None, None, None)),
        ):
            message = await arrived({"priority": priority})
            assert (message["X-Priority"], message["Importance"], message["Priority"]) == wanted
            assert message["X-MSMail-Priority"] is None


class TestAttachments:
    @pytest.mark.parametrize(
        ("attachment", "name", "kind", "content"),
        [
            ({"type": "url", "url": "data:text/csv;base64,YSxi", "filename": "a.csv"}, "a.csv", "text/csv", b"a,b"),
            ({"type": "text", "content": "Hi {{ input.name }}", "filename": "a.txt"}, "a.txt", "text/plain", b"Hi Ann"),
            ({"type": "base64", "content": "JVBERg==", "filename": "a.pdf"}, "a.pdf", "application/pdf", b"%PDF"),
            ({"type": "custom", "content": "{}", "contentType": "application/json", "filename": "a"}, "a", "application/json", b"{}"),
            ({"type": "mime", "content": "Content-Type: text/x-own; name=b\nContent-Disposition: attachment\n\nraw"}, "b", "text/x-own", b"raw"),
        ],
        ids=["url", "text", "base64", "custom", "mime"],
    )  # fmt: skip
    async def test_the_five_kinds(self, attachment: dict[str, str], name: str, kind: str, content: bytes) -> None:
        message = await arrived({"attachments": [attachment]})
        [part] = message.iter_attachments()
        assert (part.get_filename(), part.get_content_type()) == (name, kind)
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        assert payload.strip() == content

    async def test_types_that_are_not_files(self) -> None:
        letter = {"type": "custom", "content": "Subject: inner\n\nbody", "contentType": "message/rfc822"}
        [part] = (await arrived({"attachments": [letter]})).iter_attachments()
        assert part.get_content_type() == "message/rfc822"
        assert part["Content-Transfer-Encoding"] in {None, "7bit"}
        assert part.get_payload(0)["Subject"] == "inner"  # type: ignore[union-attr,index]
        for bad in ("multipart/mixed", "text", "a/b/c", "text/plain; name=x", "text/plain\nX: y"):
            async with ScriptedServer() as server:
                custom = {"type": "custom", "content": "x", "contentType": bad}
                outcome = await run({"attachments": [custom]}, server)
                assert (outcome.ok, server.commands) == (False, []), bad

    async def test_no_attachment(self) -> None:
        assert list((await arrived({})).iter_attachments()) == []

    async def test_the_limit_of_ten_megabytes(self) -> None:
        assert ATTACHMENT_LIMIT == 10 * 1024 * 1024
        async with ScriptedServer() as server:
            large = {"type": "text", "content": "x" * (ATTACHMENT_LIMIT + 1)}
            outcome = await run({"attachments": [large]}, server)
            assert server.commands == []
        assert outcome.result["error"]["code"] == "ESTREAM"
        assert "$.attachments[0]" in outcome.result["error"]["message"]


class TestResult:
    @pytest.mark.parametrize(("where", "key"), [("input", "sent"), ("context", "mail.result"), ("input", "a.b.c")])
    async def test_stored_in_input_or_context_at_a_dotted_key(self, where: str, key: str) -> None:
        async with ScriptedServer() as server:
            outcome = await run({"storeResult": {"in": where, "key": key}}, server)
        found: Any = getattr(outcome.state, where)
        for step in key.split("."):
            found = found[step]
        assert found == outcome.result
        assert outcome.changes == ((where, key, outcome.result),)
        assert STATE.context == {"mail": {"result": "old", "kept": 1}}

    async def test_not_stored(self) -> None:
        async with ScriptedServer() as server:
            outcome = await run({}, server)
        assert (outcome.state, outcome.changes) == (STATE, ())

    def test_an_empty_key_is_found_when_loading(self) -> None:
        for where in ("input", "context"):
            with pytest.raises(Exception, match=r"\$\.store_result\.key: missing"):
                load_node({"connection": "x", "store_result": {"in": where, "key": ""}} | NODE)

    async def test_the_keys_of_a_result(self) -> None:
        replies = {"rcpt": lambda address: "550 5.1.1 unknown" if address == "no@example.org" else None}
        async with ScriptedServer(replies=replies) as server:
            result = (await run({"to": "ann@example.org, no@example.org"}, server)).result
        assert json.loads(json.dumps(result)) == result
        assert result["accepted"] == ["ann@example.org"]
        assert result["rejected"] == ["no@example.org"]
        [error] = result["rejectedErrors"]
        assert error.items() >= {"code": "EENVELOPE", "command": "RCPT TO", "recipient": "no@example.org",
                                 "responseCode": 550, "response": "550 5.1.1 unknown", "permanent": True}.items()  # fmt: skip
        assert result["envelope"] == {"from": "me@example.org", "to": ["ann@example.org", "no@example.org"]}
        assert re.fullmatch(r"<\S+@\S+>", result["messageId"])
        assert result["response"].startswith("250")
        assert "PIPELINING" in result["ehlo"]
        for key in ("envelopeTime", "messageTime", "messageSize"):
            assert isinstance(result[key], int), key


async def failing(document: dict[str, Any] | None = None, *, connection: Any = None, **server: Any) -> dict[str, Any]:
    async with ScriptedServer(**server) as scripted:
        outcome = await run(document or {}, scripted, **(connection or {}))
    assert not outcome.ok
    error: dict[str, Any] = outcome.result["error"]
    return error


class TestErrors:
    """``code`` and ``command`` as flows written for the original read them."""

    async def test_connection_refused(self) -> None:
        async with ScriptedServer() as server:
            port = server.port
        error = await failing(connection={"port": port})
        assert (error["code"], error["command"]) == ("ESOCKET", "CONN")

    async def test_no_such_host(self) -> None:
        error = await failing(connection={"host": "nowhere.invalid"})
        assert (error["code"], error["command"]) == ("EDNS", "CONN")

    async def test_no_greeting_in_time(self) -> None:
        from mailwright.testing import Fault

        error = await failing(connection={"timeouts": {"connect": 0.2}}, faults=[Fault(stage="greeting", kind="hang")])
        assert (error["code"], error["command"]) == ("ETIMEDOUT", "CONN")

    async def test_starttls_missing_or_refused(self) -> None:
        for more in ({}, {"replies": {"starttls": "454 4.7.0 not now"}, "tls": "starttls"}):
            async with ScriptedServer(**more) as server:
                outcome = await run({}, server, tls="starttls")
            error = outcome.result["error"]
            assert (error["code"], error["command"]) == ("ETLS", "STARTTLS")

    async def test_bad_credentials(self) -> None:
        auth = {"type": "basic", "username": "me@example.org", "password": "wrong"}
        error = await failing(tls="tls", users={"me@example.org": "right"}, connection={"auth": auth})
        assert error["code"] == "EAUTH"
        assert error["command"].startswith("AUTH ")
        assert error["responseCode"] == 535

    async def test_missing_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NOT_THERE", raising=False)
        auth = {"type": "basic", "username": "me@example.org", "password": "env:NOT_THERE"}
        error = await failing(tls="tls", users={}, connection={"auth": auth})
        assert (error["code"], error["command"]) == ("EAUTH", "API")

    async def test_no_recipients(self) -> None:
        error = await failing({"to": "{{ input.nobody | default('') }}"})
        assert (error["code"], error["command"]) == ("EENVELOPE", "API")

    async def test_all_recipients_refused(self) -> None:
        error = await failing(replies={"rcpt": "550 5.1.1 no such user"})
        assert (error["code"], error["command"], error["responseCode"]) == ("EENVELOPE", "RCPT TO", 550)
        assert error["permanent"] is True

    async def test_sender_refused(self) -> None:
        error = await failing(replies={"mail": "550 5.7.1 not you"})
        assert (error["code"], error["command"]) == ("EENVELOPE", "MAIL FROM")

    async def test_over_the_servers_size(self) -> None:
        error = await failing({"content": "x" * 5000}, size=1000)
        assert (error["code"], error["command"]) == ("EMESSAGE", "MAIL FROM")

    async def test_body_refused(self) -> None:
        error = await failing(replies={"final": "554 5.6.0 no"})
        assert (error["code"], error["command"]) == ("EMESSAGE", "DATA")

    async def test_attachment_that_cannot_be_had(self) -> None:
        """The original had the connection open by then; here nothing was said to the server."""
        async with ScriptedServer() as server:
            outcome = await run({"attachments": [{"type": "url", "url": "http://127.0.0.1:9/x"}]}, server)
            assert server.commands == []
        error = outcome.result["error"]
        assert (error["code"], error["command"]) == ("ESTREAM", "API")


class TestFlow:
    async def test_stop_on_error_off_goes_on_with_the_error_stored(self) -> None:
        async with ScriptedServer(replies={"rcpt": "550 no"}) as server:
            outcome = await run({"storeResult": {"in": "input", "key": "sent"}}, server)
        assert not outcome.ok
        assert outcome.state.input["sent"]["error"]["code"] == "EENVELOPE"

    async def test_stop_on_error_on_stops_with_the_whole_outcome(self) -> None:
        async with ScriptedServer(replies={"rcpt": "550 no"}) as server:
            with pytest.raises(FlowStopped) as caught:
                await run({"stopOnError": True, "storeResult": {"in": "input", "key": "sent"}}, server)
        assert caught.value.outcome.state.input["sent"] == caught.value.outcome.result
        assert caught.value.outcome.receipt is not None

    async def test_asynchronous_goes_on_at_once(self) -> None:
        async with ScriptedServer() as server:
            outcome = await run({"executeAsync": True, "storeResult": {"in": "input", "key": "sent"}}, server)
            queued = outcome.state.input["sent"]
            assert queued.keys() == {"status", "id", "messageId"}
            final = await outcome.wait()
        assert final.result["messageId"] == queued["messageId"]
        assert final.state.input["sent"]["status"] == "sent"

    async def test_three_retries_for_what_is_only_refused_for_the_moment(self) -> None:
        assert RETRIES == 3
        busy = iter(["451 4.3.0 not now"])
        async with ScriptedServer(replies={"rcpt": lambda address: next(busy, None)}) as server:
            sleeps: list[float] = []
            outcome = await _quick(server, sleeps)
        assert outcome.ok
        assert (outcome.result["attempts"], len(sleeps)) == (2, 1)
        assert len(server.messages) == 1


async def _quick(server: ScriptedServer, sleeps: list[float]) -> NodeOutcome:
    """With a clock that does not wait."""
    from mailwright import Mailer
    from mailwright.system import SystemClock

    class Clock(SystemClock):
        async def sleep(self, seconds: float) -> None:
            sleeps.append(seconds)
            await asyncio.sleep(0)

    connection = {"provider": "smtp", "host": server.host, "port": server.port, "tls": "none"}
    async with Mailer(connection, retries=RETRIES, clock=Clock()) as mailer:
        return await load_node(NODE, mailer=mailer).run(STATE)


class TestSpelling:
    def test_camel_case_says_the_same(self) -> None:
        camel = {"replyTo": "r@example.org", "storeResult": {"in": "input", "key": "a"}, "stopOnError": True,
                 "executeAsync": True, "failOn": "any"}  # fmt: skip
        snake = {"reply_to": "r@example.org", "store_result": {"in": "input", "key": "a"}, "stop_on_error": True,
                 "execute_async": True, "fail_on": "any"}  # fmt: skip
        both = [load_node({"connection": "x"} | NODE | keys).document for keys in (camel, snake)]
        assert both[0] == both[1]
        with pytest.raises(Exception, match="the same as"):
            load_node({"connection": "x"} | NODE | {"replyTo": "a@example.org", "reply_to": "a@example.org"})


ORIGINAL: dict[str, Any] = {
    "emailService": "Other SMTP Service", "host": "mail.example.org", "port": 443, "tlsOption": "tls",
    "username": "me@example.org", "password": "env:PW", "to": "{{ci.email}}", "cc": "c@example.org", "subject": "Hi",
    "content": "<p>Hi</p>", "priority": "High", "attachmentType": "From Base64 String", "attachmentContent": "aGk=",
    "attachmentFilename": "a.txt", "storeLocation": "Context", "contextKey": "mail.result", "stopOnError": True,
}  # fmt: skip


def knows(name: str) -> bool:
    return name in default_registry().names("provider")


class TestOriginal:
    def test_a_flat_export(self) -> None:
        found = translate(ORIGINAL, knows)
        assert found.document == {
            "attachments": [{"type": "base64", "content": "aGk=", "filename": "a.txt"}],
            "connection": {
                "provider": "smtp", "host": "mail.example.org", "tls": "tls",
                "auth": {"type": "basic", "username": "me@example.org", "password": "env:PW"},
            },
            "to": "{{input.email}}", "cc": "c@example.org", "subject": "Hi", "content": "<p>Hi</p>", "priority": "high",
            "stop_on_error": True, "store_result": {"in": "context", "key": "mail.result"},
        }  # fmt: skip
        notes = dict(found.notes)
        assert "465" in notes["$.connection.port"]
        assert "X-MSMail-Priority" in notes["$.priority"]
        assert "HTML only" in notes["$.text"]
        assert "input" in notes["$.to"]
        load_node(found.document)

    @pytest.mark.parametrize(
        ("change", "path", "value"),
        [
            ({"tlsOption": "starttls", "port": 587}, "tls", "starttls"),
            ({"tlsOption": None}, "tls", "tls"),
            ({"tlsOption": "none", "port": 25}, "tls", "none"),
            ({"tlsOption": None, "secure": False, "port": "2525"}, "port", 2525),
            ({"emailService": "Gmail"}, "provider", "gmail"),
            ({"service": "gmail", "emailService": ""}, "provider", "gmail"),
        ],
    )
    def test_servers(self, change: dict[str, Any], path: str, value: Any) -> None:
        assert translate(ORIGINAL | change, knows).document["connection"][path] == value

    def test_labels_as_keys_and_connections_apart(self) -> None:
        raw = {
            "Email Service": "Gmail",
            "Recipient TO Email Addresses": "a@example.org",
            "Email Content": "x",
            "Define custom text Email Content": True,
            "text": "own",
            "connection": {
                "user": "me@gmail.com", "clientId": "i", "clientSecret": "s", "refreshToken": "r", "expiryDate": 1700000000000,
                "accessUrl": "https://accounts.google.com/o/oauth2/token",
            },
            "Store location of SMTP Request result": "Input",
            "Input Key to store Result": "sent",
            "Attachment": "From Pregenerated MIME Node",
            "raw": "Content-Type: text/plain\n\nx",
        }  # fmt: skip
        document = translate({"config": raw}, knows).document
        assert document["connection"] == {
            "provider": "gmail",
            "auth": {"type": "oauth2", "user": "me@gmail.com", "client_id": "i", "client_secret": "s", "refresh_token": "r",
                     "expiry_date": 1700000000000},
        }  # fmt: skip
        assert document["text"] == "own"
        assert document["store_result"] == {"in": "input", "key": "sent"}
        assert document["attachments"] == [{"type": "mime", "content": "Content-Type: text/plain\n\nx"}]

    def test_nodemailers_own_options(self) -> None:
        raw = {"host": "h.example", "secure": True, "auth": {"user": "u", "pass": "p"}, "to": "a@example.org", "html": "x",
               "attachments": [{"filename": "a", "path": "https://example.org/a"}, {"filename": "b", "content": "x"},
                               {"content": "aGk=", "encoding": "base64"}, {"content": "{}", "contentType": "application/json"},
                               {"raw": "A: b\n\nx"}]}  # fmt: skip
        document = translate(raw, knows).document
        assert [item["type"] for item in document["attachments"]] == ["url", "text", "base64", "custom", "mime"]
        assert document["connection"]["auth"] == {"type": "basic", "username": "u", "password": "p"}
        load_node(document)

    async def test_names_of_saved_connections_are_unique(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        one = '[connections.support]\nprovider = "sandbox"\n'
        (tmp_path / "mailwright.toml").write_text(one + one)
        outcome = await load_node(NODE | {"connection": "support"}).run(STATE)
        assert "mailwright.toml" in str(outcome.error)
        assert "support" in str(outcome.error)

    def test_what_is_not_known_is_told(self) -> None:
        found = translate({"to": "a@example.org", "foo": 1, "emailService": "Nope"}, knows)
        assert ("$", "'foo' is not known and was left out") in found.notes
        assert found.document["connection"]["provider"] == "Nope"
        assert translate({"to": "{{ cc.a === 1 ? 'x' : 'y' }}"}, knows).notes[-1][0] == "$.to"


def test_every_row_of_the_parity_page_names_a_test_that_exists() -> None:
    root = Path(__file__).parents[1]
    rows = [line for line in PARITY.read_text().splitlines() if line.startswith("| ") and not line.endswith("| test |")]
    named = re.findall(r"`([\w/]+\.py)::(?:(\w+)::)?(\w+)`", PARITY.read_text())
    assert len(rows) >= 30
    for row in rows:
        assert re.search(r"`[\w/]+\.py::", row), row
    for file, group, name in named:
        text = (root / file).read_text()
        assert re.search(rf"^\s*(async )?def {name}\(", text, re.MULTILINE), (file, name)
        assert not group or re.search(rf"^class {group}\b", text, re.MULTILINE), (file, group)
