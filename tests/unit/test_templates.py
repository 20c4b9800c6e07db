"""Templates: only ``{{ … }}``, keys first, native values, strict, escaped in content, bounded, data never compiled."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from attrs import field, frozen

from mailwright.errors import TemplateError
from mailwright.model import NodeDocument, Secret, Settings
from mailwright.node import FlowState
from mailwright.templates import check_syntax, compile_template, render

DATA = {
    "name": "A & B", "items": [1, 2], "n": 3, "list": ["a@x.org", "b@y.org"], "nothing": None, "html": "<b>x</b>",
    "when": dt.date(2026, 1, 2), "object": object(), "deep": {"er": {"x": 1}}, "evil": "{{ 7 * 7 }}",
}  # fmt: skip


def evaluate(text: str, **options: Any) -> Any:
    return compile_template(text, **options)({"input": DATA, "context": {"lang": "de"}})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Hello {{ input.name }}", "Hello A & B"),
        ("{% if x %} a{#id{color:red} {# y #} #}", "{% if x %} a{#id{color:red} {# y #} #}"),
        ("a{#id{x} {{ input.n }} {%", "a{#id{x} 3 {%"),
        ("{{ input.items[0] }}-{{ input['n'] }}-{{ input.deep.er.x }}", "1-3-1"),
        ("{{ input.nothing }}.", "."),
        ("{{ input.list | join(', ') }}", "a@x.org, b@y.org"),
        ("{{ input.x | default('none') }}", "none"),
        ("{{ 'yes' if input.n > 2 else 'no' }}", "yes"),
        ("{{ input.when.strftime('%d.%m.%Y') }} {{ input.name.upper() }}", "02.01.2026 A & B"),
        ("{{ '{{' }} stays", "{{ stays"),
        ("{{ input.evil }}", "{{ 7 * 7 }}"),
        ("{{ context.lang }}\n", "de\n"),
        ("{{ input.name | replace('&', 'and') | lower }}", "a and b"),
        ("{{ range(3) | list }}", "[0, 1, 2]"),
    ],
)
def test_text(text: str, value: str) -> None:
    assert evaluate(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<p>{{ input.name }}</p>", "<p>A &amp; B</p>"),
        ("{{ input.html }}", "&lt;b&gt;x&lt;/b&gt;"),
        ("{{ input.html | safe }}", "<b>x</b>"),
        ("{{ input.html | upper ~ '<i>' }}", "&lt;B&gt;X&lt;/B&gt;&lt;i&gt;"),
        ("{{ [input.html, 'y'] | join('<br>') }}", "&lt;b&gt;x&lt;/b&gt;&lt;br&gt;y"),
        ("{{ input.html | replace('x', '<i>') }}", "&lt;b&gt;&lt;i&gt;&lt;/b&gt;"),
        ('<a title="{{ \'" onclick="x\' }}">', '<a title="&#34; onclick=&#34;x">'),
    ],
)
def test_content_is_escaped(text: str, value: str) -> None:
    assert evaluate(text, kind="html") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ input.list }}", ["a@x.org", "b@y.org"]),
        (" {{ input.items }}\n", [1, 2]),
        ("{{ input.nothing }}", None),
        ("{{ input.n }}", 3),
        ("{{ input.n }} ", 3),
        ("{{ input.n }}{{ input.n }}", "33"),
        ("{{ input.list | map('upper') | list }}", ["A@X.ORG", "B@Y.ORG"]),
        ("{{ input.list | map('upper') }}", ["A@X.ORG", "B@Y.ORG"]),
        ("{{ input.x is defined }}", False),
        ("{{ input.html | safe }}", "<b>x</b>"),
        ("{{- input.n -}}", 3),
    ],
)
def test_one_expression_keeps_its_value(text: str, value: Any) -> None:
    found = evaluate(text, native=True)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ input.nam }}", "there is no 'nam' in the data; did you mean 'name'?"),
        ("{{ input['nam'] }}", "did you mean 'name'?"),
        ("{{ inputs.name }}", "'inputs' is undefined"),
        ("{{ input.values }}", "'values' is not in the data"),
        ("{{ [input.nope] }}", "there is no 'nope'"),
        ("{{ input.deep.no.where }}", "there is no 'no'"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ input.n + 'a' }}", "TypeError"),
        ("{{ lipsum() }}", "'lipsum' is undefined"),
        ("{{ input.name", "syntax error"),
        ("{{ 1 + }}", "syntax error"),
        ("{{ input.name | nope }}", "syntax error"),
    ],
)
def test_mistakes_are_told(text: str, says: str, native: bool) -> None:
    with pytest.raises(TemplateError) as caught:
        evaluate(text, native=native)
    assert says in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ input.__class__ }}",
        "{{ input.object.__init__.__globals__ }}",
        "{{ input.list | map(attribute='__class__') | list }}",
        "{{ input.list | join(attribute='__class__') }}",
        "{{ input.list | attr('__class__') }}",
        "{{ '{0.__class__}'.format(input) }}",
        "{{ '%s' | format(input) }}",
        "{{ input.list.append('x') }}",
        "{{ input.update({'a': 1}) }}",
        "{{ input.clear() }}",
        "{{ self.__init__ }}",
        "{{ cycler }}",
    ],
)
def test_t01_no_way_out_of_the_sandbox(text: str) -> None:
    with pytest.raises(TemplateError):
        evaluate(text, native=True)
    assert len(DATA["list"]) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "{{ range(10 ** 9) | list }}",
        "{{ 'a' * 10 ** 9 }}",
        "{{ [0] * 10 ** 9 }}",
        "{{ 10 ** 9 * 'a' }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ (9 ** 999) * (9 ** 999) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 'a' | center(10 ** 9) }}",
        "{{ 'a'.ljust(10 ** 9) }}",
        "{{ 'a' | indent(10 ** 9) }}",
        "{{ [1] | batch(10 ** 9, 0) | list }}",
        "{{ [1] | slice(10 ** 9) | list }}",
        "{{ ('x' * 100000) | replace('x', 'y' * 100000) }}",
        "{{ ('x' * 100000) | replace('', 'y' * 100000) }}",
        "{{ ('x' * 100000).replace('x', 'y' * 100000) }}",
        "{{ (range(10000) | list) | join('y' * 100000) }}",
        "{{ ('y' * 100000).join(['a'] * 10000) }}",
        "{{ ('a ' * 100000) | wordwrap(1, wrapstring='y' * 10000) }}",
        "{{ [1] | tojson(indent=10 ** 9) }}",
    ],
)
def test_t04_cost_is_bounded(text: str) -> None:
    with pytest.raises(TemplateError):
        evaluate(text)


def test_output_is_bounded() -> None:
    with pytest.raises(TemplateError, match="longer than"):
        evaluate("{{ 'a' * 1000000 }}" * 11)


def test_compiled_once() -> None:
    assert compile_template("{{ input.once }}") is compile_template("{{ input.once }}")


def test_values_never_appear_in_errors() -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template("{{ input.secret + 1 }}")({"input": {"secret": "canary"}})
    assert "canary" not in str(caught.value)


@frozen(kw_only=True)
class Text(Settings):
    content: str
    plain: str = field(default="", metadata={"template": False})
    key: Secret | None = None


def test_render_a_node() -> None:
    node = NodeDocument(
        to=("{{ input.list }}", "c@z.org"),
        subject="Hi {{ input.name }}",
        content="<p>{{ input.name }}</p>",
        text="{{ input.name }}",
        headers={"X-N": "{{ input.n }}"},
        attachments=(("text", Text(content="{{ input.n }}!", plain="{{ x }}", key=Secret("{{ y }}"))),),
        envelope={"from": "{{ input.list[0] }}", "to": "{{ input.list }}"},
    )
    found = render(node, FlowState(input=DATA))
    assert found.to == ("a@x.org", "b@y.org", "c@z.org")
    assert found.subject == "Hi A & B"
    assert found.content == "<p>A &amp; B</p>"
    assert found.text == "A & B"
    assert found.headers == {"X-N": 3}
    assert found.attachments == (("text", Text(content="3!", plain="{{ x }}", key=Secret("{{ y }}"))),)
    assert found.envelope == {"from": "a@x.org", "to": ["a@x.org", "b@y.org"]}


def test_every_field_that_fails_is_named() -> None:
    node = NodeDocument(
        to=("{{ input.a }}",), subject="{{ input.b }}", attachments=(("text", Text(content="{{ input.c }}")),)
    )
    with pytest.raises(TemplateError) as caught:
        render(node, FlowState())
    for path in ("$.to[0]: ", "$.subject: ", "$.attachments[0].content: "):
        assert path in caught.value.message


def test_syntax_without_a_state() -> None:
    found = check_syntax({"to": ["{{ a", "b"], "headers": {"X A": "{{ 1 + }}"}, "content": "{% x %} {{ input.later }}"})
    assert [problem.path for problem in found] == ["$.to[0]", "$.headers['X A']"]
