"""Strict structuring through cattrs: nothing is coerced, and every mistake of a document is found in one pass.

cattrs dispatches on types; the hooks here decide. Its own hooks would turn ``"25"`` into 25 and ``"abc"`` into a list.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from functools import cache
from pathlib import PurePath
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin

import attrs
from cattrs import Converter

from mailwright.documents.fields import canonical_keys, fields, key_of
from mailwright.documents.kinds import kind_of, one_of, wrong
from mailwright.documents.problems import Collector, Invalid, point_at_field
from mailwright.errors import ConfigurationError, MailwrightError
from mailwright.model import Address, Secret, Trust

T = TypeVar("T")
_REFERENCE: Final = re.compile(r"[a-z][a-z0-9+.-]{1,30}:", re.IGNORECASE)
TEMPLATE_MARK: Final = "{{"


def structure_fields(
    converter: Converter,
    cls: type,
    data: object,
    collect: Collector,
    *,
    skip: Collection[str] = (),
    extra: Collection[str] = (),
) -> tuple[dict[str, Any], dict[str, tuple[str, Any]]]:
    """Structure every field of `cls` that can be; note what cannot.

    Args:
        converter: From `strict_converter`.
        cls: Whose fields.
        data: The object as written.
        collect: Takes the mistakes.
        skip: Canonical keys whose values are left raw to the caller.
        extra: Keys to pass over.

    Returns:
        Arguments for `cls` by field name, and the raw values by canonical key.
    """
    written = canonical_keys(cls, data, collect, extra=extra)
    values: dict[str, Any] = {}
    for attribute in fields(cls):
        key = key_of(attribute)
        if key not in written:
            if attribute.default is attrs.NOTHING and key not in skip:
                collect.add(
                    "missing", "missing" + (f": {d}" if (d := attribute.metadata.get("description")) else ""), key
                )
        elif key not in skip:
            spelling, raw = written[key]
            try:
                values[attribute.name] = _structure_field(converter, attribute, raw)
            except (Invalid, ValueError, TypeError, MailwrightError) as error:
                collect.take(error, spelling)
    return values, written


def _structure_field(converter: Converter, attribute: attrs.Attribute[Any], raw: Any) -> Any:
    parse: Callable[[Any], Any] | None = attribute.metadata.get("parse")
    value = parse(raw) if parse else converter.structure(raw, attribute.type or Any)
    templated = isinstance(value, str) and TEMPLATE_MARK in value
    if attribute.validator is not None and not templated:
        attribute.validator(None, attribute, value)  # here too, so that its complaint comes together with all others
    return value


def structure_class(converter: Converter, cls: type[T], data: object) -> T:
    """Structure an attrs class: keys, types, validators, then the class's own rules."""
    if isinstance(data, cls):
        return data
    collect = Collector()
    values, written = structure_fields(converter, cls, data, collect)
    collect.raise_any()
    try:
        return cls(**{_argument(cls, name): value for name, value in values.items()})
    except (ValueError, TypeError, MailwrightError) as error:
        spelled = {attribute.name: written.get(key_of(attribute), (key_of(attribute),))[0] for attribute in fields(cls)}
        raise point_at_field(error, spelled) from None


def _argument(cls: type, name: str) -> str:
    return next(attribute.alias or name for attribute in fields(cls) if attribute.name == name)


@cache
def strict_converter(trust: Trust = "own") -> Converter:
    """The one converter for documents of a trust level. Raises `ConfigurationError` for a level there is not."""
    if trust not in get_args(Trust):
        msg = f"trust: {trust!r} is not own or untrusted"
        raise ConfigurationError(msg)
    converter = Converter(detailed_validation=False, forbid_extra_keys=True)
    for tp, name in ((str, "text"), (int, "a whole number"), (bool, "true or false")):
        converter.register_structure_hook(tp, _exactly(tp, name))
    converter.register_structure_hook(float, _float)
    converter.register_structure_hook(Secret, _secret_hook(trust))
    converter.register_structure_hook(Address, _address)
    converter.register_structure_hook_func(lambda tp: tp in {type(None), None}, _none)
    converter.register_structure_hook_func(lambda tp: _origin_in(tp, Literal), _literal)
    converter.register_structure_hook_func(lambda tp: isinstance(tp, type) and issubclass(tp, Enum), _enum)
    converter.register_structure_hook_func(lambda tp: isinstance(tp, type) and issubclass(tp, PurePath), _path)
    factory = converter.register_structure_hook_factory
    factory(_is_attrs, lambda tp: lambda value, _: structure_class(converter, tp, value))
    factory(lambda tp: _origin_in(tp, tuple, list, set, frozenset, Sequence), lambda tp: _sequence(converter, tp))
    factory(lambda tp: _origin_in(tp, dict, Mapping), lambda tp: _mapping(converter, tp))
    factory(lambda tp: get_origin(tp) in {Union, types.UnionType}, lambda tp: _union(converter, tp))
    return converter


