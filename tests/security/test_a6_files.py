"""Files that documents name stay under the folder that the operator named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mailwright import FlowState, load_node
from mailwright.errors import DocumentError
from mailwright.testing import ScriptedServer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    (folder / "ok.txt").write_text("fine")
    (folder / "inner.txt").symlink_to("ok.txt")
    (tmp_path / "secret.txt").write_text("canary-4711")
    (tmp_path / "files-of-others").mkdir()
    (tmp_path / "files-of-others/secret.txt").write_text("canary-4711")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "way").symlink_to(tmp_path)
    (folder / "zero").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    return folder


async def attach(server: ScriptedServer, root: Path | None, path: str, **options: Any) -> Any:
    connection = {"provider": "smtp", "host": server.host, "port": server.port, "tls": "none"}
    document = {"connection": connection, "from": "a@example.org", "to": "b@example.org",
                "attachments": [{"type": "file", "path": "{{ input.path }}"}]}  # fmt: skip
    return await load_node(document, attach_root=root, **options).run(FlowState(input={"path": path}))


@pytest.mark.parametrize(
    "path",
    ["../secret.txt", "sub/../../secret.txt", "link.txt", "way/secret.txt", "/etc/passwd", "zero", "pipe", "sub", "",
     "../files-of-others/secret.txt", "none.txt", "\x00", "~/x", "file:///etc/passwd", "a" * 5000],
)  # fmt: skip
async def test_h17_nothing_outside_is_attached(root: Path, path: str) -> None:
    async with ScriptedServer() as server:
        outcome = await attach(server, root, path)
        assert (outcome.ok, server.commands) == (False, [])
    assert "canary" not in str(outcome.error)
    assert "$.attachments[0]" in str(outcome.error)


@pytest.mark.parametrize("path", ["ok.txt", "ok.txt/", "sub/../ok.txt", "inner.txt"])
async def test_what_is_inside_is_attached(root: Path, path: str) -> None:
    async with ScriptedServer() as server:
        outcome = await attach(server, root, path)
        assert outcome.ok, outcome.error
        assert b"ZmluZQ==" in server.messages[0].raw or b"fine" in server.messages[0].raw


async def test_without_a_root_no_file_is_attached() -> None:
    async with ScriptedServer() as server:
        outcome = await attach(server, None, "ok.txt")
        assert "attach_root" in str(outcome.error)
        assert server.commands == []


def test_untrusted_documents_attach_files_only_below_a_root(root: Path) -> None:
    document = {"connection": "x", "to": "b@example.org", "attachments": [{"type": "file", "path": "ok.txt"}]}
    with pytest.raises(DocumentError, match="not trusted"):
        load_node(document, trust="untrusted")
    load_node(document, trust="untrusted", attach_root=root)
