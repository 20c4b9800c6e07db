"""The state of a flow, and the one change a node makes to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

from mailwright.errors import ConfigurationError
from mailwright.model import StoreResult

Change = tuple[Literal["input", "context"], str, Any]
"""Where, dotted key, value."""


def _copied(value: Any) -> Any:
    """Copy containers; other objects are shared."""
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(_copied(item) for item in value)
    if isinstance(value, set):
        return set(value)
    return value


@frozen
class FlowState:
    """What a flow knows. Its containers are copied when it is made: what a node changes, nobody else sees.

    Args:
        input: What came with the current step.
        context: What the flow remembers.
    """

    input: Mapping[str, Any] = field(factory=dict, converter=_copied)
    context: Mapping[str, Any] = field(factory=dict, converter=_copied)


def state_of(given: object) -> FlowState:
    """What a caller handed over; nothing is an empty state.

    Raises:
        ConfigurationError: It is something else, such as a plain mapping.
    """
    if given is None:
        return FlowState()
    if not isinstance(given, FlowState):
        msg = f"state: a FlowState(input=…, context=…), not {type(given).__name__}"
        raise ConfigurationError(msg)
    return given


def check_target(target: StoreResult, state: FlowState) -> None:
    """Refuse a result path that runs into something that has no keys.

    Raises:
        ConfigurationError: Names the place.
    """
    if target.in_ == "none":
        return
    place: Any = getattr(state, target.in_)
    *before, _ = target.key.split(".")
    walked: str = target.in_
    for step in (None, *before):
        if step is not None:
            walked += f".{step}"
            if step not in place:
                return
            place = place[step]
        if not isinstance(place, Mapping):
            msg = (
                f"$.store_result.key: {walked} is {_article(place)}, so {target.key!r} cannot be stored in it; "
                "choose another key"
            )
            raise ConfigurationError(msg)


def _article(value: object) -> str:
    name = {str: "text", list: "a list", type(None): "null", bool: "true or false"}.get(type(value))
    return name or ("a number" if isinstance(value, (int, float)) else f"a {type(value).__name__}")


def store(target: StoreResult, state: FlowState, value: Any) -> tuple[FlowState, tuple[Change, ...]]:
    """A new state with `value` at the target; an existing value is replaced, missing levels are made.

    Returns:
        The new state, and the change made (none when the target is ``none``).
    """
    if target.in_ == "none":
        return state, ()
    check_target(target, state)
    new = FlowState(state.input, state.context)
    place: Any = getattr(new, target.in_)
    *before, last = target.key.split(".")
    for step in before:
        place = place.setdefault(step, {})
    place[last] = _copied(value)
    return new, ((target.in_, target.key, _copied(value)),)
