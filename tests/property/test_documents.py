"""Laws of documents: loading undoes saving, the schema and the loader agree, nothing but `DocumentError` comes out."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any, ClassVar, Literal

import jsonschema
import tomlkit
import yaml
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st

from mailwright import Registry
from mailwright import connection_schema as built_in_connection_schema
from mailwright import node_schema as built_in_node_schema
from mailwright.documents import (
    check_connection,
    check_document,
    connection_schema,
    node_schema,
    parse,
    structure_connection,
    structure_node,
    unstructure_connection,
    unstructure_node,
)
from mailwright.documents.fields import camel
from mailwright.errors import PluginError
from mailwright.model import Address, Connection, Limits, Secret, Settings, Timeouts
from mailwright.node import FlowState
from mailwright.templates import compile_template


@frozen(kw_only=True)
class Smtp(Settings):
    host: str
    port: int | None = None
    tls: Literal["tls", "starttls", "none"] = "starttls"


@frozen(kw_only=True)
class Basic(Settings):
    username: str
    password: Secret = field(repr=False)


@frozen(kw_only=True)
class Text(Settings):
    content: str
    filename: str | None = None
    sizes: tuple[int, ...] = ()
    mode: Literal["a", "b"] = "a"
    words: dict[str, bool] = field(factory=dict)


class Catalogue:
    known: ClassVar[dict[str, dict[str, type[Settings]]]] = {
        "provider": {"smtp": Smtp, "gmail": Settings, "text": Text},
        "auth": {"basic": Basic},
        "attachment": {"text": Text},
    }

    def _get(self, kind: str, name: str) -> type[Settings]:
        if name not in self.known[kind]:
            raise PluginError("unknown")
        return self.known[kind][name]

    def provider_settings(self, name: str) -> type[Settings]:
        return self._get("provider", name)

    def auth_settings(self, name: str) -> type[Settings]:
        return self._get("auth", name)

    def attachment_settings(self, name: str) -> type[Settings]:
        return self._get("attachment", name)

    def names(self, kind: str) -> tuple[str, ...]:
        return tuple(self.known[kind])


CATALOGUE = Catalogue()
CONNECTION = jsonschema.Draft202012Validator(connection_schema(CATALOGUE))
NODE = jsonschema.Draft202012Validator(node_schema(CATALOGUE))

plain_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
words = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
emails = st.builds("{}@{}.example".format, words, words)
addresses = st.builds(Address, emails, plain_text.map(str.strip))
tls = st.sampled_from(["tls", "starttls", "none"])
ports = st.integers(1, 65535)
secrets = st.builds(Secret, plain_text)
texts = st.builds(
    Text, content=plain_text, filename=st.none() | words, sizes=st.lists(st.integers()).map(tuple),
    mode=st.sampled_from("ab"), words=st.dictionaries(words, st.booleans(), max_size=2),
)  # fmt: skip
limits = st.builds(
    Limits, rate=st.none() | st.floats(0.001, 1000), burst=st.none() | st.integers(1, 50), connections=st.none() | st.integers(1, 50),
    messages_per_session=st.none() | st.integers(1, 500), idle=st.none() | st.floats(0.1, 600), recipients=st.none() | st.integers(1, 500), size=st.none() | st.integers(1, 10**9),
)  # fmt: skip


@st.composite
def connections(draw: st.DrawFn) -> Connection:
    choice = draw(st.sampled_from([None, "tls", "starttls", "none"]))
    provider, settings = draw(
        st.one_of(
            st.tuples(st.just("gmail"), st.just(Settings())),
            st.tuples(st.just("text"), texts),
            st.tuples(
                st.just("smtp"), st.builds(Smtp, host=words, port=st.none() | ports, tls=st.just(choice or "starttls"))
            ),
        )
    )
    return Connection(
        name=draw(st.none() | words),
        provider=provider,
        settings=settings,
        tls=choice,
        auth=draw(st.none() | st.tuples(st.just("basic"), st.builds(Basic, username=plain_text, password=secrets))),
        from_=draw(st.none() | addresses),
        limits=draw(st.none() | limits),
        timeouts=draw(st.builds(Timeouts, connect=st.floats(0.1, 100), total=st.floats(1, 1000))),
        retries=draw(st.none() | st.integers(0, 10)),
        mask=draw(st.frozensets(words.map(str.upper), max_size=3)),
        allow_fetch=tuple(draw(st.lists(st.sampled_from(["intranet.example", "10.1.0.0/16", "::1"]), max_size=2))),
        allow_insecure_auth=draw(st.booleans()),
        redirect_to=tuple(draw(st.lists(addresses, max_size=3))),
        allow_recipients=tuple(draw(st.lists(emails, max_size=3))),
        labels=tuple(draw(st.dictionaries(words, plain_text, max_size=2)).items()),
        tls_minimum=draw(st.sampled_from(["1.2", "1.3"])),
    )


recipients = emails | st.lists(emails | st.just("{{ input.to }}"), min_size=1, max_size=3)
node_documents = st.fixed_dictionaries(
    {"connection": words | st.lists(words, min_size=1, max_size=2), "to": recipients},
    optional={
        "cc": recipients,
        "reply_to": recipients,
        "from": emails | st.just(""),
        "subject": plain_text,
        "content": plain_text,
        "text": plain_text,
        "priority": st.sampled_from(["high", "normal", "low", "{{ input.p }}"]),
        "attachments": st.lists(st.fixed_dictionaries({"type": st.just("text"), "content": plain_text}), max_size=2),
        "store_result": st.fixed_dictionaries({"in": st.sampled_from(["input", "context"]), "key": words}),
        "stop_on_error": st.booleans(),
        "fail_on": st.sampled_from(["all", "any"]),
        "headers": st.dictionaries(words.map("X-{}".format), plain_text, max_size=2),
        "tags": st.lists(words, max_size=2),
        "options": st.just({"gmail": {}}),
    },
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | plain_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_text, inner, max_size=3),
    max_leaves=8,
)


@given(connections())
def test_connections_come_back(connection: Connection) -> None:
    document = unstructure_connection(connection)
    assert structure_connection(document, CATALOGUE) == connection
    assert CONNECTION.is_valid(document)


@given(node_documents)
def test_nodes_come_back(document: dict[str, Any]) -> None:
    node = structure_node(document, CATALOGUE)
    saved = unstructure_node(node)
    assert structure_node(saved, CATALOGUE) == node
    assert unstructure_node(structure_node(saved, CATALOGUE)) == saved
    assert NODE.is_valid(saved)


@given(node_documents)
def test_every_format_says_the_same(document: dict[str, Any]) -> None:
    assert parse(json.dumps(document), "json") == document
    assert parse(yaml.safe_dump(document, allow_unicode=False), "yaml") == document
    assert parse(tomlkit.dumps(document), "toml") == document


@given(node_documents)
def test_camel_case_says_the_same(document: dict[str, Any]) -> None:
    spelled = {camel(key): value for key, value in document.items()}
    assert structure_node(spelled, CATALOGUE) == structure_node(document, CATALOGUE)


@st.composite
def mutated(draw: st.DrawFn, documents: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """A good document with one value put in another's place, taken away, or added."""
    document: Any = copy.deepcopy(draw(documents))
    place: Any = document
    while isinstance(place, (dict, list)) and place:
        key = draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
        if isinstance(place[key], (dict, list)) and place[key] and draw(st.booleans()):
            place = place[key]
            continue
        change = draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "remove":
            del place[key]
        elif change == "add" and isinstance(place, dict):
            place[draw(words)] = draw(json_values)
        else:
            place[key] = draw(json_values)
        break
    return document  # type: ignore[no-any-return]


