"""Laws of settings classes: what documents say about a plugin goes in and comes out, and mistakes are named by path."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from pathlib import PurePath
from typing import Any, Final, Literal, Union, get_args, get_origin

import attrs
import pytest
from attrs import frozen
from hypothesis import strategies as st

from mailwright.errors import DocumentError, Problem
from mailwright.model import Address, Secret, Settings
from mailwright.testing.contracts.plugin import PluginContract
from mailwright.testing.contracts.running import CANARY, leaks
from mailwright.testing.strategies import addresses, hostile_text

SECRET_NAME: Final = re.compile(r"(?:^|_)(?:pass(?:word|wd|phrase)?|secret|token|(?:api|access|private|secret)_?key)$")
_UNKNOWN: Final = "no_such_key_at_all"


@frozen(kw_only=True)
class Place:
    """Where settings stand in a document.

    Attributes:
        wrap: Settings → the whole document.
        path: Of one key.
        load: Document → model.
        plain: Model → document.
        masked: The same without secrets.
    """

    wrap: Callable[[Mapping[str, Any]], dict[str, Any]]
    path: Callable[[str], str]
    load: Callable[[Mapping[str, Any]], Any]
    plain: Callable[[Any], dict[str, Any]]
    masked: Callable[[Any], dict[str, Any]]


class SettingsContract(PluginContract):
    """Laws for records with a settings class.

    Attributes:
        document: A valid document, beside the name or type: keys with values. Literals stand for secrets.
    """

    def place(self, record: Any) -> Place:
        """Where the settings of a record stand."""
        raise NotImplementedError

    def test_settings_are_a_frozen_class(self, record: Any) -> None:
        """A frozen attrs class below `Settings`, every field typed in a way that documents understand."""
        cls = record.settings
        assert issubclass(cls, Settings), f"{cls.__name__}: derive it from mailwright.spi.Settings"
        assert attrs.has(cls), f"{cls.__name__}: decorate it with @attrs.frozen(kw_only=True)"
        for attribute in setting_fields(cls):
            assert attribute.type is not None, f"{cls.__name__}.{attribute.name} has no type"

    def test_secrets_are_secret(self, record: Any) -> None:
        """What is called a password, secret, token or key is a `Secret`."""
        for attribute in setting_fields(record.settings):
            if SECRET_NAME.search(attribute.name):
                assert _holds_secret(attribute), (
                    f"{record.settings.__name__}.{attribute.name}: declare it as Secret, so that it is never shown"
                )

    def test_the_document_round_trips(self, record: Any) -> None:
        """A valid document loads, and what is saved of it loads as the same."""
        place = self.place(record)
        loaded = self._valid(record)
        assert place.load(place.plain(loaded)) == loaded

    def test_generated_documents_round_trip_or_are_refused_by_path(self, record: Any) -> None:
        """Whatever the types allow either loads and round-trips, or is refused with a path to a field."""
        place, names = self.place(record), _keys(record.settings)
        self._valid(record)

        def law(changes: dict[str, Any]) -> None:
            try:
                loaded = place.load(place.wrap({**self.given(record), **changes}))
            except DocumentError as error:
                _told_by_path(error.problems, [place.path(name) for name in names])
            else:
                assert place.load(place.plain(loaded)) == loaded

        self.every(law, settings_documents(record.settings))

    def test_nonsense_is_refused_by_path(self, record: Any) -> None:
        """A value of any JSON type in any field loads, or is refused with a path to a field; nothing else is raised."""
        place, names = self.place(record), _keys(record.settings)

        def law(change: tuple[str, Any]) -> None:
            name, value = change
            try:
                place.load(place.wrap({**self.given(record), name: value}))
            except DocumentError as error:
                _told_by_path(error.problems, [place.path(key) for key in names])

        if names:
            self.every(law, st.tuples(st.sampled_from(names), nonsense()))

    def test_unknown_keys_are_refused(self, record: Any) -> None:
        """A key that nobody knows is told, with its path."""
        place = self.place(record)
        with pytest.raises(DocumentError) as caught:
            place.load(place.wrap({**self.given(record), _UNKNOWN: 1}))
        assert place.path(_UNKNOWN) in {problem.path for problem in caught.value.problems}

    def test_what_is_missing_is_told(self, record: Any) -> None:
        """Each required key is named by path when it is not there."""
        place = self.place(record)
        for attribute in setting_fields(record.settings):
            if attribute.default is attrs.NOTHING:
                rest = {key: value for key, value in self.given(record).items() if key != _key(attribute)}
                with pytest.raises(DocumentError) as caught:
                    place.load(place.wrap(rest))
                assert place.path(_key(attribute)) in {problem.path for problem in caught.value.problems}

    def test_secrets_are_masked(self, record: Any) -> None:
        """A secret shows up neither in ``repr`` nor ``str``, nor in what is shown of a document."""
        place, secret = self.place(record), [a for a in setting_fields(record.settings) if _holds_secret(a)]
        loaded = place.load(place.wrap({**self.given(record), **{_key(attribute): CANARY for attribute in secret}}))
        assert leaks(place.plain(loaded)) == bool(secret), "a document that is saved keeps its secrets"
        assert not leaks(repr(loaded), str(loaded), place.masked(loaded)), "a secret is shown"
        for attribute in secret:
            with pytest.raises(DocumentError) as caught:
                place.load(place.wrap({**self.given(record), _key(attribute): [CANARY]}))
            assert not leaks(str(caught.value), repr(caught.value)), "a secret is shown in an error"

    def _valid(self, record: Any) -> Any:
        place = self.place(record)
        try:
            return place.load(place.wrap(self.given(record)))
        except DocumentError as error:
            raise AssertionError(f"set `document` to valid settings of {record.name}: {error}") from error


def setting_fields(cls: type) -> tuple[attrs.Attribute[Any], ...]:
    """Fields that documents can set, with resolved types."""
    attrs.resolve_types(cls)
    return tuple(attribute for attribute in attrs.fields(cls) if attribute.init)


def settings_documents(cls: type) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the fields of a settings class, with values that their types allow.

    Args:
        cls: A settings class.
    """
    values = {_key(attribute): _values(attribute) for attribute in setting_fields(cls)}
    return st.fixed_dictionaries({}, optional=values)


