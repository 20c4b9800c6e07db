"""jinja2's sandbox with expressions only, bounded in what they may cost. The only module that imports jinja2.

There are no statements, so the only repetition is in filters, `range` and operators; each of these has a limit here.
"""

from __future__ import annotations

import datetime as dt
import decimal
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Final, TypeVar

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, UndefinedError, pass_environment
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape

from mailwright.errors import TemplateError
from mailwright.templates.fields import Kind

MAX_OUTPUT: Final = 10_000_000
"""Characters of one rendered field."""
MAX_REPEAT: Final = 1_000_000
"""Length of what ``*`` may make."""
MAX_RANGE: Final = 10_000
MAX_BITS: Final = 4096
"""Of whole numbers."""
_PLAIN = (str, bytes, int, float, complex, Mapping, list, tuple, set, frozenset, range, decimal.Decimal,
          dt.date, dt.time, dt.timedelta, dt.tzinfo)  # fmt: skip
_TEXT_METHODS: Final = frozenset({
    "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isascii", "isdecimal",
    "isdigit", "islower", "isnumeric", "isprintable", "isspace", "istitle", "isupper", "lower", "lstrip", "partition",
    "removeprefix", "removesuffix", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "split", "splitlines",
    "startswith", "strip", "swapcase", "title", "upper", "striptags", "unescape",
})  # fmt: skip
"""Those of text whose result cannot be much longer than the text."""
E = TypeVar("E", bound="SafeEnvironment")
_PUNCTUATION: Final = re.compile(r"[!-/:-@\[-`{-~]")
_BLANK_LINES: Final = re.compile(r"\s*\n\s*")
_NO_FILTERS: Final = frozenset({"attr", "format", "random", "xmlattr", "pprint"})


def compile_text(text: str, *, kind: Kind, native: bool) -> Callable[[Mapping[str, Any]], Any]:
    """See `mailwright.templates.compile_template`."""
    environment = _expressions_only(kind)
    try:
        expression = _only_expression(environment, text) if native else None
        if expression is not None:
            evaluate = environment.compile_expression(expression, undefined_to_none=False)
            return lambda names: guarded(lambda: _native(evaluate(dict(names))))
        template = environment.from_string(text)
    except TemplateSyntaxError as error:
        where = f" (line {error.lineno})" if "\n" in text else ""
        msg = f"the template has a syntax error{where}: {error.message}"
        raise TemplateError(msg) from None
    except (RecursionError, MemoryError, OverflowError, ValueError) as error:
        msg = f"the template is too large or too deep: {type(error).__name__}"
        raise TemplateError(msg) from None
    return lambda names: guarded(lambda: joined(template.generate(dict(names))))


def _only_expression(environment: SafeEnvironment, text: str) -> str | None:
    """The inside, when `text` is one expression and nothing else but blanks around it."""
    stripped = text.strip()
    if not (stripped.startswith("{{") and stripped.endswith("}}")):
        return None
    kinds = [kind for _, kind, _ in environment.lex(stripped)]
    if kinds.count("variable_begin") != 1 or kinds[0] != "variable_begin" or kinds[-1] != "variable_end":
        return None
    return stripped[2:-2].removeprefix("-").removesuffix("-").removeprefix("+").strip()


def guarded(evaluate: Callable[[], Any]) -> Any:
    """Whatever an expression raises becomes one kind of error; never with a value of the state."""
    try:
        return evaluate()
    except TemplateError:
        raise
    except UndefinedError as error:
        raise TemplateError(error.message or "a name is missing") from None
    except SecurityError as error:
        raise TemplateError(str(error)) from None
    except (ArithmeticError, RecursionError, MemoryError) as error:
        msg = f"the expression cannot be computed: {type(error).__name__}"
        raise TemplateError(msg) from None
    except Exception as error:  # noqa: BLE001 - filters and methods raise anything
        msg = f"the expression failed: {type(error).__name__}"
        if isinstance(error, TypeError):
            msg += "; a value has another type than the expression needs"
        raise TemplateError(msg) from None


def joined(pieces: Any) -> str:
    """Cut off at the limit of output, with an error."""
    found, length = [], 0
    for piece in pieces:
        length += len(piece)
        if length > MAX_OUTPUT:
            msg = f"the result is longer than {MAX_OUTPUT} characters"
            raise TemplateError(msg)
        found.append(piece)
    return str("".join(found))


