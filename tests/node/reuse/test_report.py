"""The report: what a stranger shows to somebody who was not there."""

import html
import re
import shutil
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from atoll.node.reuse import plots, report, words
from atoll.node.reuse.query import Form, Method, Place
from atoll.node.reuse.report import Asked, page
from atoll.node.reuse.result import MemberReport, ReuseReport
from playwright.async_api import async_playwright

CHROMIUM = shutil.which("chromium")
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202e"
LONG = "Zentrum für Donaudampfschifffahrtsgesellschaftskapitänspatente" * 3 + " 測定研究所 " + "Ж" * 90
TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "div", "p", "span",
    "strong", "bdi", "br", "h1", "h2", "ul", "li", "dl", "dt", "dd", "figure", "figcaption", "table", "caption",
    "thead", "tbody", "tr", "th", "td", "pre", "code", "svg", "rect", "line", "ellipse", "path", "g", "circle",
    "details", "summary",
}  # fmt: skip


def member(place: Place = "local", weight=0.5, **changes) -> MemberReport:
    made = MemberReport("ab" * 32, "12D3KooWowner", "North Museum", "Bags", "MIT", place, weight, 500, 500, 1.5, "", "")
    return msgspec.structs.replace(made, **changes)


BOOTS = member("remote", name="Boots", owner="12D3KooWclinic", owner_name="Harbour Clinic")
CLASSES = ReuseReport(
    "reuse1", "search1", "pruning", "the best on your 100 labelled rows", "rkme", "classification", ("bag", "boot"),
    61_000, 41_000, 20_000, 1_000, 100, 0.034, (member(), BOOTS),
    ("20 000 rows go to Harbour Clinic, which sees them.",), {"routing": (0.098, 0.015), "pruning": (0.064, 0.011)},
    "About 6.4% of the rows are wrong.", ("Licences differ: MIT, GPL-3.0.",), {"bag": 45_000, "boot": 15_000}, None,
    (0,) * 10 + (1_000,) * 6 + (13_500,) * 4, 4_800,
)  # fmt: skip
VALUES = ReuseReport(
    "reuse2", "search2", "routing", "there are no labelled rows", "sketch", "regression", (), 1_000, 1_000, 0, 0, 0,
    0.0, (member(weight=1.0),), (), {}, "", (), {}, ((-30.0, 0.0, 30.0, 60.0), (100, 600, 300)), (), 900,
)  # fmt: skip
HOSTILE = msgspec.structs.replace(
    CLASSES, chosen_because=EVIL, leaves=(EVIL,), warnings=(EVIL, LONG), expected=EVIL, class_counts={EVIL: 5, LONG: 3},
    members=tuple(
        member(weight=0.1, name=name, owner_name=LONG, license=EVIL, failed=EVIL, quality=EVIL, rows_answered=4)
        for name in [EVIL, LONG] * 5
    ),
)  # fmt: skip
# Figures that stand on more than one line.
BROKEN = """[...document.querySelectorAll("td.number")].filter((cell) => {
  const first = document.createRange();
  first.selectNodeContents(cell.firstChild ?? cell);
  return first.getClientRects().length > 1;
}).map((cell) => cell.textContent)"""
ASKED = Asked(
    "rows.csv", "few.csv", "garment", "https://atoll.example.org", "atoll predict rows.csv", 1_795_000_000_000
)


