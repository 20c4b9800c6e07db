"""The text that stands beside HTML when the author wrote none."""

from __future__ import annotations

import pytest

from mailwright.mime.plain import plain_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("  \n ", ""),
        ("plain", "plain\n"),
        ("<p>one<p>two", "one\n\ntwo\n"),
        ("a <b>b</b><i>c</i> d", "a bc d\n"),
        ("one<br>two<br><br>three", "one\ntwo\n\nthree\n"),
        ("<div>one</div><div><div>two</div></div>three", "one\ntwo\nthree\n"),
        (
            "<h1>Title</h1>text<h2>Part</h2>text<h3>Small</h3>t",
            "Title\n=====\n\ntext\n\nPart\n----\n\ntext\n\nSmall\n\nt\n",
        ),
        ("&lt;b&gt; &amp; &euro;&nbsp;5 &#x1F600; &#0;", "<b> & €\xa05 😀 \ufffd\n"),
        ('<a href="https://x.org/?a=1&amp;b=2">here</a>.', "here <https://x.org/?a=1&b=2>.\n"),
        ('<a href="https://x.org/">https://x.org</a>', "https://x.org\n"),
        ('<a href="mailto:a@x.org">a@x.org</a>', "a@x.org\n"),
        ('<a href="#top">up</a> <a href="javascript:x()">run</a>', "up run\n"),
        ('<a href="https://x.org/"><img src="l.png" alt="Logo"></a>', "Logo <https://x.org/>\n"),
        ("<ul><li>a<li>b<ul><li>c</ul><li>d</ul>", "- a\n- b\n  - c\n- d\n"),
        ("<ol><li>a</li><li>b</li></ol>", "1. a\n2. b\n"),
        ("<table><tr><th>Item<th>Qty<tr><td>Pen<td>2</table>", "Item | Qty\nPen | 2\n"),
        ("x<blockquote><p>a</p><p>b</p></blockquote>y", "x\n\n> a\n>\n> b\n\ny\n"),
        ("<pre>a\n  b</pre>", "a\n  b\n"),
        ("<title>t</title><style>p{}</style><script>if (a<b) x()</script>y", "y\n"),
        ("<script>never closed", ""),
        ("a<!-- b -->c<!-- never closed", "ac\n"),
        ('<div style="display: none">preheader</div>shown', "shown\n"),
        ("<p hidden>no</p>yes", "yes\n"),
        ("1 < 2 > 0", "1 < 2 > 0\n"),
        ("a<", "a<\n"),
        ("<a href='x", ""),
        ("&#" + "1" * 5000 + ";", "&#" + "1" * 5000 + ";\n"),
        ("a<hr>b", f"a\n\n{'-' * 40}\n\nb\n"),
    ],
)
def test_reads_well(html: str, text: str) -> None:
    assert plain_text(html) == text


def test_nesting_does_not_multiply_the_output() -> None:
    html = "<blockquote><ul><li>x" * 2000
    assert len(plain_text(html)) < 10 * len(html)