STRUCTURE = {
    "wrong-type",
    "unknown-key",
    "missing",
    "not-here",
    "unknown-provider",
    "unknown-auth",
    "unknown-attachment",
    "wrong-length",
}


def agree(document: dict[str, Any], valid: bool, codes: set[str]) -> None:
    """What the schema accepts the loader accepts but for what no schema can say; what it refuses the loader refuses."""
    if valid:
        assert not codes & STRUCTURE, (document, codes)
    else:
        assert codes, document


def _leaves(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    else:
        yield value


@given(mutated(connections().map(unstructure_connection)))
def test_schema_and_loader_agree_on_connections(document: dict[str, Any]) -> None:
    if any(isinstance(item, float) and item.is_integer() for item in _leaves(document)):
        return  # JSON Schema calls 5.0 an integer; the loader does not
    agree(document, CONNECTION.is_valid(document), {problem.code for problem in check_connection(document, CATALOGUE)})


@given(mutated(node_documents))
def test_schema_and_loader_agree_on_nodes(document: dict[str, Any]) -> None:
    if any(isinstance(item, float) and item.is_integer() for item in _leaves(document)):
        return
    agree(document, NODE.is_valid(document), {problem.code for problem in check_document(document, CATALOGUE)})


BUILT_IN = Registry(installed=False)
REAL_CONNECTION = jsonschema.Draft202012Validator(built_in_connection_schema(registry=BUILT_IN))
REAL_NODE = jsonschema.Draft202012Validator(built_in_node_schema(registry=BUILT_IN))
base64_text = st.binary(max_size=12).map(lambda data: base64.b64encode(data).decode())
media_types = st.sampled_from(["application/pdf", "text/csv", "image/png"])
real_attachments = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "content": plain_text}, optional={"filename": words}),
    st.fixed_dictionaries(
        {"type": st.just("base64"), "content": base64_text}, optional={"filename": words, "content_type": media_types}
    ),
    st.fixed_dictionaries(
        {"type": st.just("custom"), "content": plain_text, "content_type": media_types}, optional={"filename": words}
    ),
    st.fixed_dictionaries({"type": st.just("mime"), "content": st.just("Content-Type: text/plain\r\n\r\nx")}),
    st.fixed_dictionaries(
        {"type": st.just("url"), "url": st.just("https://x.example/a")}, optional={"filename": words}
    ),
    st.fixed_dictionaries({"type": st.just("file"), "path": words}),
)
real_auth = st.one_of(
    st.fixed_dictionaries({"type": st.just("basic"), "username": words, "password": st.just("env:NAME")}),
    st.fixed_dictionaries({"type": st.just("oauth2"), "user": emails, "access_token": st.just("env:NAME")}),
)
real_connections = st.fixed_dictionaries(
    {"provider": st.sampled_from(["gmail", "outlook", "sandbox"])},
    optional={"auth": real_auth, "tls": tls, "from": emails},
) | st.fixed_dictionaries(
    {"provider": st.just("smtp"), "host": st.just("mail.example.org")},
    optional={
        "port": ports,
        "tls": tls,
        "auth": real_auth,
        "limits": st.fixed_dictionaries({}, optional={"rate": st.just("30/min"), "size": st.just("25 MB")}),
        "redirect_to": recipients,
    },
)
real_nodes = st.fixed_dictionaries(
    {"connection": words | real_connections, "to": recipients},
    optional={
        "subject": plain_text,
        "content": plain_text,
        "attachments": st.lists(real_attachments, max_size=3),
        "store_result": st.fixed_dictionaries({"in": st.sampled_from(["input", "context"]), "key": words}),
        "priority": st.sampled_from(["high", "normal", "low"]),
    },
)


