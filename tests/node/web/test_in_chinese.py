"""Who reads Chinese is spoken to in Chinese from the search to the report; what others wrote, and errors, stay."""

import json
import re
from html.parser import HTMLParser

import pytest

CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5"}
ENGLISH = re.compile(r"[A-Za-z][a-z']+(?:[ ,;:]+[A-Za-z']+){2,}")  # three words in a row: names have fewer
READ = ("aria-label", "placeholder", "alt")  # attributes that people are told
KEPT = {"bdi", "code", "pre", "style", "script", "title"}  # what others wrote, what is typed
VOID = {"meta", "link", "input", "img", "br", "hr"}


class Ours(HTMLParser):
    """What a page says in its own words."""

    def __init__(self, body):
        super().__init__()
        self.said, self._open, self._kept = [], [], 0
        self.feed(body)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        kept = tag in KEPT or (tag != "html" and named.get("lang") == "en")
        if not kept and not self._kept:
            self.said += [named[name] for name in READ if named.get(name)]
        if tag not in VOID:
            self._open.append((tag, kept))
            self._kept += kept

    def handle_endtag(self, tag):
        while tag not in VOID and self._open:
            name, kept = self._open.pop()
            self._kept -= kept
            if name == tag:
                return

    def handle_data(self, data):
        if not self._kept and data.strip():
            self.said.append(" ".join(data.split()))


def english(body):
    """Sentences of ours in it that are not translated."""
    return [each for each in Ours(body).said if ENGLISH.search(each)]


@pytest.fixture
async def reader(two, visitor):
    """Somebody who reads Chinese, signed in at the first of two nodes."""
    (asked, _), *_ = two
    browser = await visitor(asked)
    browser.session.headers.update(CHINESE)
    await browser.sign_in()
    return browser


async def test_from_the_form_to_the_report_no_sentence_is_english(reader, csv, labelled):
    assert len(english((await reader.open("/", headers={"Accept-Language": "en"})).body)) > 10
    assert english((await reader.open("/")).body) == []
    page = await reader.search(("words", "no such thing"))
    assert english(page.body) == []
    assert "没有符合" in page.text
    page = await reader.search(("words", ""))
    assert (page.status, english(page.body)) == (422, [])
    page = await reader.search(("file", ("rows.csv", csv(0, 1, 2, 3))))
    assert english(page.body) == []
    assert "2 位所有者中有 2 位在" in page.text
    for part in told(await reader.open(f"{page.url}/events")):
        assert english(part["html"]) == []
        assert not ENGLISH.search(part["status"])
    await reader.open(f"{page.url}/predict")
    assert english(reader.page.body) == []
    few = labelled(0, 1, 2, 3, count=80)
    page = await reader.send(
        reader.page.url, [("file", ("rows.csv", csv(0, 1, 2, 3))), ("labelled", ("few.csv", few)), ("target", "digit")]
    )
    assert english(page.body) == []
    assert "的计划" in page.text
    left = re.search(r'<ul class="lines">(.*?)</ul>', page.body, re.DOTALL)[1]
    assert "发给 Other House" in left
    await reader.send(f"{page.url}/start", [("send", "1")])
    for part in told(await reader.open(f"{page.url}/events")):
        assert english(part["html"]) == []
        assert not ENGLISH.search(part["status"])
    for path in (page.url, f"{page.url}/report"):
        body = (await reader.open(path)).body
        assert '<html lang="zh">' in body
        assert english(body) == []
        assert "交叉验证" in body


def told(stream):
    """The parts of a stream of events."""
    found = [json.loads(line[6:]) for line in stream.body.splitlines() if line.startswith("data: ")]
    assert len(found) > 2
    return found


async def test_what_the_api_says_of_it_stays_english(reader, csv):
    page = await reader.search(("file", ("rows.csv", csv(0, 1, 2, 3))))
    answer = json.loads((await reader.open(f"{page.url}/answer")).body)
    assert answer["leaves"].startswith("The reduced set (")
    await reader.open(f"{page.url}/predict")
    plan = await reader.send(f"{page.url}/predict", [("file", ("rows.csv", csv(0, 1, 2, 3)))])
    id_ = plan.url.rpartition("/")[2]
    (reusing,) = [each for each in reader.running.node.reuser._sessions.values() if each.id == id_]
    assert any("under a pseudonym of yours" in sentence for sentence in reusing.plan.leaves)


async def test_the_switch_is_kept_and_stronger_than_what_the_browser_asks_for(start, visitor):
    (node,) = await start("node")
    browser = await visitor(node)
    page = await browser.open("/login", headers={"Accept-Language": "en"})
    assert '<html lang="en">' in page.body
    page = await browser.send("/language", [("language", "zh"), ("next", "/login")])
    assert page.url == "/login"
    assert '<html lang="zh">' in page.body
    assert "<h1>登录</h1>" in (await browser.open("/login", headers={"Accept-Language": "en"})).body
    page = await browser.send("/language", [("language", "xx"), ("next", "//evil.example")])
    assert '<html lang="zh">' in page.body


async def test_errors_stay_english_under_a_title_that_is_not(reader):
    page = await reader.open("/searches/0000")
    assert page.status == 404
    assert english(page.body) == []
    assert "这里没有这个东西" in page.text
    assert '<span lang="en">' in page.body
