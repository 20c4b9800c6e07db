"""Documents: strict, all mistakes at once with their paths, two spellings, units, trust, round trips, schema."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import attrs
import jsonschema
import pytest
from attrs import field, frozen

from mailwright.documents import (
    check_connection,
    check_document,
    connection_schema,
    node_schema,
    parse,
    read,
    structure_connection,
    structure_node,
    unstructure_connection,
    unstructure_node,
)
from mailwright.errors import DocumentError, PluginError
from mailwright.model import Address, Limits, Secret, Settings


@frozen(kw_only=True)
class Smtp(Settings):
    host: str
    port: int | None = None
    tls: str = "starttls"


@frozen(kw_only=True)
class Api(Settings):
    api_key: Secret
    region: str = field(default="eu", validator=attrs.validators.in_(["eu", "us"]))


@frozen(kw_only=True)
class Basic(Settings):
    username: str
    password: Secret = field(repr=False)


@frozen(kw_only=True)
class OAuth2(Settings):
    user: str
    access_token: Secret | None = None
    refresh_token: Secret | None = None
    token_url: str | None = field(default=None, metadata={"aliases": ("access_url",)})
    expiry_date: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.access_token is None and self.refresh_token is None:
            raise ValueError("refresh_token: give it, or access_token")


@frozen(kw_only=True)
class Url(Settings):
    url: str
    filename: str | None = None


class Catalogue:
    known: ClassVar[dict[str, dict[str, type[Settings]]]] = {
        "provider": {"smtp": Smtp, "gmail": Settings, "api": Api},
        "auth": {"basic": Basic, "oauth2": OAuth2},
        "attachment": {"url": Url, "file": Url},
    }

    def _get(self, kind: str, name: str) -> type[Settings]:
        if name not in self.known[kind]:
            raise PluginError(f"unknown {kind} {name!r}")
        return self.known[kind][name]

    def provider_settings(self, name: str) -> type[Settings]:
        return self._get("provider", name)

    def auth_settings(self, name: str) -> type[Settings]:
        return self._get("auth", name)

    def attachment_settings(self, name: str) -> type[Settings]:
        return self._get("attachment", name)

    def names(self, kind: str) -> tuple[str, ...]:
        return tuple(sorted(self.known[kind]))


CATALOGUE = Catalogue()
BASIC = {"type": "basic", "username": "ann", "password": "env:PASSWORD"}
SMTP = {"provider": "smtp", "host": "mail.example.org"}
NODE = {"connection": "support", "to": "ann@example.org"}


def paths(document: dict[str, Any], **options: Any) -> dict[str, str]:
    return {problem.path: problem.code for problem in check_document(document, CATALOGUE, **options)}


def connection_paths(document: dict[str, Any], **options: Any) -> dict[str, str]:
    return {problem.path: problem.code for problem in check_connection(document, CATALOGUE, **options)}


class TestReading:
    def test_the_three_formats_say_the_same(self, tmp_path) -> None:
        texts = {
            "json": '{"to": "ann@example.org", "store_result": {"in": "input", "key": "a"}}',
            "toml": 'to = "ann@example.org"\n[store_result]\nin = "input"\nkey = "a"\n',
            "yaml": "to: ann@example.org\nstore_result: {in: input, key: a}\n",
        }
        found = []
        for format_, text in texts.items():
            file = tmp_path / f"node.{format_}"
            file.write_text(text, encoding="utf-8")
            found += [parse(text, format_), read(file)]
        assert all(item == found[0] for item in found)

    @pytest.mark.parametrize(
        ("format_", "text", "says"),
        [
            ("json", '{"to": ', "line 1 column"),
            ("json", '{"to": "a", "to": "b"}', "'to' is written twice"),
            ("json", '{"retries": NaN}', "NaN"),
            ("json", '["to"]', "is an object"),
            ("json", "[" * 100_000, "nested too deeply"),
            ("toml", "to = ", "Invalid value"),
            ("toml", 'to = "a"\nto = "b"', "overwrite"),
            ("yaml", "a: 1\nto: [", "line 2, column"),
            ("yaml", "to: a\nto: b", r"'to' is written twice \(line 2\)"),
            ("yaml", "to: !!python/object/apply:os.system [id]", "constructor"),
            ("ini", "x", "json, toml or yaml"),
        ],
    )
    def test_what_cannot_be_read_says_why(self, format_: Any, text: str, says: str) -> None:
        with pytest.raises(DocumentError, match=says):
            parse(text, format_)

    def test_a_missing_file_is_named_without_its_folder(self, tmp_path) -> None:
        with pytest.raises(DocumentError, match=r"nowhere\.toml") as caught:
            read(tmp_path / "nowhere.toml")
        assert str(tmp_path) not in str(caught.value)


class TestStrictness:
    @pytest.mark.parametrize(
        ("change", "path"),
        [
            ({"stop_on_error": "false"}, "$.stop_on_error"),
            ({"stop_on_error": 0}, "$.stop_on_error"),
            ({"subject": 5}, "$.subject"),
            ({"tags": "abc"}, "$.tags"),
            ({"tags": ["a", 1]}, "$.tags[1]"),
            ({"to": ["ann@example.org", None]}, "$.to[1]"),
            ({"text": True}, "$.text"),
            ({"attachments": {"type": "url", "url": "x"}}, "$.attachments"),
            ({"headers": {"X-A": 5}}, "$.headers.X-A"),
            ({"headers": {"Bcc": "a@b.org"}}, "$.headers.Bcc"),
            ({"headers": {"X-A": "a\r\nBcc: x@y.org"}}, "$.headers.X-A"),
            ({"headers": {5: "x"}}, "$.headers"),
            ({"priority": "urgent"}, "$.priority"),
            ({"content": {"file": "a.html", "markdown": "x"}}, "$.content"),
            ({"content": {"file": 5}}, "$.content.file"),
            ({"content": {"fiel": "a.html", "markdown": "x"}}, "$.content.fiel"),
            ({"content": {"inline_css": True}}, "$.content"),
            ({"store_result": {"in": "input"}}, "$.store_result.key"),
            ({"store_result": {"in": "input", "key": "a..b"}}, "$.store_result.key"),
            ({"storeResult": {"in": "input", "key": "a b"}}, "$.storeResult.key"),
            ({"store_result": {"in": "elsewhere", "key": "a"}}, "$.store_result.in"),
            ({"connection": []}, "$.connection"),
            ({"connection": ["a", 5]}, "$.connection[1]"),
            ({"connection": " "}, "$.connection"),
            ({"text": False}, "$.text"),
            ({"to": "not an address"}, "$.to"),
            ({"reply_to": ["ann@example.org", "bo"]}, "$.reply_to[1]"),
            ({"from": "bo"}, "$.from"),
            ({"envelope": {"form": "x"}}, "$.envelope.form"),
        ],
    )
    def test_one_mistake_one_path(self, change: dict[str, Any], path: str) -> None:
        assert list(paths(NODE | change)) == [path]

    @pytest.mark.parametrize(
        ("change", "path"),
        [
            ({"port": "25"}, "$.port"),
            ({"port": True}, "$.port"),
            ({"port": 70000}, "$.port"),
            ({"host": ""}, "$.host"),
            ({"tls": "ssl"}, "$.tls"),
            ({"retries": 11}, "$.retries"),
            ({"timeouts": {"connect": "5"}}, "$.timeouts.connect"),
            ({"timeouts": {"connect": 0}}, "$.timeouts.connect"),
            ({"limits": {"size": "25 parsec"}}, "$.limits.size"),
            ({"limits": {"rate": "30/fortnight"}}, "$.limits.rate"),
            ({"limits": {"rate": 0}}, "$.limits.rate"),
            ({"limits": {"recpients": 1}}, "$.limits.recpients"),
            ({"capabilities": {"mask": "CHUNKING"}}, "$.capabilities.mask"),
            ({"redirect_to": "x"}, "$.redirect_to"),
            ({"redirect_to": []}, "$.redirect_to"),
            ({"redirect_to": ""}, "$.redirect_to"),
            ({"allow_recipients": ["a b"]}, "$.allow_recipients[0]"),
            ({"from": "a@x.org, b@x.org"}, "$.from"),
            ({"proxy": "example.org"}, "$.proxy"),
            ({"tls_minimum": 1.2}, "$.tls_minimum"),
            ({"labels": {"a": 1}}, "$.labels.a"),
            ({"allow_fetch": ["http://x"]}, "$.allow_fetch[0]"),
            ({"allow_fetch": "10.0.0.1/8"}, "$.allow_fetch"),
            ({"allow_fetch": ["a.example", "10.1"]}, "$.allow_fetch[1]"),
            ({"auth": "basic"}, "$.auth"),
            ({"auth": {"username": "ann"}}, "$.auth.type"),
            ({"auth": {"type": "baisc"}}, "$.auth.type"),
            ({"auth": {"type": 5}}, "$.auth.type"),
            ({"auth": {**BASIC, "password": 5}}, "$.auth.password"),
            ({"auth": {"type": "oauth2", "user": "a@x.org"}}, "$.auth.refresh_token"),
            ({"options": {"host": "x"}}, "$.options.host"),
            ({"options": []}, "$.options"),
        ],
    )
    def test_one_mistake_of_a_connection(self, change: dict[str, Any], path: str) -> None:
        assert list(connection_paths(SMTP | change)) == [path]

    def test_every_mistake_at_once(self) -> None:
        document = {
            "connection": {
                "provider": "gmail", "host": "h", "port": "25", "auth": {"type": "basic", "user": "ann", "password": 5},
                "limits": {"rate": "fast"}, "retries": 99,
            },
            "to": ["ann x.org", 5],
            "html": "<p>", "content": "<p>",
            "subjet": "",
            "storeResult": {"in": "inputs"},
            "attachments": [{"type": "url", "ulr": "x"}, {"type": "nope"}, 5],
        }  # fmt: skip
        assert set(paths(document)) == {
            "$.connection.host", "$.connection.port", "$.connection.auth.user", "$.connection.auth.username",
            "$.connection.auth.password", "$.connection.limits.rate", "$.connection.retries", "$.to[0]", "$.to[1]",
            "$.content", "$.subjet", "$.storeResult.in", "$.attachments[0].ulr", "$.attachments[0].url",
            "$.attachments[1].type", "$.attachments[2]",
        }  # fmt: skip

    def test_a_validator_of_a_plugin_is_told_together_with_the_rest(self) -> None:
        found = connection_paths({"provider": "api", "options": {"region": "mars", "regoin": "x"}})
        assert set(found) == {"$.options.region", "$.options.regoin", "$.options.api_key"}

    def test_the_nearest_name_is_offered(self) -> None:
        (problem,) = check_document(NODE | {"subjekt": "x"}, CATALOGUE)
        assert "did you mean 'subject'?" in problem.message

    def test_host_belongs_to_smtp_only(self) -> None:
        (problem,) = check_connection({"provider": "gmail", "host": "x"}, CATALOGUE)
        assert problem.path == "$.host"
        assert "only provider 'smtp' takes it" in problem.message

    def test_smtp_without_a_host(self) -> None:
        assert connection_paths({"provider": "smtp"}) == {"$.host": "missing"}

    def test_no_provider(self) -> None:
        assert connection_paths({"name": "x"}) == {"$.provider": "missing"}

    def test_unknown_provider(self) -> None:
        assert connection_paths({"provider": "gmial"}) == {"$.provider": "unknown-provider"}

    @pytest.mark.parametrize("to", [{}, {"to": ""}, {"to": []}, {"to": " ; , "}, {"cc": ""}])
    def test_nobody_to_write_to(self, to: dict[str, Any]) -> None:
        assert paths({"connection": "support", **to}) == {"$.to": "missing"}

    @pytest.mark.parametrize("to", [{"cc": "a@x.org"}, {"bcc": ["a@x.org"]}, {"envelope": {"to": "a@x.org"}}])
    def test_any_recipient_will_do(self, to: dict[str, Any]) -> None:
        assert paths({"connection": "support", **to}) == {}

    @pytest.mark.parametrize("document", [[], "x", None, 5])
    def test_not_an_object(self, document: Any) -> None:
        assert paths(document) == {"$": "wrong-type"}
        assert connection_paths(document) == {"$": "wrong-type"}


class TestSpellings:
    def test_both_spellings_of_every_key(self) -> None:
        snake = NODE | {
            "reply_to": "bo@example.org", "content": "x", "store_result": {"in": "context", "key": "a.b"},
            "stop_on_error": True, "execute_async": True, "fail_on": "any", "on_unknown": "retry",
        }  # fmt: skip
        camel = NODE | {
            "replyTo": "bo@example.org", "html": "x", "storeResult": {"in": "context", "key": "a.b"},
            "stopOnError": True, "executeAsync": True, "failOn": "any", "onUnknown": "retry",
        }  # fmt: skip
        assert structure_node(snake, CATALOGUE) == structure_node(camel, CATALOGUE)

    def test_the_originals_connection(self) -> None:
        auth = {
            "type": "oauth2",
            "user": "a@x.org",
            "refreshToken": "t",
            "accessUrl": "https://x.org/t",
            "expiryDate": 5,
        }
        found = structure_connection(SMTP | {"tlsOption": "implicit", "auth": auth}, CATALOGUE)
        assert found.tls == "tls"
        assert found.settings == Smtp(host="mail.example.org", tls="tls")
        assert found.auth == (
            "oauth2",
            OAuth2(user="a@x.org", refresh_token=Secret("t"), token_url="https://x.org/t", expiry_date=5),
        )

    @pytest.mark.parametrize("pair", [("content", "html"), ("reply_to", "replyTo"), ("stop_on_error", "stopOnError")])
    def test_both_at_once_are_refused(self, pair: tuple[str, str]) -> None:
        value = True if pair[0] == "stop_on_error" else "a@x.org"
        assert paths(NODE | dict.fromkeys(pair, value)) == {f"$.{pair[1]}": "duplicate-key"}

    def test_units(self) -> None:
        found = structure_connection(SMTP | {"limits": {"rate": "30/min", "size": "25 MB"}}, CATALOGUE)
        assert found.limits == Limits(rate=0.5, size=25_000_000)
        found = structure_connection(SMTP | {"limits": {"rate": 2, "size": "1MiB"}}, CATALOGUE)
        assert found.limits == Limits(rate=2.0, size=1_048_576)


class TestTrust:
    @pytest.mark.parametrize(
        ("change", "path"),
        [
            ({"connection": SMTP}, "$.connection"),
            ({"connection": ["support", SMTP]}, "$.connection[1]"),
            ({"connection": {"provider": "gmail"}}, "$.connection"),
            ({"attachments": [{"type": "file", "url": "/etc/passwd"}]}, "$.attachments[0].type"),
            ({"content": {"file": "/etc/passwd"}}, "$.content.file"),
            ({"options": {"smtp": {"host": "evil.example"}}}, "$.options"),
        ],
    )
    def test_untrusted_documents_name_saved_connections_only(self, change: dict[str, Any], path: str) -> None:
        assert list(paths(NODE | change, trust="untrusted")) == [path]

    @pytest.mark.parametrize("secret", ["env:HOME", "file:/etc/passwd", "keyring:mail/ann", "vault:x", "ENV:HOME"])
    def test_untrusted_documents_refer_to_no_secret(self, secret: str) -> None:
        document = SMTP | {"auth": {**BASIC, "password": secret}, "ca_file": "/etc/ca.pem"}
        assert connection_paths(document, trust="untrusted") == {"$": "untrusted", "$.auth.password": "untrusted"}

    def test_nor_by_handing_in_objects(self) -> None:
        connection = structure_connection(SMTP, CATALOGUE)
        assert "$.connection" in paths(NODE | {"connection": connection}, trust="untrusted")

    def test_files_where_there_is_a_root(self) -> None:
        document = NODE | {"attachments": [{"type": "file", "url": "a.pdf"}]}
        assert paths(document, trust="untrusted", files=True) == {}

    def test_what_is_left_is_allowed(self) -> None:
        document = NODE | {"content": "{{ input.x }}", "attachments": [{"type": "url", "url": "https://x.org"}]}
        assert structure_node(document, CATALOGUE, trust="untrusted").trust == "untrusted"


class TestSecrets:
    def test_never_shown(self) -> None:
        canary = "s3cr3t-canary"
        document = NODE | {
            "connection": SMTP | {"auth": {**BASIC, "password": canary}, "proxy": f"http://u:{canary}@p:1"}
        }
        node = structure_node(document, CATALOGUE)
        assert canary not in repr(node)
        assert canary not in json.dumps(unstructure_node(node, mask_secrets=True))
        with pytest.raises(DocumentError) as caught:
            structure_node(document | {"subject": 5, "connection": document["connection"] | {"port": 0}}, CATALOGUE)
        assert canary not in str(caught.value)

    @pytest.mark.parametrize("value", [["s3cr3t"], {"s3cr3t": 1}, 12345678])
    def test_nor_when_they_have_the_wrong_type(self, value: Any) -> None:
        (problem,) = check_connection(SMTP | {"auth": {**BASIC, "password": value}}, CATALOGUE)
        assert "s3cr3t" not in str(problem)
        assert "12345678" not in str(problem)


class TestRoundTrip:
    def test_a_full_connection(self) -> None:
        document = {
            "name": "support", "provider": "smtp", "host": "mail.example.org", "port": 465, "tls": "tls",
            "from": "Ann <ann@example.org>", "auth": BASIC, "limits": {"rate": 0.5, "connections": 2, "size": 25_000_000},
            "timeouts": {"connect": 5.0}, "retries": 0, "local_hostname": "me.example.org",
            "proxy": "socks5://localhost:1080", "source_address": "192.0.2.1", "ca_file": "ca.pem",
            "client_cert": "me.pem", "tls_minimum": "1.3", "capabilities": {"mask": ["CHUNKING", "PIPELINING"]},
            "allow_insecure_auth": True, "redirect_to": ["dev@example.org"], "allow_recipients": ["example.org"],
            "labels": {"team": "support"},
        }  # fmt: skip
        model = structure_connection(document, CATALOGUE)
        assert unstructure_connection(model) == document
        assert model.from_ == Address("ann@example.org", "Ann")

    def test_a_full_node(self) -> None:
        document = {
            "connection": ["support", SMTP | {"auth": BASIC}], "to": ["{{ input.to }}"], "subject": "Hi", "content": "<p>",
            "attachments": [{"type": "url", "url": "{{ input.url }}", "filename": "a.pdf"}],
            "store_result": {"in": "context", "key": "mail.result"}, "stop_on_error": True, "fail_on": "any",
            "from": "ann@example.org", "cc": "bo@example.org", "bcc": "cy@example.org", "reply_to": "di@example.org",
            "text": False, "priority": "{{ input.priority }}", "execute_async": True, "on_unknown": "retry",
            "headers": {"X-A": "{{ input.a }}"}, "in_reply_to": "<a@b>", "references": "<a@b>",
            "envelope": {"from": "bounce@example.org", "to": "ann@example.org"}, "tags": ["welcome"],
            "options": {"api": {"api_key": "env:KEY"}},
        }  # fmt: skip
        assert unstructure_node(structure_node(document, CATALOGUE)) == document


class TestSchema:
    def test_is_a_schema(self) -> None:
        for schema in (node_schema(CATALOGUE), connection_schema(CATALOGUE)):
            jsonschema.Draft202012Validator.check_schema(schema)
            json.dumps(schema)

    def test_what_a_form_needs(self) -> None:
        schema = connection_schema(CATALOGUE)
        assert [group["name"] for group in schema["x-groups"]][:2] == ["service", "authentication"]
        assert {field for group in schema["x-groups"] for field in group["fields"]} == set(schema["properties"])
        branches = schema["properties"]["auth"]["anyOf"][0]["oneOf"]
        assert branches[0]["properties"]["password"]["writeOnly"] is True
        node = node_schema(CATALOGUE)["properties"]
        assert node["subject"]["x-template"] is True
        assert node["priority"]["default"] == "normal"

    def test_labels_of_services(self) -> None:
        class Labelled(Catalogue):
            def label(self, kind: str, name: str) -> tuple[str, str]:
                return name.title(), "needs an app password" if name == "gmail" else ""

        choices = connection_schema(Labelled())["properties"]["provider"]["oneOf"]
        assert {"const": "gmail", "title": "Gmail", "description": "needs an app password"} in choices

    @pytest.mark.parametrize(
        ("document", "valid"),
        [
            (SMTP, True),
            ({"provider": "gmail"}, True),
            ({"provider": "gmail", "host": "x"}, False),
            ({"provider": "smtp"}, False),
            ({"provider": "nope"}, False),
            ({"provider": "api"}, False),
            ({"provider": "api", "options": {"api_key": "k"}}, True),
            ({"provider": "api", "options": {"api_key": "k", "x": 1}}, False),
            (SMTP | {"auth": BASIC}, True),
            (SMTP | {"auth": None}, True),
            (SMTP | {"auth": {"type": "basic", "username": "u"}}, False),
            (SMTP | {"auth": {"type": "oauth2", "username": "u"}}, False),
            (SMTP | {"port": "25"}, False),
            (SMTP | {"options": {"host": "x"}}, False),
            (SMTP | {"options": {}}, True),
            (SMTP | {"limits": {"size": "25 MB", "rate": "30/min"}}, True),
            (SMTP | {"limits": {"size": "25 MBB"}}, False),
            (SMTP | {"limits": None}, True),
        ],
    )
    def test_schema_and_loader_agree_on_connections(self, document: dict[str, Any], valid: bool) -> None:
        validator = jsonschema.Draft202012Validator(connection_schema(CATALOGUE))
        assert validator.is_valid(document) is valid
        assert (check_connection(document, CATALOGUE) == []) is valid

    @pytest.mark.parametrize(
        ("change", "valid"),
        [
            ({}, True),
            ({"to": ""}, False),
            ({"to": []}, False),
            ({"to": None}, False),
            ({"to": "", "cc": ["a@x.org"]}, True),
            ({"connection": SMTP}, True),
            ({"connection": ["a", SMTP]}, True),
            ({"connection": []}, False),
            ({"connection": SMTP | {"x": 1}}, False),
            ({"attachments": [{"type": "url", "url": "x"}]}, True),
            ({"attachments": [{"type": "url"}]}, False),
            ({"attachments": [{"type": "nope"}]}, False),
            ({"store_result": {"in": "input"}}, False),
            ({"store_result": {"in": "input", "key": "a.b"}}, True),
            ({"store_result": {"in": "none"}}, True),
            ({"store_result": {}}, True),
            ({"text": False}, False),
            ({"text": False, "content": "x"}, True),
            ({"text": True}, False),
            ({"priority": "urgent"}, False),
            ({"priority": "{{ input.p }}"}, True),
            ({"options": {"api": {"api_key": "k"}}}, True),
            ({"options": {"nope": {}}}, False),
            ({"envelope": {"to": "a@x.org"}}, True),
            ({"envelope": {"form": "a@x.org"}}, False),
        ],
    )
    def test_schema_and_loader_agree_on_nodes(self, change: dict[str, Any], valid: bool) -> None:
        validator = jsonschema.Draft202012Validator(node_schema(CATALOGUE))
        assert validator.is_valid(NODE | change) is valid
        assert (check_document(NODE | change, CATALOGUE) == []) is valid