def _native(value: Any, depth: int = 0) -> Any:
    """Plain values out of an expression: missing names found, generators of filters read, markup made text."""
    if depth > 20:
        msg = "the value is nested too deeply"
        raise TemplateError(msg)
    if isinstance(value, Undefined):
        value._fail_with_undefined_error()  # noqa: SLF001 - jinja2's own way to make the error
    _refuse_function(value)
    if isinstance(value, str):
        if len(value) > MAX_OUTPUT:
            msg = f"the result is longer than {MAX_OUTPUT} characters"
            raise TemplateError(msg)
        return str.__str__(value)
    if isinstance(value, Mapping):
        return {key: _native(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, set, frozenset, range)) or hasattr(value, "__next__"):
        return [_native(item, depth + 1) for item in value]
    if isinstance(value, tuple):
        return tuple(_native(item, depth + 1) for item in value)
    return value


def _refuse_function(value: Any) -> None:
    if callable(value) and not isinstance(value, type):
        msg = f"{getattr(value, '__name__', 'this')!r} is not in the data; it is a method of the value before it"
        raise TemplateError(msg)


def _finalize(value: Any) -> Any:
    if isinstance(value, Undefined):
        return value
    _refuse_function(value)
    if isinstance(value, (list, tuple)):
        _refuse_missing(value)
    return "" if value is None else value


def _refuse_missing(items: Iterable[Any]) -> None:
    for item in items:
        if isinstance(item, Undefined):
            item._fail_with_undefined_error()  # noqa: SLF001 - as above
        _refuse_function(item)


def _finalize_markdown(value: Any) -> Any:
    """Values are text in Markdown too: every punctuation mark is escaped (CommonMark §2.4), unless marked safe."""
    value = _finalize(value)
    if isinstance(value, Undefined) or hasattr(value, "__html__"):
        return value
    return Markup(_PUNCTUATION.sub(r"\\\g<0>", _BLANK_LINES.sub("\n", str(value)).strip()))  # noqa: S704 - no HTML yet


@cache
def _expressions_only(kind: Kind) -> SafeEnvironment:
    token = secrets.token_hex(16)
    return environment_for(
        SafeEnvironment,
        kind,
        block_start_string=f"<%{token}",
        block_end_string=f"{token}%>",
        comment_start_string=f"<#{token}",
        comment_end_string=f"{token}#>",
        cache_size=0,
    )


def environment_for(cls: type[E], kind: Kind, **options: Any) -> E:
    """A sandbox with our filters and limits.

    Args:
        cls: Which sandbox.
        kind: How values are escaped.
        options: For jinja2.
    """
    environment = cls(
        undefined=StrictUndefined,
        autoescape=kind != "text",
        finalize=_finalize_markdown if kind == "markdown" else _finalize,
        keep_trailing_newline=True,
        **options,
    )
    environment.globals = {"range": _range}
    environment.filters = {name: filter_ for name, filter_ in FILTERS.items() if name not in _NO_FILTERS}
    environment.filters |= {
        name: _bounded(name, FILTERS[name]) for name in ("center", "indent", "batch", "slice", "tojson")
    }
    environment.filters |= {"replace": _bounded_replace, "join": _bounded_join, "wordwrap": _bounded_wrap}
    return environment


def _range(*arguments: int) -> range:
    found = range(*arguments)
    if len(found) > MAX_RANGE:
        msg = f"range is limited to {MAX_RANGE} numbers"
        raise TemplateError(msg)
    return found


