"""Markdown of others on our pages: what they write is read, and does nothing."""

import re
import time

import pytest
from atoll.engine.semantic import MAX_DESCRIPTION
from atoll.node.web.markdown import markdown, plain, summary
from hypothesis import given
from hypothesis import strategies as st

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "<style>*{display:none}</style>",
    "<iframe src=//elsewhere.example></iframe>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java&#10;script:alert(1))",
    "[x](&#x6A;avascript:alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    "<javascript:alert(1)>",
    "[x](/admin/tokens) [y](//elsewhere.example) [z](#main) [w](learnwares)",
    "[x]: javascript:alert(1)\n\n[x]",
    '[x](http://a.example/"onmouseover="alert(1))',
    "![a](http://a.example/p.png)",
)
ALLOWED = re.compile(
    r"</?(h[2-6]|p|br|hr|blockquote|pre|code|em|strong|s|ul|ol|li|table|thead|tbody|tr|th|td|a)"
    r"( (href|title|rel|start)=\"[^\"<>]*\")*/?>"
)
LINK = re.compile(r"<a ([^>]*)>")


def harmless(made):
    """Whether there are no tags but those of a text, and no links but those to elsewhere that say nothing for it."""
    links = LINK.findall(made)
    return "<" not in ALLOWED.sub("", made) and all(
        re.search(r'href="(https?:|mailto:)', link) and 'rel="nofollow noopener noreferrer"' in link for link in links
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_hostile_is_text(text):
    made = str(markdown(f"before {text} after\n\n{text}"))
    assert harmless(made), made
    assert "before" in made
    assert "after" in made


@given(st.text(alphabet="ab <>[]()!#*_`~|-:/\\\"'&;\n\t=.0javscript", max_size=120))
def test_no_text_makes_anything_but_text(text):
    made = str(markdown(text))
    assert harmless(made), made


def test_headings_lie_below_those_of_the_page():
    text = "# One\n\n###### Six\n\nTwo\n---\n"
    assert re.findall(r"<(h\d)>", markdown(text)) == ["h2", "h6", "h3"]
    assert re.findall(r"<(h\d)>", markdown(text, under=3)) == ["h4", "h6", "h5"]


def test_an_image_is_a_link_to_it_and_is_not_loaded():
    assert "<img" not in markdown("![a chart](https://a.example/c.png)")
    assert '<a href="https://a.example/c.png"' in markdown("![a chart](https://a.example/c.png)")
    linked = markdown("[![badge](https://a.example/b.svg)](https://a.example/build)")
    assert linked.count("<a ") == 1
    assert ">badge</a>" in linked


def test_a_link_without_words_is_called_by_where_it_leads():
    assert ">https://a.example/</a>" in markdown("[](https://a.example/)")
    assert ">https://a.example/i.png</a>" in markdown("![](https://a.example/i.png)")


def test_tables_lists_and_code_are_what_they_are_in_markdown():
    made = markdown("| a | b |\n|---|--:|\n| 1 | 2 |\n\n3. x\n\n```python\nprint('<b>')\n```\n\n~~no~~")
    assert "<td>2</td>" in made
    assert '<ol start="3">' in made
    assert "&lt;b&gt;" in made
    assert "<s>no</s>" in made


@pytest.mark.parametrize(
    "piece", ["> ", "- ", "[", "![", "*a ", "`", "_*", "[a](<", "1. ", "|a", "<", "**a", "(", "~~a"]
)
def test_huge_nesting_takes_no_time_and_little_room(piece):
    started = time.process_time()
    made = markdown(piece * MAX_DESCRIPTION)
    assert time.process_time() - started < 5
    assert len(made) < 12 * MAX_DESCRIPTION
    assert made.count("<blockquote>") <= 20


def test_nothing_turns_the_direction_of_what_comes_after_it():
    assert "\u202e" not in markdown("total \u202e0001\u2066 x")
    assert plain(" a\u202eb\n c ") == "ab c"


def test_our_own_text_links_within_the_node_and_can_be_linked_to():
    made = markdown(
        "## Two words\n\n## Two words\n\n[a](/docs/cli) [b](#two-words) [c](javascript:x)", own=True, under=0
    )
    assert '<h2 id="two-words">' in made
    assert '<h2 id="two-words-2">' in made
    assert '<a href="/docs/cli">' in made
    assert 'href="#two-words"' in made
    assert "javascript:x)" in made


def test_a_summary_has_the_words_without_the_marks():
    assert summary("# One\n\n**two** [three](https://a.example) <b>4</b> & `five`\n\n* six") == (
        "One two three <b>4</b> & five six"
    )