def nonsense() -> st.SearchStrategy[Any]:
    """Any value a JSON document can hold, hostile text included."""
    leaf = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), hostile_text())
    return st.recursive(
        leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    )


def _key(attribute: attrs.Attribute[Any]) -> str:
    return attribute.name.strip("_")


def _keys(cls: type) -> list[str]:
    return [_key(attribute) for attribute in setting_fields(cls)]


def _holds_secret(attribute: attrs.Attribute[Any]) -> bool:
    return Secret in {attribute.type, *get_args(attribute.type)}


def _told_by_path(problems: Sequence[Problem], paths: Sequence[str]) -> None:
    for problem in problems:
        assert problem.path.startswith(tuple(paths)), (
            f"{problem.path}: {problem.message!r} does not say which field: let the message begin with the field's "
            f"name, as in 'port: 0 is not between 1 and 65535'"
        )


def _values(attribute: attrs.Attribute[Any]) -> st.SearchStrategy[Any]:
    if "parse" in attribute.metadata:
        return st.text(max_size=20) | st.integers()
    return _of_type(attribute.type)


def _of_type(tp: Any) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(tp), get_args(tp)
    if origin in {Union, types.UnionType}:
        return st.one_of([_of_type(member) for member in arguments])
    if origin is Literal:
        return st.sampled_from(arguments)
    if isinstance(origin or tp, type):
        cls = origin or tp
        if cls in _LEAVES:
            return _LEAVES[cls]
        if issubclass(cls, Enum):
            return st.sampled_from([member.value for member in cls])
        if issubclass(cls, PurePath):
            return st.text(max_size=20)
        if issubclass(cls, Mapping):
            return st.dictionaries(st.text(max_size=8), _of_type(arguments[1] if arguments else str), max_size=3)
        if issubclass(cls, Sequence | AbstractSet):
            return st.lists(_of_type(arguments[0] if arguments else str), max_size=3)
        if attrs.has(cls):
            return settings_documents(cls)
    return nonsense()


_LEAVES: Final[dict[Any, st.SearchStrategy[Any]]] = {
    str: st.one_of(st.text(max_size=30), hostile_text(), st.just("example.org")),
    int: st.one_of(st.integers(), st.integers(0, 70000)),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    type(None): st.none(),
    Secret: st.text(min_size=1, max_size=20),
    Address: addresses().map(lambda address: address.email),
}