class Read(HTMLParser):
    """A page as a machine reads it: elements with their attributes, and the order of headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def seen(text: str) -> str:
    """What a person reads."""
    body = text.partition("<body>")[2]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).replace("\N{NARROW NO-BREAK SPACE}", " ").split())


def test_it_begins_with_the_answer_and_how_good_it_is():
    text = seen(page(CLASSES, ASKED))
    order = [
        "Predictions of garment for 61 000 rows", "Rows predicted 60 000 of 61 000",
        "Expected error rate 6.4% 95% interval 3.0% to 13.0%, measured on 100 labelled rows", "Models 2 of 2 owners",
        "Rows sent to owners 20 000", "most often bag (75.0%)",
        "By ensemble pruning (the best on your 100 labelled rows)",
        "About 6.4% of the rows are wrong.", "Licences differ: MIT, GPL-3.0.", "How that is known",
        "predicted in every way", "3.4% of the rows are unlike", "What these figures say", "What was predicted",
        "Whose models",
        "Share of the answers", "North Museum",
        "What left, and to whom", "20 000 rows go to Harbour Clinic", "How to repeat it", "atoll predict rows.csv",
        "Search search1 , reuse reuse1", "Exactly these models", "ab" * 32, "Made by Atoll",
    ]  # fmt: skip
    places = [text.find(words_) for words_ in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)


def test_without_labels_it_claims_no_quality():
    text = seen(page(VALUES))
    assert "Expected root mean squared error unknown not measured: there were no labelled rows" in text
    assert "Nobody has measured it on data like yours." in text
    assert "--labelled few.csv" not in text  # who has asked by the page has no use for it
    assert "--labelled few.csv" in seen(page(VALUES, Asked(command="atoll predict rows.csv")))
    assert "Rows sent to owners none" in text
    assert "Nothing left the node that was asked." in text
    same = msgspec.structs.replace(VALUES, members=(member(weight=1.0, revision="ab" * 32),))
    assert page(same).count("ab" * 32) == 1
    assert "from \N{MINUS SIGN}30 to 60" in text
    assert "The highest column: 600 rows between 0 and 30" in text
    assert "atoll predict DATA --method routing --form sketch --no-send -o predictions.csv --report report.html" in text


def test_what_was_predicted_on_a_page_can_be_repeated_on_a_line():
    text = seen(page(CLASSES))
    assert (
        "atoll predict DATA --target TARGET --labelled LABELLED --method pruning --form rkme --abstain --yes "
        "-o predictions.csv --report report.html"
    ) in text


def test_few_labelled_rows_and_failures_are_said():
    failed = msgspec.structs.replace(
        CLASSES, labelled=12, members=(member(failed="it went away", rows_answered=200), *CLASSES.members[1:])
    )
    text = seen(page(failed))
    assert "no measure: 12 labelled rows only" in text
    assert "So few are no measure" in text
    assert "1 of them not to the end" in text
    assert "Failed: it went away" in text
    assert "200 of 500 rows that it was asked about" in text


def test_labelled_rows_are_told_apart_from_the_others():
    few = member("remote", rows_asked=533, rows_answered=533, labelled_asked=100, labelled_answered=100)
    text = seen(page(msgspec.structs.replace(CLASSES, members=(few, member()), rows_remote=533)))
    assert "533 100 labelled rows among them; a row counts once for each owner that it went to" in text
    assert "433 and 100 labelled rows" in text
    assert words.rows(533, 100) == "433 of your rows and 100 labelled rows"
    assert [words.rows(1, 0), words.rows(100, 100)] == ["1 row", "100 labelled rows"]


@pytest.mark.parametrize("made", [CLASSES, VALUES, HOSTILE])
def test_the_page_loads_nothing_runs_nothing_and_has_no_element_that_others_wrote(made):
    text = page(made, msgspec.structs.replace(ASKED, data=EVIL, target=EVIL, command=EVIL, node=EVIL))
    read = Read(text)
    assert {tag for tag, _ in read.elements} <= TAGS
    for _, attributes in read.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "href", "style", "action")]
    (style,) = re.findall("<style>(.*?)</style>", text, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in report.POLICY
    assert EVIL.partition("<img")[0] not in text


@pytest.mark.parametrize("made", [CLASSES, VALUES, HOSTILE])
def test_those_who_hear_the_page_miss_nothing(made):
    read = Read(page(made, ASKED))
    assert read.all("html") == [{"lang": "en"}]
    headings = [tag for tag, _ in read.elements if tag in ("h1", "h2")]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1
    assert len(read.all("table")) == len(read.all("caption"))
    assert all(attributes.get("scope") in ("col", "row") for attributes in read.all("th"))
    for attributes in read.all("svg"):
        assert attributes.get("aria-hidden") == "true" or (attributes["role"] == "img" and attributes["aria-label"])
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["aria-labelledby"] for attributes in read.all("section")} <= set(ids)


def test_every_code_has_its_words():
    assert set(words.METHODS) == {*get_args(Method), "auto"}
    assert set(words.FORMS) == set(get_args(Form))
    assert set(words.PLACES) == set(get_args(Place))
    assert words.method("of another version") == "of another version"
    assert [words.percent(share) for share in (0, 0.0004, 0.034, 0.31, 0.999, 1)] == [
        "0%", "under 0.1%", "3.4%", "31.0%", "99.9%", "100%",
    ]  # fmt: skip


def test_plots_are_to_scale():
    shown, others, rows = plots.bars({"a": 1, "b": 4, "c": 2, "d": 1}, limit=2)
    assert [(bar.name, bar.width, bar.share) for bar in shown] == [("b", 50.0, 0.5), ("c", 25.0, 0.25)]
    assert (others, rows) == (2, 2)
    low, high = plots.columns([0.0, 1.0, 4.0], [2, 8])
    assert (low.x, low.width, low.y, low.height) == (0.0, 25.0, 75.0, 25.0)
    assert (high.x, high.width, high.y, high.height) == (25.0, 75.0, 0.0, 100.0)
    best, worst = plots.intervals({"x": (0.5, 0.0, 1.0), "y": (0.1, 0.0, 0.3)})
    assert (best.name, best.left) == ("y", 0.0)
    assert worst.right == pytest.approx(100 / plots.ROOM)
    assert [(each.x, each.width) for each in plots.stack([0.75, 0.25])] == [(0.0, 75.0), (75.0, 25.0)]
    assert plots.at_least([0] * 15 + [1, 1, 1, 1, 1], 0.8) == 0.8
    assert plots.columns([3.0, 3.0], [0])[0].height == 0.0
    assert plots.intervals({}) == ()


def test_the_templates_are_part_of_the_package():
    listed = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert "templates/*" in listed["package-data"]["atoll.node.reuse"]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
async def test_a_browser_shows_it_styled_and_nothing_sticks_out(tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page(HOSTILE, msgspec.structs.replace(ASKED, data=LONG, target=LONG)))
    faults = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        tab = await browser.new_page()
        tab.on("console", lambda told: faults.append(told.text))
        tab.on("dialog", lambda dialog: faults.append(dialog.message))
        for width in (360, 1280):
            await tab.set_viewport_size({"width": width, "height": 800})
            await tab.goto(path.as_uri())
            assert await tab.evaluate("document.documentElement.scrollWidth") <= width
            assert await tab.evaluate(BROKEN) == []
        ground = {}
        for scheme in ("light", "dark"):
            await tab.emulate_media(color_scheme=scheme)
            ground[scheme] = await tab.evaluate("getComputedStyle(document.body).backgroundColor")
        await browser.close()
    assert ground == {"light": "rgb(247, 246, 242)", "dark": "rgb(16, 24, 28)"}
    assert faults == []
