"""What came over an API may choose words, not powers: no secret, no file, no keyring, no host, no plugin's options."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mailwright import DocumentError, FlowState, check_node, connection_schema, load_connection, load_node, node_schema
from mailwright.errors import ConfigurationError
from mailwright.testing import Capture

CANARY = "canary-of-the-house"
SAVED = {"support": {"provider": "smtp", "host": "127.0.0.1", "tls": "none", "from": "me@example.org"}}
NODE: dict[str, Any] = {"connection": "support", "to": "ann@example.org", "subject": "Hi", "content": "<p>Hi</p>"}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, socket.socket]]:
    """A secret in every place that a document could name, and a host that must stay alone."""
    monkeypatch.setenv("CANARY", CANARY)
    (tmp_path / "secret").write_text(CANARY)
    (tmp_path / "secret").chmod(0o600)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        yield tmp_path, listening


def attempts(folder: Path, port: int) -> dict[str, dict[str, Any]]:
    own = {"provider": "smtp", "host": "127.0.0.1", "port": port, "tls": "none", "from": "me@example.org"}
    auth = {"type": "basic", "username": "ann", "password": "env:CANARY"}
    return {
        "a host of its choosing": {"connection": own},
        "a host among saved ones": {"connection": ["support", own]},
        "a secret of the environment": {"connection": own | {"auth": auth}},
        "a secret file": {"connection": own | {"auth": auth | {"password": f"file:{folder}/secret"}}},
        "a keyring": {"connection": own | {"auth": auth | {"password": "keyring:system/ann"}}},
        "an authority": {"connection": own | {"ca_file": str(folder / "secret")}},
        "a proxy": {"connection": own | {"proxy": f"socks5://127.0.0.1:{port}"}},
        "a file": {"attachments": [{"type": "file", "path": str(folder / "secret")}]},
        "a file above": {"attachments": [{"type": "file", "path": "../secret"}]},
        "a provider's options": {"options": {"sandbox": {"host": "127.0.0.1", "port": port}}},
    }


@pytest.mark.parametrize("name", attempts(Path(), 0))
async def test_untrusted_documents_get_nothing(name: str, house: tuple[Path, socket.socket]) -> None:
    folder, listening = house
    document = NODE | attempts(folder, listening.getsockname()[1])[name]
    assert check_node(document, trust="untrusted")
    with pytest.raises(DocumentError) as refused:
        load_node(document, trust="untrusted", connections=SAVED)
    assert CANARY not in str(refused.value)
    with pytest.raises(BlockingIOError):
        listening.accept()


async def test_untrusted_templates_see_the_state_and_nothing_else(
    house: tuple[Path, socket.socket], outbox_capture: Capture
) -> None:
    for expression in (
        "env.CANARY",
        "input.__class__.__mro__",
        "self",
        "request",
        "config",
        "cycler.__init__.__globals__.os.environ",
    ):
        document = NODE | {"subject": f"{{{{ {expression} }}}}"}
        node = load_node(document, trust="untrusted", connections=SAVED)
        outcome = await node.run(FlowState(input={"name": "Ann"}))
        assert not outcome.ok
        assert outcome.error is not None
        assert outcome.error.code in {"ETEMPLATE", "EMESSAGE"}
    assert not outbox_capture.messages


async def test_secret_references_in_data_are_text(house: tuple[Path, socket.socket], outbox_capture: Capture) -> None:
    node = load_node(NODE | {"subject": "{{ input.x }}"}, trust="untrusted", connections=SAVED)
    assert (await node.run(FlowState(input={"x": "env:CANARY"}))).ok
    assert outbox_capture.messages[0].subject == "env:CANARY"
    assert CANARY.encode() not in outbox_capture.messages[0].raw


def test_untrusted_connections_are_refused_whole() -> None:
    with pytest.raises(DocumentError, match="not trusted"):
        load_connection(SAVED["support"], trust="untrusted")


def test_a_document_with_eight_mistakes_names_all_eight(tmp_path: Path) -> None:
    document = {
        "connection": {"provider": "smtp", "host": "mail.example.org", "port": "25", "auth": {"type": "basic"}},
        "to": "ann@example.org, not an address",
        "subjekt": "Hi",
        "content": "<p>{{ input.name </p>",
        "priority": "urgent",
        "attachments": [{"type": "base64", "content": "a", "filename": 5}, {"type": "ftp"}],
    }
    problems = check_node(document)
    assert sorted({problem.path for problem in problems}) == [
        "$.attachments[0].filename",
        "$.attachments[1].type",
        "$.connection.auth.password",
        "$.connection.auth.username",
        "$.connection.port",
        "$.content",
        "$.priority",
        "$.subjekt",
        "$.to",
    ]


@pytest.mark.parametrize("schema", [node_schema(), connection_schema()], ids=["node", "connection"])
def test_every_default_of_the_schemas_is_one(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    found = 0

    def walk(value: Any) -> None:
        nonlocal found
        if isinstance(value, dict):
            if "default" in value and "title" in value:
                found += 1
                own = {key: part for key, part in value.items() if key != "default"} | {
                    "$defs": schema.get("$defs", {})
                }
                jsonschema.Draft202012Validator(own).validate(value["default"])
            for part in value.values():
                walk(part)
        elif isinstance(value, list):
            for part in value:
                walk(part)

    walk(json.loads(json.dumps(schema)))
    assert found > 5


@pytest.mark.parametrize("level", ["Untrusted", "none", "", None])
@pytest.mark.parametrize("load", [load_connection, load_node, check_node])
def test_a_level_of_trust_that_there_is_not_is_no_level(load: Any, level: Any) -> None:
    document = NODE if load is not load_connection else SAVED["support"]
    with pytest.raises(ConfigurationError, match="is not own or untrusted"):
        load(document, trust=level)