@given(mutated(real_connections))
def test_with_the_built_in_plugins_schema_and_loader_agree_on_connections(document: dict[str, Any]) -> None:
    if any(isinstance(item, float) and item.is_integer() for item in _leaves(document)):
        return
    codes = {problem.code for problem in check_connection(document, BUILT_IN)}
    agree(document, REAL_CONNECTION.is_valid(document), codes)


@given(mutated(real_nodes))
def test_with_the_built_in_plugins_schema_and_loader_agree_on_nodes(document: dict[str, Any]) -> None:
    if any(isinstance(item, float) and item.is_integer() for item in _leaves(document)):
        return
    codes = {problem.code for problem in check_document(document, BUILT_IN)}
    agree(document, REAL_NODE.is_valid(document), codes)


@given(
    json_values
    | st.dictionaries(st.sampled_from(["connection", "to", "auth", "provider", "limits", "attachments"]), json_values)
)
def test_anything_is_answered_with_problems(document: Any) -> None:
    for problem in [*check_document(document, CATALOGUE), *check_connection(document, CATALOGUE)]:
        assert problem.path.startswith("$")
        assert problem.message


@given(plain_text)
def test_data_is_never_a_template(value: str) -> None:
    state = FlowState(input={"x": f"{{{{ 7 * 7 }}}}{value}"})
    names = {"input": state.input, "context": {}}
    assert compile_template("{{ input.x }}", native=True)(names) == state.input["x"]
    html = compile_template("<p>{{ input.x }}</p>", kind="html")(names)
    assert "<" not in html[3:-4]
    assert "49" not in html or "49" in value
