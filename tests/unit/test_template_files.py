"""Templates in files: full Jinja below one folder, Markdown, CSS inlining, images as inline parts."""

from __future__ import annotations

import os
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from mailwright import FlowState, Message, Part, Templates, check_node, compose, load_node
from mailwright.errors import TemplateError
from mailwright.templates import compile_template
from mailwright.templates.files import Folder, inline_css, markdown

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)
NODE: dict[str, Any] = {"connection": "support", "to": "ann@example.org", "subject": "Hi"}
BASE = """<!doctype html><style>p { color: red }</style>
<body>{% block main %}{% endblock %}<img src="img/logo.png" alt="">{% include "parts/foot.html" %}</body>"""
WELCOME = """{% extends "base.html" %}{% import "parts/macros.html" as ui %}
{% block main %}<p>Hello {{ name }}</p>
{% for item in items %}{{ ui.row(item) }}{% else %}none{% endfor %}{% endblock %}"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "mails"
    (folder / "parts").mkdir(parents=True)
    (folder / "img").mkdir()
    (folder / "img/logo.png").write_bytes(PNG)
    (folder / "base.html").write_text(BASE)
    (folder / "parts/foot.html").write_text("<footer>{{ name }}</footer>")
    (folder / "parts/macros.html").write_text("{% macro row(x) %}<li>{{ x }}</li>{% endmacro %}")
    (folder / "welcome.html.j2").write_text(WELCOME)
    (folder / "welcome.txt.j2").write_text("Hello {{ name }}\n{% for i in items %}* {{ i }}\n{% endfor %}")
    (tmp_path / "secret.html").write_text("top secret")
    (tmp_path / "secret.png").write_bytes(b"top secret")
    return folder


class TestTemplates:
    def test_a_message(self, root: Path) -> None:
        message = Templates(root).message(
            "welcome.html.j2", to="ann@example.org", from_="me@example.org", subject="Hi", name="<Ann>", items=["a&b"]
        )
        assert isinstance(message, Message)
        assert "<p>Hello &lt;Ann&gt;</p>" in (message.html or "")
        assert "<li>a&amp;b</li>" in (message.html or "")
        assert "<footer>&lt;Ann&gt;</footer>" in (message.html or "")
        assert message.text == "Hello <Ann>\n* a&b\n"
        [image] = message.attachments
        assert isinstance(image, Part)
        assert f'src="cid:{image.content_id}"' in (message.html or "")
        parsed = message_from_bytes(bytes(compose(message)))
        kinds = [part.get_content_type() for part in parsed.walk()]
        assert kinds == ["multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png"]
        assert [p.get_payload(decode=True) for p in parsed.walk() if p.get_content_type() == "image/png"] == [PNG]

    def test_names_that_are_fields_of_a_message(self, root: Path) -> None:
        (root / "a.txt").write_text("{{ subject }} {{ to }}")
        message = Templates(root).message("a.txt", {"subject": "inner", "to": "x"}, to="a@example.org", subject="outer")
        assert (message.text, message.subject, message.html) == ("inner x", "outer", None)

    def test_own_text_and_attachments_stay(self, root: Path) -> None:
        message = Templates(root).message(
            "welcome.html.j2", to="a@example.org", text="mine", attachments=[Part(content=b"x", filename="x.bin")],
            name="", items=[],
        )  # fmt: skip
        assert message.text == "mine"
        assert message.attachments[0] == Part(content=b"x", filename="x.bin")
        assert len(message.attachments) == 2

    def test_values_are_never_templates(self, root: Path) -> None:
        html = Templates(root).render("welcome.html.j2", name="{{ 7 * 7 }}{% raw %}", items=["{{ name }}"])
        assert "{{ 7 * 7 }}{% raw %}" in html
        assert "<li>{{ name }}</li>" in html

    def test_changes_of_a_file_are_seen_and_compiled_once_else(self, root: Path) -> None:
        mails = Templates(root)
        (root / "a.txt").write_text("one")
        assert mails.render("a.txt") == "one"
        (root / "a.txt").write_text("two")
        os.utime(root / "a.txt", ns=(1, 1))
        assert mails.render("a.txt") == "two"
        folder = Folder(root)
        assert folder._template("a.txt") is folder._template("a.txt")


class TestRoot:
    @pytest.mark.parametrize(
        "name",
        ["../secret.html", "parts/../../secret.html", "/etc/passwd.html", "link.html", "way/secret.html", "nope.html",
         "\0.html", "welcome.exe", "", "parts", "a" * 5000 + ".html"],
    )  # fmt: skip
    def test_t04_nothing_outside(self, root: Path, name: str) -> None:
        (root / "link.html").symlink_to(root.parent / "secret.html")
        (root / "way").symlink_to(root.parent)
        (root / "inc.html").write_text("{% include name %}")
        with pytest.raises(TemplateError):
            Templates(root).render(name)
        with pytest.raises(TemplateError):
            Templates(root).render("inc.html", name=name)

    def test_an_absolute_name_inside_is_refused_too(self, root: Path) -> None:
        with pytest.raises(TemplateError, match="outside"):
            Templates(root).render(str(root / "base.html"), name="")

    @pytest.mark.parametrize(
        "source",
        [
            "{% for a in range(100000000) %}x{% endfor %}",
            "{% for a in range(9999) %}{% for b in range(9999) %}{{ 'x' * 1000 }}{% endfor %}{% endfor %}",
            "{{ 'a' * 100000000 }}",
            "{{ 9 ** 999999 }}",
            "{% include 'loop.html' %}",
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "{{ ''.__class__ }}",
            "{{ ''.__class__.__mro__ }}",
            "{{ cycler.__init__.__globals__ }}",
            "{{ self.__init__.__globals__ }}",
            "{{ namespace.__init__ }}",
            "{{ joiner.__class__ }}",
            "{{ ui.__globals__ }}",
            "{{ loop_of.__globals__['os'] }}",
            "{{ lipsum() }}",
            "{{ name.format(name) }}",
            "{% for x in [1] %}{{ loop._iterable.__class__ }}{% endfor %}",
            "{% import 'parts/macros.html' as ui %}{{ ui.row.__globals__ }}",
            "{% import 'parts/macros.html' as ui %}{{ ui._body_stream.__class__ }}",
            "{{ name | attr('__class__') }}",
            "{{ missing }}",
            "{% if x %}",
        ],
    )
    def test_t01_t04_hostile_templates_end(self, root: Path, source: str) -> None:
        (root / "loop.html").write_text(source)
        with pytest.raises(TemplateError):
            Templates(root).render("loop.html", name="{0.__class__}", object=object())

    def test_what_templates_may_do(self, root: Path) -> None:
        (root / "rich.txt").write_text(
            "{% set ns = namespace(total=0) %}{% for x in items %}{% set ns.total = ns.total + x %}"
            "{{ loop.index }}{{ loop.cycle('a', 'b') }}{% if not loop.last %},{% endif %}{% endfor %}={{ ns.total }}"
            "{% set c = cycler('x', 'y') %}{{ c.next() }}{{ c.next() }}{% set j = joiner('|') %}{{ j() }}{{ j() }}"
            "{% macro wrap() %}[{{ caller() }}]{% endmacro %}{% call wrap() %}in{% endcall %}"
            "{% filter upper %}low{% endfilter %}{% for x in items if x > 1 %}{% break %}{% endfor %}"
        )
        assert Templates(root).render("rich.txt", items=[1, 2]) == "1a,2b=3xy|[in]LOW"


class TestImages:
    def test_h17_only_what_templates_name_by_relative_names(self, root: Path) -> None:
        (root / "img/other.png").write_bytes(PNG)
        (root / "a.html").write_text(
            '<img src=\'img/logo.png\'><img src="{{ x }}"><td background="img/logo.png"><p style="a:url(\'img/other.png\')">'
            '<img src="https://example.org/logo.png"><img src="/etc/x.png"><img src="file:///etc/x.png"><img src="cid:a">'
        )
        for chosen in ("img/secret.png", "../secret.png", "/etc/passwd", "\\\\host\\x.png", "img/logo.png?x"):
            message = Templates(root).message("a.html", to="a@example.org", x=chosen)
            assert len(message.attachments) == 2
            assert message.html is not None
            assert message.html.count("cid:image1.logo.png@templates") == 2
            assert message.html.count("cid:image2.other.png@templates") == 1
            assert 'src="/etc/x.png"' in message.html

    @pytest.mark.parametrize("name", ["../secret.png", "link.png", "missing.png"])
    def test_h17_a_template_cannot_name_what_is_outside(self, root: Path, name: str) -> None:
        (root / "link.png").symlink_to(root.parent / "secret.png")
        (root / "a.html").write_text(f'<img src="{name}">')
        with pytest.raises(TemplateError, match="template folder"):
            Templates(root).message("a.html", to="a@example.org")

    def test_relative_to_the_template(self, root: Path) -> None:
        (root / "de").mkdir()
        (root / "de/a.html").write_text('<img src="../img/logo.png">')
        [part] = Templates(root).message("de/a.html", to="a@example.org").attachments
        assert isinstance(part, Part)
        assert part.content == root / "img/logo.png"


class TestMarkdown:
    def test_markdown_becomes_html(self, root: Path) -> None:
        (root / "a.md.j2").write_text("# Hi {{ name }}\n\n| a | b |\n|---|---|\n| {{ x }} | 2 |\n")
        html = Templates(root).render("a.md.j2", name="Ann", x=1)
        assert "<h1>Hi Ann</h1>" in html
        assert "<td>1</td>" in html

    @pytest.mark.parametrize(
        "value",
        ["*bold*", "[x](http://evil.example)", "<b>x</b>", "# head", "- item", "1. item", "`code`", "![i](x)", "a\n\n# b",
         "<http://evil.example>", "&lt;", "a\\", "> quote", "---", "    code", "~~x~~", "| a |", "<!--", "_x_", "\\*x\\*",
         "[x]: http://evil.example", "http://evil.example", "javascript:alert(1)"],
    )  # fmt: skip
    def test_t02_values_are_text(self, value: str) -> None:
        """Whatever a value holds: one paragraph, no element in it, the same words."""
        from html import unescape

        html = markdown(compile_template("Hello {{ input.x }}!", kind="markdown")({"input": {"x": value}}))
        inner = html.removeprefix("<p>").removesuffix("</p>\n")
        assert "<" not in inner
        assert " ".join(unescape(inner).split()) == " ".join(f"Hello {value.strip()}!".split())
        start = markdown(compile_template("{{ input.x }}", kind="markdown")({"input": {"x": value}}))
        assert start.startswith("<p>")
        assert start.count("<") == 2

    def test_links_with_values(self) -> None:
        def link(url: str) -> str:
            return markdown(compile_template("[go]({{ input.x }})", kind="markdown")({"input": {"x": url}}))

        assert link("https://x.example/a?b=c&d=(e)") == '<p><a href="https://x.example/a?b=c&amp;d=(e)">go</a></p>\n'
        assert "href" not in link("javascript:alert(1)")
        assert link('x" onclick="y').count("<a") == 0

    def test_ready_markdown_by_safe(self) -> None:
        text = compile_template("{{ input.x | safe }}", kind="markdown")({"input": {"x": "**x** <b>"}})
        assert markdown(text) == "<p><strong>x</strong> &lt;b&gt;</p>\n"


class TestCss:
    def test_inlined_and_nothing_loaded(self, root: Path) -> None:
        (root / "x.css").write_text("p { color: blue }")
        html = inline_css(
            f'<link rel="stylesheet" href="file://{root}/x.css"><link rel="stylesheet" href="x.css">'
            '<style>@import url("x.css"); p { color: red } @media (max-width: 9px) { p { color: green } }</style><p>x</p>'
        )
        assert '<p style="color: red;">' in html
        assert "blue" not in html
        assert "@media" in html

    def test_from_templates(self, root: Path) -> None:
        message = Templates(root, inline_css=True).message("welcome.html.j2", to="a@example.org", name="n", items=[])
        assert '<p style="color: red;">Hello n</p>' in (message.html or "")


class TestNode:
    async def test_content_from_a_file_beside_the_document(self, root: Path) -> None:
        (root / "hello.html").write_text('<p>Hi {{ input.name }}</p><img src="img/logo.png">')
        (root / "hello.txt").write_text("Hi {{ input.name }}")
        (root / "node.toml").write_text(
            'connection = "support"\nto = "ann@example.org"\ncontent = {file = "{{ context.kind }}.html", inline_css = true}\n'
        )
        message = await sent(root / "node.toml", FlowState(input={"name": "<A>"}, context={"kind": "hello"}))
        assert "<p>Hi &lt;A&gt;</p>" in (message.html or "")
        assert message.text == "Hi <A>"
        assert len(message.attachments) == 1

    async def test_markdown(self) -> None:
        message = await sent(
            NODE | {"content": {"markdown": "*Hi* {{ input.name }}"}}, FlowState(input={"name": "*A*"})
        )
        assert message.html == "<p><em>Hi</em> *A*</p>\n"

    @pytest.mark.parametrize(
        ("content", "path", "says"),
        [
            ({"file": "../secret.html"}, "$.content.file", "outside"),
            ({"file": "nope.html"}, "$.content.file", "no file"),
            ({"file": "broken.html"}, "$.content.file", "broken.html, line 2"),
            ({"file": "welcome.txt.j2"}, "$.content.file", "plain text"),
            ({"markdown": "{{ input.x"}, "$.content.markdown", "syntax"),
            ({"file": "{{ input.x"}, "$.content.file", "syntax"),
        ],
    )
    def test_found_before_anything_is_sent(self, root: Path, content: Any, path: str, says: str) -> None:
        (root / "broken.html").write_text("ok\n{% if %}")
        state = FlowState(input={"name": "x", "items": []})
        [problem] = check_node(NODE | {"content": content}, state, attach_root=root)
        assert problem.path == path
        assert says in problem.message

    def test_beside_mistakes_of_the_document(self, root: Path) -> None:
        document = NODE | {"content": {"file": "nope.html"}, "priority": "urgent", "subject": "{{ input."}
        assert {problem.path for problem in check_node(document, attach_root=root)} == {
            "$.content.file", "$.priority", "$.subject",
        }  # fmt: skip

    def test_without_a_folder(self) -> None:
        [problem] = check_node(NODE | {"content": {"file": "a.html"}})
        assert "attach_root" in problem.message

    def test_untrusted_documents_need_a_root(self, root: Path) -> None:
        document = NODE | {"content": {"file": "welcome.html.j2"}}
        [problem] = check_node(document, trust="untrusted")
        assert (problem.code, problem.path) == ("untrusted", "$.content.file")
        assert check_node(document, trust="untrusted", attach_root=root) == []


async def sent(document: Any, state: FlowState) -> Message:
    messages: list[Message] = []

    class Taking:
        async def send(self, message: Message) -> Any:
            messages.append(message)
            raise TemplateError("enough")

    await load_node(document, mailer=Taking()).run(state)
    [message] = messages
    return message
