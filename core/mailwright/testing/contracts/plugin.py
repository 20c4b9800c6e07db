"""What every plugin owes its host, whatever it brings."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from mailwright.registry import PluginInfo, Registry
from mailwright.spi import SPI_VERSION
from mailwright.testing.contracts.importing import measure_import, private_imports, sources
from mailwright.vetting import Kind

HOOKS: Final[Mapping[Kind, str]] = {
    "provider": "mailwright_providers",
    "auth": "mailwright_auth_methods",
    "attachment": "mailwright_attachment_sources",
    "secret": "mailwright_secret_schemes",
    "queue": "mailwright_queue_engines",
}
_NAME: Final = re.compile(r"[a-z0-9]+(?:[-_+.][a-z0-9]+)*")
IMPORT_MS: Final = 20.0


class PluginContract:
    """Base of all contracts. Subclass one of them in a test module, and say which plugin it is about.

    Attributes:
        plugin: The module, its dotted name, or any object with hook implementations.
        examples: Inputs generated for each law.
        document: Valid settings, as the contract's kind says; literals stand for secrets.
        documents: The same by record name, for plugins that bring several.
    """

    plugin: ClassVar[Any]
    examples: ClassVar[int] = 30
    document: ClassVar[Mapping[str, Any]] = {}
    documents: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    kind: ClassVar[Kind | None] = None
    _registry: ClassVar[Registry]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each record."""
        if "record" in metafunc.fixturenames:
            records = self.records()
            metafunc.parametrize("record", records, ids=[_label(record) for record in records])

    # -- what the laws use

    @classmethod
    def module(cls) -> Any:
        """The plugin itself."""
        plugin = inspect.getattr_static(cls, "plugin", None)
        if plugin is None:
            raise AssertionError(f"{cls.__name__}: set `plugin` to the module that holds the hooks")
        return importlib.import_module(plugin) if isinstance(plugin, str) else plugin

    @classmethod
    def registry(cls) -> Registry:
        """A host with this plugin and the built-in ones; made once for each contract."""
        if "_registry" not in cls.__dict__:
            cls._registry = cls._new_registry()
        return cls._registry

    @classmethod
    def _new_registry(cls) -> Registry:
        module = cls.module()
        alone = Registry(installed=False, environ={})
        built_in = getattr(module, "__name__", "").partition(".")[0] == "mailwright_plugins"
        return alone if built_in else Registry([module], installed=False, environ={})

    @classmethod
    def info(cls) -> PluginInfo:
        """How the host sees it when it is handed in."""
        [found] = [info for info in Registry([cls.module()], installed=False, environ={}).plugins if _handed_in(info)]
        return found

    @classmethod
    def records(cls) -> list[Any]:
        """What it declares, of the contract's kind."""
        if cls.kind is None:
            return []
        hook = getattr(cls.module(), HOOKS[cls.kind], None)
        return list(hook() or ()) if hook else []

    def given(self, record: Any) -> Mapping[str, Any]:
        """Valid settings of a record."""
        return self.documents.get(record.name, self.document)

    def every(self, law: Callable[[Any], None], values: SearchStrategy[Any], *, shrink: bool = True) -> None:
        """Check a law for generated values; the smallest that breaks it is shown.

        Args:
            law: Raises AssertionError where it does not hold.
            values: What it must hold for.
            shrink: Look for the smallest; not where each try costs a connection.
        """
        phases = (Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if shrink else []))

        @settings(max_examples=self.examples, deadline=None, phases=phases, suppress_health_check=list(HealthCheck))
        @given(values)
        def check(value: Any) -> None:
            law(value)

        check()

    # -- laws

    def test_the_host_takes_it(self) -> None:
        """It loads; every hook exists, with arguments of the specification; records are what the hooks promise."""
        info = self.info()
        assert info.status == "active" or "loaded already" in info.reason, f"{info.name}: {info.reason}"

    def test_it_brings_what_the_contract_is_about(self) -> None:
        """There is something to check."""
        assert self.kind is None or self.records(), f"{self.module()!r} has no {HOOKS[self.kind]}, or it yields nothing"

    def test_its_names_can_be_typed(self, record: Any) -> None:
        """Names are short and lower case: people type them in documents and on the command line."""
        for name in getattr(record, "schemes", None) or (record.name,):
            assert _NAME.fullmatch(name), f"{name!r}: use lower-case letters, digits and single - _ + . between them"
            assert len(name) <= 40, name

    def test_it_says_which_interface_it_was_written_for(self) -> None:
        """``MAILWRIGHT_SPI_VERSION``, where stated, is this one."""
        stated = getattr(self.module(), "MAILWRIGHT_SPI_VERSION", SPI_VERSION)
        assert stated == SPI_VERSION, f"written for {stated}, this is {SPI_VERSION}"

    def test_declaring_is_all_that_hooks_do(self) -> None:
        """Asked twice, the hook declares the same names: records are data, not work."""
        assert [_label(record) for record in self.records()] == [_label(record) for record in self.records()]

    def test_importing_is_quick_and_does_nothing(self) -> None:
        """At most 20 ms of its own; no sockets, processes or files written."""
        name = self._module_name()
        found = measure_import(name)
        assert not found.acts, f"importing {name} does things: {', '.join(found.acts)}; do them where they are needed"
        assert found.own_ms <= IMPORT_MS, (
            f"importing {name} takes {found.own_ms:.0f} ms beyond its dependencies, more than {IMPORT_MS:g}: "
            "import what is heavy inside the functions that need it"
        )

    def test_it_imports_public_modules_only(self) -> None:
        """`mailwright`, `.spi`, `.ports`, `.sasl`, `.errors`, `.testing`: the rest may change without notice."""
        private = [f"{path.name}, {where}" for path in sources(self._module_name()) for where in private_imports(path)]
        assert not private, f"private modules are imported: {'; '.join(private)}"

    def _module_name(self) -> str:
        name = getattr(self.module(), "__name__", None)
        if name is None or getattr(self.module(), "__file__", None) is None:
            pytest.skip("not a module that could be imported")
        return str(name)


def _label(record: Any) -> str:
    return str(getattr(record, "name", None) or "+".join(record.schemes))


def _handed_in(info: PluginInfo) -> bool:
    return info.distribution == "handed in"
