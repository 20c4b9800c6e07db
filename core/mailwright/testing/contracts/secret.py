"""What a secret scheme owes: the value, or an error that shows no value."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import ClassVar

import pytest
from hypothesis import strategies as st

from mailwright.connections import reveal
from mailwright.errors import SecretError
from mailwright.spi import Secret, SecretScheme
from mailwright.testing.contracts.plugin import PluginContract
from mailwright.testing.contracts.running import CANARY, leaks, run
from mailwright.testing.strategies import hostile_text
from mailwright.vetting import Kind


class SecretSchemeContract(PluginContract):
    """For plugins with ``mailwright_secret_schemes``.

    Attributes:
        known: Name behind the scheme's colon → value; `CANARY` is a good value. `store` puts them in place.
        unknown: A name behind which there is nothing.
    """

    kind: ClassVar[Kind | None] = "secret"
    known: ClassVar[Mapping[str, str]] = {}
    unknown: ClassVar[str] = "NO_SUCH_SECRET_AT_ALL"

    @contextlib.contextmanager
    def store(self) -> Iterator[None]:
        """Put `known` where the scheme looks, and take it away afterwards. Override it."""
        yield

    def test_its_name_is_a_scheme(self, record: SecretScheme) -> None:
        """References are ``name:rest``; the name is an identifier that no other scheme has."""
        assert record.name.isidentifier(), f"{record.name!r}: only identifiers are recognised before the colon"
        assert self.registry().secret_scheme(record.name) is not None

    def test_known_secrets_are_revealed(self, record: SecretScheme) -> None:
        """Each of `known`, by the scheme itself and by reference."""
        assert self.known, "set `known`, and override `store` to put the values in place"
        registry = self.registry()

        async def law() -> None:
            for name, value in self.known.items():
                assert await record.reveal(name) == value
                assert await reveal(Secret(f"{record.name}:{name}"), registry) == value

        with self.store():
            run(law())

    def test_what_is_not_there_is_an_error_that_names_it(self, record: SecretScheme) -> None:
        """`SecretError` with the name, never a value."""

        async def law() -> None:
            with pytest.raises(SecretError) as caught:
                await record.reveal(self.unknown)
            assert self.unknown in caught.value.message, "let the error name the reference"
            assert not leaks(caught.value.message, repr(caught.value))

        with self.store():
            run(law())

    def test_any_name_is_revealed_or_refused(self, record: SecretScheme) -> None:
        """Hostile names give text or `SecretError`; no value of another secret shows up in the error."""
        values = [*self.known.values(), CANARY]

        async def law(name: str) -> None:
            try:
                assert isinstance(await record.reveal(name), str)
            except SecretError as error:
                assert not any(value and value in error.message for value in values)

        names = st.one_of(st.text(max_size=30), hostile_text(), st.sampled_from(["", "/", "..", "~", "\0", "a\0b"]))
        with self.store():
            self.every(lambda name: run(law(name)), names)

    def test_its_record_shows_nothing(self, record: SecretScheme) -> None:
        """``repr`` of the record holds no value."""
        with self.store():
            assert not leaks(record)
            assert not any(value in repr(record) for value in self.known.values() if value)