def _is_attrs(tp: Any) -> bool:
    return isinstance(tp, type) and attrs.has(tp) and tp not in {Secret, Address}


def _origin_in(tp: Any, *origins: Any) -> bool:
    return tp in origins or get_origin(tp) in origins


def _exactly(tp: type, name: str) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if type(value) is not tp:
            raise wrong(name, value)
        return value

    return hook


def _float(value: Any, _: Any) -> float:
    if type(value) not in {int, float} or not math.isfinite(value):
        raise wrong("a number", value)
    return float(value)


def _none(value: Any, _: Any) -> None:
    if value is not None:
        raise wrong("nothing (null)", value)


def _secret_hook(trust: Trust) -> Callable[[Any, Any], Secret]:
    def hook(value: Any, _: Any) -> Secret:
        if isinstance(value, str):
            value = Secret(value)
        if not isinstance(value, Secret):
            raise wrong("text", value)
        if trust == "untrusted" and _REFERENCE.match(value.reference):
            raise Invalid(("untrusted", (), "a document that is not trusted may not refer to secrets"))
        return value

    return hook


def _address(value: Any, _: Any) -> Address:
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise wrong("text", value)
    return Address.parse(value)


def _literal(value: Any, tp: Any) -> Any:
    return one_of(value, get_args(tp))


def _enum(value: Any, tp: Any) -> Any:
    return value if isinstance(value, tp) else tp(one_of(value, [member.value for member in tp]))


def _path(value: Any, tp: Any) -> Any:
    if isinstance(value, PurePath):
        return tp(value)
    if not isinstance(value, str):
        raise wrong("text", value)
    return tp(value)


def _sequence(converter: Converter, tp: Any) -> Callable[[Any, Any], Any]:
    origin = get_origin(tp) or tp
    arguments = get_args(tp)
    fixed = origin is tuple and arguments and arguments[-1] is not Ellipsis
    build = origin if origin in {list, set, frozenset} else tuple

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise wrong("a list", value)
        if fixed and len(value) != len(arguments):
            raise Invalid(("wrong-length", (), f"{len(arguments)} values, not {len(value)}"))
        found, collect = [], Collector()
        for index, item in enumerate(value):
            item_type = arguments[index] if fixed else (arguments[0] if arguments else Any)
            try:
                found.append(converter.structure(item, item_type))
            except (Invalid, ValueError, TypeError, MailwrightError) as error:
                collect.take(error, index)
        collect.raise_any()
        return build(found)

    return hook


def _mapping(converter: Converter, tp: Any) -> Callable[[Any, Any], Any]:
    value_type = (get_args(tp) or (str, Any))[1]

    def hook(value: Any, _: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise wrong("an object", value)
        found, collect = dict[str, Any](), Collector()
        for key, item in value.items():
            if not isinstance(key, str):
                collect.add("unknown-key", f"keys are text, not {kind_of(key)}: {key!r}")
                continue
            try:
                found[key] = converter.structure(item, value_type)
            except (Invalid, ValueError, TypeError, MailwrightError) as error:
                collect.take(error, key)
        collect.raise_any()
        return found

    return hook


def _union(converter: Converter, tp: Any) -> Callable[[Any, Any], Any]:
    members = get_args(tp)

    def hook(value: Any, _: Any) -> Any:
        if value is None and type(None) in members:
            return None
        found: list[Invalid] = []
        for member in members:
            if member is type(None):
                continue
            try:
                return converter.structure(value, member)
            except Invalid as error:
                found.append(error)
            except (ValueError, TypeError, MailwrightError) as error:
                found.append(Invalid(("invalid-value", (), str(error))))
        raise _nearest(found, value)

    return hook


def _nearest(found: Sequence[Invalid], value: object) -> Invalid:
    """Of the complaints of all members, those of the member the value was meant for."""
    meant = [
        error
        for error in found
        if any(code not in {"wrong-type", "not-a-choice"} or steps for code, steps, _ in error.found)
    ]
    if len(meant) == 1 or len(found) == 1:
        return (meant or list(found))[0]
    expected = [
        message.partition(", not ")[0] for error in found for code, _, message in error.found if code == "wrong-type"
    ]
    choices = [
        message.partition(" one of ")[2]
        for error in found
        for code, _, message in error.found
        if code == "not-a-choice"
    ]
    return Invalid(("wrong-type", (), f"{' or '.join([*expected, *choices])}, not {kind_of(value)}"))
