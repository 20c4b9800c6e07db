"""What plugins were written against stays: every record's fields, every protocol's methods, and a plugin nobody edits."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

from mailwright import Mailer, Message, Registry, Veto, hookspecs, spi
from mailwright.errors import SendError

HERE = Path(__file__).parent
SNAPSHOT = HERE / "snapshot.json"
FROZEN = "708e821d8f5aead272bf420ab1e5dd76446f06c4e5c8bc80ccc3c9a7cb7c596e"
RAISE = "an incompatible change: raise SPI_VERSION, or do without it"


def described() -> dict[str, Any]:
    """Records: each field and whether it has a default. Protocols: each method's parameters."""
    found: dict[str, Any] = {}
    for name in sorted(spi.__all__):
        value = getattr(spi, name)
        if inspect.isclass(value) and attrs.has(value):
            found[name] = {
                field.alias: field.default is not attrs.NOTHING for field in attrs.fields(value) if field.init
            }
        elif inspect.isclass(value) and getattr(value, "_is_protocol", False):
            found[name] = {
                method: sorted(inspect.signature(function).parameters) if inspect.isfunction(function) else "property"
                for method, function in vars(value).items()
                if method == "__iter__" or not method.startswith("_")
            }
    return found


def test_records_grow_by_defaulted_fields_only() -> None:
    now, then = described(), json.loads(SNAPSHOT.read_text())
    assert set(then) <= set(now), RAISE
    for name, members in then.items():
        assert set(members) <= set(now[name]), f"{name}: {RAISE}"
        for member, before in members.items():
            after = now[name][member]
            if isinstance(before, bool):
                assert after or not before, f"{name}.{member} has no default any more: {RAISE}"
            else:
                assert after == before, f"{name}.{member}: {RAISE}"
        for member in set(now[name]) - set(members):
            assert now[name][member] is True, f"{name}.{member} is new: {RAISE}, or give it a default"
    assert then == now, (
        f"what was added becomes a promise: write it into {SNAPSHOT.name} (python {Path(__file__).name})"
    )


@pytest.fixture
def plugin() -> ModuleType:
    """Loaded afresh."""
    spec = importlib.util.spec_from_file_location("frozen_plugin", HERE / "frozen_plugin.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONNECTION = {
    "provider": "frozen",
    "from": "zoe@example.org",
    "auth": {"type": "frozen", "user": "zoe@example.org", "key": "frozen:key"},
    "options": {"region": "us"},
}


def test_the_frozen_plugin_is_frozen() -> None:
    digest = hashlib.sha256((HERE / "frozen_plugin.py").read_bytes()).hexdigest()
    assert digest == FROZEN, "plugins out there cannot be edited either; add another frozen plugin instead"


def test_it_uses_every_hook(plugin: ModuleType) -> None:
    hooks = {name for name in vars(hookspecs) if name.startswith("mailwright_")}
    assert hooks == {name for name in vars(plugin) if name.startswith("mailwright_")}


async def test_it_sends(plugin: ModuleType) -> None:
    registry = Registry([plugin], installed=False)
    async with Mailer(CONNECTION, registry=registry) as mailer:
        message = Message(to=["ann@example.org", "refused@example.org"], subject="Hello", text="x")
        receipt = await mailer.send(message)
        steps = [str(step) async for step in mailer.verify()]
    assert [status.outcome for status in receipt.statuses] == ["accepted", "rejected"]
    assert steps
    assert plugin.SEEN == [
        ("before_compose", "Hello", "frozen"),
        ("before_send", 2, True, "zoe@example.org"),
        ("deliver", "Bearer revealed-key", "Hello, frozen", "us"),
        ("after_send", "partial", "frozen"),
    ]


async def test_it_vetoes_and_observes_failures(plugin: ModuleType) -> None:
    registry = Registry([plugin], installed=False)
    async with Mailer(CONNECTION, registry=registry) as mailer:
        with pytest.raises(Veto, match="frozen says no"):
            await mailer.send(Message(to="ann@example.org", subject="forbidden", text="x"))
        with pytest.raises(SendError):
            await mailer.send(Message(to="refused@example.org", subject="Hello", text="x"))
    failures = [seen for seen in plugin.SEEN if seen[0] == "send_failed"]
    assert failures == [("send_failed", True, True, "frozen"), ("send_failed", True, False, "frozen")]


async def test_its_attachments_and_engine_are_found(plugin: ModuleType) -> None:
    registry = Registry([plugin], installed=True)
    assert registry.queue_engine("frozen").schemes == ("frozen",)
    settings = plugin.FrozenAttachmentSettings(text="cold")
    parts = await registry.attachment_source("frozen").resolve(settings, None)  # type: ignore[arg-type]
    assert [part.filename for part in parts if isinstance(part, spi.Part)] == ["frozen.txt"]
    assert registry.source_of(settings).name == "frozen"


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(described(), indent=1, sort_keys=True) + "\n")