def _bounded(name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
    """No filter may pad by more than `MAX_RANGE`."""
    from functools import update_wrapper  # noqa: PLC0415 - keeps jinja2's marks (pass_environment, …)

    def call(*arguments: Any, **named: Any) -> Any:
        for value in (*arguments, *named.values()):
            if isinstance(value, (int, float)) and abs(value) > MAX_RANGE:
                msg = f"{name}: numbers are limited to {MAX_RANGE}"
                raise TemplateError(msg)
            if name == "indent" and isinstance(value, str) and value is not arguments[0] and len(value) > 100:
                msg = "indent: the prefix is limited to 100 characters"
                raise TemplateError(msg)
        return filter_(*arguments, **named)

    return update_wrapper(call, filter_)


def _markup(value: Any) -> Any:
    return value if isinstance(value, str) else str(value)


def _bounded_replace(value: Any, old: str, new: str, count: int | None = None) -> Any:
    text = _markup(value)
    times = len(text) + 1 if old == "" else text.count(str(old))
    _bound(len(text) + min(times, times if count is None else max(count, 0)) * len(_markup(new)) * 6, MAX_OUTPUT)
    return text.replace(old, new, -1 if count is None else count)


@pass_environment
def _bounded_join(environment: SafeEnvironment, value: Any, d: str = "", attribute: str | int | None = None) -> Any:
    items = list(value if attribute is None else map(make_attrgetter(environment, attribute), value))
    _refuse_missing(items)
    _bound(sum(len(_markup(item)) for item in items) + len(items) * len(_markup(d)), MAX_OUTPUT)
    if any(hasattr(item, "__html__") for item in (d, *items)):
        return escape(d).join(items)
    return str(d).join(map(str, items))


def _bounded_wrap(value: Any, width: int = 79, break_long_words: bool = True, wrapstring: str = "\n") -> str:
    import textwrap  # noqa: PLC0415 - rare

    text = _markup(value)
    _bound(len(text) * (1 + len(wrapstring)), MAX_OUTPUT)
    lines = (textwrap.wrap(line, max(width, 1), break_long_words=break_long_words) for line in text.splitlines())
    return wrapstring.join(wrapstring.join(line) for line in lines)


def _bound(length: int, limit: int) -> None:
    if length > limit:
        msg = f"the result is longer than {limit} characters"
        raise TemplateError(msg)


class SafeEnvironment(ImmutableSandboxedEnvironment):
    """Keys before attributes, only methods of plain values, operators with limits."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``obj.attribute``."""
        if isinstance(obj, Mapping):
            if attribute in obj:
                return obj[attribute]
            if not hasattr(dict, attribute):
                return self._missing(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """``obj[argument]``."""
        if isinstance(obj, Mapping):
            return obj[argument] if argument in obj else self._missing(obj, argument)
        return super().getitem(obj, argument)

    def _missing(self, obj: Mapping[Any, Any], name: Any) -> Undefined:
        from difflib import get_close_matches  # noqa: PLC0415 - only for the error

        near = get_close_matches(str(name), [key for key in obj if isinstance(key, str)], n=1)
        advice = f"; did you mean {near[0]!r}?" if near else ""
        return self.undefined(f"there is no {str(name)[:80]!r} in the data{advice}", name=str(name))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Methods of plain values only; of text only those that cannot blow it up."""
        if not super().is_safe_attribute(obj, attr, value):
            return False
        if not callable(value):
            return True
        if isinstance(obj, (str, bytes)):
            return attr in _TEXT_METHODS
        return isinstance(obj, _PLAIN)

    def call(self, context: Any, obj: Any, /, *arguments: Any, **named: Any) -> Any:
        """``obj(…)``."""
        if isinstance(obj, Undefined):
            obj._fail_with_undefined_error()  # noqa: SLF001 - as above
        if not self.is_safe_callable(obj):
            msg = f"{getattr(obj, '__name__', type(obj).__name__)!r} may not be called in a template"
            raise TemplateError(msg)
        return context.call(obj, *arguments, **named)

    def is_safe_callable(self, obj: Any) -> bool:
        """`range`, and methods of plain values."""
        return obj is _range or isinstance(getattr(obj, "__self__", None), _PLAIN)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Operators whose result can be much larger than what they are given."""
        if operator == "%" and isinstance(left, (str, bytes)):
            msg = "text cannot be formatted with %; use ~ to join"
            raise TemplateError(msg)
        if operator == "*":
            _bound(_length(left, right), MAX_REPEAT)
        if operator == "+":
            _bound(_size(left) + _size(right), MAX_OUTPUT)
        if operator in {"*", "**"} and isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() + right.bit_length() if operator == "*" else max(left.bit_length(), 1) * abs(right)
            if bits > MAX_BITS:
                msg = "the number is too large"
                raise TemplateError(msg)
        return super().call_binop(context, operator, left, right)


def _size(value: Any) -> int:
    return len(value) if isinstance(value, (str, bytes, list, tuple)) else 0


def _length(left: Any, right: Any) -> int:
    times, thing = (left, right) if isinstance(left, int) else (right, left)
    return _size(thing) * max(times, 0) if isinstance(times, int) else 0
