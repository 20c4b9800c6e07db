"""Laws of rendering: whatever a value holds, it is text in what comes out."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

from hypothesis import example, given
from hypothesis import strategies as st

from mailwright.net.allowed import literal
from mailwright.templates import compile_template
from mailwright.templates.files import markdown

MARKUP = st.text(alphabet=st.sampled_from(list("ab \n\t#*_-+`~[](){}<>!|\\/&;:.=\"'0123456789^$%@é\x00")), max_size=60)
VALUES = MARKUP | st.text(max_size=60)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


def tags(html: str) -> list[tuple[str, list[tuple[str, str | None]]]]:
    parser = Tags()
    parser.feed(html)
    return parser.found


def words(text: str) -> list[str]:
    return text.replace("\x00", "\ufffd").split()


@given(VALUES)
@example("1. a\n\n    b")
@example("[a]: http://x\n\n[a]")
def test_values_in_markdown_are_text(value: str) -> None:
    html = markdown(compile_template("Hello {{ input.x }} end", kind="markdown")({"input": {"x": value}}))
    assert [tag for tag, _ in tags(html)] == ["p"]
    assert words(unescape(re.sub(r"</?p>", "", html))) == words(f"Hello {value} end")


@given(VALUES)
def test_values_in_a_link_of_markdown_stay_in_it(value: str) -> None:
    html = markdown(compile_template("[go](<{{ input.x }}>)", kind="markdown")({"input": {"x": value}}))
    found = tags(html)
    assert {tag for tag, _ in found} <= {"p", "a"}
    assert all([name for name, _ in attributes] in (["href"], []) for _, attributes in found)
    assert not re.search(r'href="(?:javascript|vbscript|data):', html, re.IGNORECASE)


@given(VALUES)
def test_values_in_html_are_text(value: str) -> None:
    html = compile_template('<p title="{{ input.x }}">{{ input.x }}</p>', kind="html")({"input": {"x": value}})
    [(tag, attributes)] = tags(html)
    assert (tag, [name for name, _ in attributes]) == ("p", ["title"])


@given(st.text(max_size=30) | st.from_regex(r"[0-9a-fx.:\[\]%]{1,30}"))
def test_a_host_is_an_address_a_name_or_refused(host: str) -> None:
    try:
        found = literal(host)
    except ValueError:
        return
    assert found is not None or re.fullmatch(r"\[?[a-z0-9_.-]+\]?", host)
