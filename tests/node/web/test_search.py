"""Searching without JavaScript: the form is posted, and the whole answer comes as a page."""

import asyncio
import json
import re

import numpy as np
import pandas as pd
import pytest
from atoll.engine.errors import IntegrityError
from atoll.engine.islands import Island
from atoll.engine.semantic import LICENSES, SCENARIOS, SemanticSpec
from atoll.engine.specs import fit_rkme
from atoll.engine.specs.formats import to_npz
from atoll.engine.tables import Table
from atoll.node.cli.main import cli
from atoll.node.search.query import Privacy, Representation
from atoll.node.web import parts
from atoll.node.web.headers import CSP
from atoll.node.web.parts import MAX_UPLOAD
from atoll.node.web.search.words import PRIVACY, REPRESENTATIONS
from atoll.protocol.listings import Offers
from click.testing import CliRunner

SCRIPT = "<script>alert(1)</script>"
HOSTILE = SemanticSpec(
    SCRIPT, "**Loud** <img src=x onerror=alert(1)> [here](javascript:alert(2)) https://evil.example/ \u202e"
)


@pytest.fixture
async def browser(two, visitor):
    (asked, _), *_ = two
    made = await visitor(asked)
    await made.sign_in()
    return made


def parts_of(page):
    """(name, text) of the hits, in order."""
    hit = r'<h4>.*?<a href="/learnwares/[^"]*"><bdi>(.*?)</bdi></a></h4>\s*<p class="by">by <bdi[^>]*>(.*?)</bdi>'
    return re.findall(hit, page.body, re.DOTALL)


async def test_every_page_forbids_what_is_not_its_own(browser, csv):
    node = browser.running
    pages = [await browser.open("/"), await browser.open("/searches/0000"), await browser.search()]
    await browser.open("/")
    found = await browser.search(("words", "digits"), ("file", ("digits.csv", csv(0, 2))))
    pages += [found, await browser.open(f"{found.url}/picture"), await browser.open(f"{found.url}/events")]
    await browser.open("/")
    pages += [await browser.send("/logout", []), await browser.open("/login"), *pages[-1].history]
    assert len(parts_of(found)) == 2
    for page in pages:
        assert page.headers["Content-Security-Policy"] == CSP
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["Cache-Control"] == "no-store"
    bodies = [page.body for page in pages if isinstance(getattr(page, "body", None), str)]
    for body in bodies:
        assert not re.search(r"<script(?! src=\"/static/)|<style|\sstyle=|\son\w+=|javascript:", body)
        assert not re.search(r"(src|href|action)=\"(?!/|#)", body)
    for name in ("atoll.css", "atoll.js", "atoll.svg"):
        asset = await browser.open(re.search(rf"/static/{name}\?v=\w+", "".join(bodies))[0])
        assert (asset.status, "immutable" in asset.headers["Cache-Control"]) == (200, True)
        assert asset.headers["Content-Security-Policy"] == CSP
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", asset.body)
    for name in ("../pages.py", "%2e%2e%2fpages.py", "nothing.css"):
        assert (await browser.open(f"/static/{name}")).status == 404
    assert node.token not in "".join(bodies)


async def test_words_and_tags_find_learnwares(browser):
    page = await browser.search(("words", "digits 2"))
    assert parts_of(page) == [("Digits 2 3", "Other House")]  # what is found exactly is found alone
    assert "Nobody: this node has answered from what it knows." in page.text
    assert 'value="digits 2"' in page.body
    page = await browser.search(("words", "digitz"))
    assert len(parts_of(page)) == 2
    assert "2 learnwares" in page.text
    page = await browser.search(("task", "Regression"))
    assert "No learnware" in page.text
    assert re.search(r'value="Regression" checked', page.body)
    page = await browser.search(("task", "Regression"), ("task", "Classification"), ("library", "Scikit-learn"))
    assert len(parts_of(page)) == 2


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".parquet"])
async def test_rows_are_fitted_by_the_node_and_the_whole_answer_is_shown(browser, csv, digits, suffix, tmp_path):
    path = tmp_path / f"rows{suffix}"
    if suffix == ".csv":
        path.write_bytes(csv(0, 2))
    elif suffix == ".npy":
        np.save(path, digits.of(0, 2).values)
    else:
        pd.DataFrame(digits.of(0, 2).values, columns=digits.of(0).columns).to_parquet(path)
    page = await browser.search(("file", (f"my{suffix}", path.read_bytes())))
    assert {name for name, _ in parts_of(page)} == {"Digits 0 1", "Digits 2 3"}
    for said in (
        "The list and its order are certain", "2 of 2 owners answered", "mixture of their data explains",
        "covered by none", "What these figures say", "exact", "similar",
        "You may see its reduced set, have its owner predict your rows",
        "The reduced set (", "goes to Other House", "Rows are fitted by this node (Asked House)", "in test",
        "signed listing", "atoll search --data FILE",
    ):  # fmt: skip
        assert said in page.text, said
    assert page.body.count('<g class="s') >= 3
    assert "<title id=" in page.body
    assert "<desc id=" in page.body


async def test_a_specification_is_searched_by_as_it_is(browser, digits):
    island = digits.island()
    rkme = fit_rkme(island.transform(digits.of(2, 3)), size=40)
    for name, data in (("mine.rkme", rkme.to_bytes()), ("mine.npz", to_npz(rkme))):
        page = await browser.search(("file", (name, data)))
        assert parts_of(page)[0][0] == "Digits 2 3"
        assert f"{len(rkme.weights)} points for {rkme.count} rows" in page.text


async def test_a_specification_that_could_be_of_several_islands_asks_which(browser, digits):
    own, values = digits.island(), digits.values
    other = Island.mint(Table(values, tuple(f"other_{place:02d}" for place in range(64))))
    await browser.running.client.add_island(other)
    data = fit_rkme(own.transform(digits.of(2, 3)), size=40).to_bytes()
    await browser.open("/")
    page = await browser.search(("file", ("mine.rkme", data)))
    assert page.status == 422
    assert "can be of 2 islands" in page.text
    assert "choose the island that it was fitted in" in page.text
    assert f'value="{own.id}"' in page.body
    page = await browser.search(("file", ("mine.rkme", data)), ("island", own.id))
    assert parts_of(page)[0][0] == "Digits 2 3"


async def test_a_search_is_refined_with_the_data_that_it_had(browser, csv):
    page = await browser.search(("file", ("digits.csv", csv(2, 3))))
    same = re.search(r'name="same" value="(\w+)"', page.body)[1]
    page = await browser.search(("same", same), ("library", "Scikit-learn"), ("privacy", "local"))
    assert [name for name, _ in parts_of(page)] == ["Digits 2 3", "Digits 0 1"]
    assert "Nothing leaves this node" in page.text
    assert "estimated" in page.text
    gone = await browser.search(("same", "0" * 16))
    assert (gone.status, "not remembered" in gone.text) == (422, True)


async def test_the_picture_shows_the_hits_that_are_chosen(browser, csv):
    page = await browser.search(("file", ("digits.csv", csv(0, 2))))
    values = re.findall(r'name="show" value="(\S+\.\S+)"', page.body)
    assert len(values) == 2
    mixed = dict(re.findall(r'<rect class="s(\d)" width="10".*?<bdi>(.*?)</bdi>', page.body)[::-1])
    drawn = dict(re.findall(r'<g class="s(\d)"><circle cx="5".*?<bdi>(.*?)</bdi>', page.body, re.DOTALL))
    assert mixed
    assert {series: drawn[series] for series in mixed} == mixed  # the same colours
    one = await browser.open(f"{page.url}/picture", params={"show": values[1]})
    assert one.body.count("<circle") < (await browser.open(f"{page.url}/picture")).body.count("<circle")
    assert re.findall(r'value="(\S+)" checked', one.body) == [values[1]]
    whole = await browser.open(page.url, params={"show": values[0]})
    assert re.findall(r'name="show" value="(\S+)" checked', whole.body) == [values[0]]
    assert (await browser.open(f"{page.url}/picture", params={"show": "mine"})).body.count('<g class="s') == 2


async def test_who_did_not_answer_is_named_with_the_reason(browser, two, held, csv):
    (_, other), *_ = two
    held(other)
    page = await browser.search(("file", ("digits.csv", csv(0, 2))))
    assert "1 owner did not answer: Other House" in page.text
    assert "The list is not certain" in page.text
    assert re.search(r"Other House did not answer: \w+", page.text)
    assert "Asked House answered" in page.text


async def test_what_is_saved_is_proven_offline_by_what_owners_have_signed(browser, csv, tmp_path):
    page = await browser.search(("file", ("digits.csv", csv(0, 2))))
    links = re.findall(r'href="(/searches/\w+/(?:answer|listings/\S+?))" download', page.body)
    assert len(links) == 3
    for number, link in enumerate(links):
        given = await browser.open(link)
        assert "attachment" in given.headers["Content-Disposition"]
        path = tmp_path / f"{number}.json"
        path.write_text(given.body)
        proven = await asyncio.to_thread(CliRunner().invoke, cli, ["verify", str(path), "--json"])
        assert proven.exit_code == 0, proven.output
        assert [proof["faults"] for proof in json.loads(proven.stdout)] == [[]] * (2 if "answer" in link else 1)
        path.write_text(given.body.replace("Digits", "Dogs"))
        proven = await asyncio.to_thread(CliRunner().invoke, cli, ["verify", str(path)])
        assert isinstance(proven.exception, IntegrityError)
    assert (await browser.open(f"{page.url}/listings/0000.nobody")).status == 404


async def test_what_peers_write_is_shown_as_text(federated, publish, changed, until, visitor, csv):
    (asked, other), federation = await federated("asked", "<b>other")
    await publish(other, federation, Offers(disclose="members"), 0, 1, semantic=HOSTILE)
    owned = bytes.fromhex(federation), other.node.identity.public
    await changed(asked, lambda: len(asked.node.catalogue.of_owner(*owned)) == 1)
    await until(asked, lambda: asked.node.catalogue.islands() != [])
    browser = await visitor(asked)
    await browser.sign_in()
    page = await browser.search(("words", SCRIPT), ("file", ("digits.csv", csv(0, 1))))
    stream = await browser.open(f"{page.url}/events")
    for body in (page.body, html_of(stream.body), (await browser.open(f"{page.url}/picture")).body):
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in body
        for raw in (SCRIPT, "<img src=x", "<b>other", 'href="javascript', 'href="https'):
            assert raw not in body
    assert "&lt;b&gt;other" in page.body
    assert "[here](javascript:alert(2)) https://evil.example/" in page.text
    assert ("Loud" in page.text, "**" in page.text) == (True, False)


def html_of(stream):
    """The parts of a stream put together."""
    return "".join(json.loads(line[6:])["html"] for line in stream.splitlines() if line.startswith("data: "))


async def test_the_search_is_followed_as_it_goes_and_goes_on_after_the_last_event(browser, csv):
    page = await browser.search(("file", ("digits.csv", csv(0, 2))))
    whole = (await browser.open(f"{page.url}/events")).body
    events = re.findall(r"id: (\d+)\nevent: (\w+)\ndata: (.*)\n\n", whole)
    assert [int(id_) for id_, *_ in events] == list(range(1, len(events) + 1))
    assert [event for _, event, _ in events] == ["part"] * (len(events) - 1) + ["end"]
    told = [json.loads(data) for *_, data in events]
    assert "goes to Other House" in told[0]["html"]
    assert "waiting for 2 of 2 owners" in told[0]["status"]
    assert {part["into"] for part in told} == {"results", "hits", "peers", ""}
    assert "2 learnwares; 2 of 2 owners answered" in told[-1]["status"]
    rest = (await browser.open(f"{page.url}/events", headers={"Last-Event-ID": str(len(events) - 2)})).body
    assert rest == "".join(f"id: {id_}\nevent: {event}\ndata: {data}\n\n" for id_, event, data in events[-2:])
    assert (await browser.open(f"{page.url}/events", headers={"Last-Event-ID": "soon"})).status == 400


FAULTS = [
    ([], "words", "Say what you are looking for"),
    ([("words", "x" * 401)], "words", "At most 400 characters"),
    ([("task", "Alchemy")], "tags", "choose from the list"),
    ([("words", "x"), ("privacy", "public")], "privacy", "Choose one of these"),
    ([("words", "x"), ("limit", "1000")], "limit", "Choose one of these"),
    ([("file", ("rows.exe", b"MZ"))], "file", "Give a table"),
    ([("file", ("rows.csv", b""))], "file", "This file is empty"),
    ([("file", ("rows.csv", b"a,b\n1,2\n"))], "file", "This node knows no island of tables yet"),
    ([("file", ("rows.npy", b"\x93NUMPY garbage"))], "file", "Not a plain numeric array"),
    ([("file", ("mine.rkme", b"garbage"))], "file", "Not an RKME"),
    ([("file", ("big.csv", b"1" * (MAX_UPLOAD + 1)))], "file", "Larger than the 32 MiB"),
]


async def test_faults_are_told_beside_their_field(start, visitor):
    (node,) = await start("node")
    browser = await visitor(node)
    await browser.sign_in()
    for fields, name, said in FAULTS:
        page = await browser.search(*fields)
        assert page.status == 422, said
        (told,) = re.findall(rf'id="{name}-error" role="alert">(.*?)</p>', page.body)
        assert said in told.replace("&#39;", "'")
    await browser.open("/")
    fields, name, said = FAULTS[0]
    scripted = await browser.search(*fields, headers={"Accept": "application/json"})
    assert (scripted.status, said in json.loads(scripted.body)["errors"][name]) == (422, True)


async def test_rows_with_holes_and_few_rows_are_refused_in_words(browser, csv):
    lines = csv(0, 1).split(b"\n")
    holes = b"\n".join([*lines[:5], b"," + lines[5].split(b",", 1)[1], *lines[6:]])
    page = await browser.search(("file", ("rows.csv", holes)))
    assert "1 cells are empty, NaN or infinite, in columns pixel_00" in page.text
    assert len(parts_of(await browser.search(("file", ("rows.csv", holes)), ("impute", "1")))) == 2
    page = await browser.search(("file", ("rows.csv", b"\n".join(lines[:4]))))
    assert "too few" in page.text
    page = await browser.search(("file", ("rows.csv", b"\n".join([*lines[:9], b"x" + lines[9]]))))
    assert "Line 10, column pixel_00: 'x0' is not a number" in page.text
    page = await browser.search(("file", ("rows.csv", b"a,b\n1,2\n")))
    assert "64 columns are missing: pixel_00" in page.text


async def test_bodies_that_no_form_sends_are_refused(start, visitor):
    (node,) = await start("node")
    browser = await visitor(node)
    await browser.sign_in()
    for data, kind in (
        (b"csrf=1", "application/x-www-form-urlencoded"),
        (b"nonsense", "multipart/form-data; boundary=x"),
        (b"nonsense", "multipart/form-data"),
        (b"", "multipart/form-data; boundary=x"),
        (b"x" * 20_000, "application/x-www-form-urlencoded"),
    ):
        for path in ("/search", "/logout"):
            async with browser.session.post(node.url + path, data=data, headers={"Content-Type": kind}) as response:
                assert response.status in (400, 403), (path, kind)


async def test_a_field_has_one_file_so_that_its_limit_is_one(start, visitor, monkeypatch):
    appended = []
    monkeypatch.setattr(parts, "_append", lambda path, piece: appended.append(len(piece)))
    (node,) = await start("node")
    browser = await visitor(node)
    await browser.sign_in()
    for second in ("rows.csv", "rows.npy"):
        appended.clear()
        page = await browser.search(("file", ("rows.csv", b"a\n1\n")), ("file", (second, b"2\n")))
        assert (page.status, "ot the form of this page" in page.text) == (400, True)
        assert appended == [4]


async def test_the_form_offers_the_vocabularies_and_every_privacy(start, visitor):
    (node,) = await start("node")
    browser = await visitor(node)
    page = await browser.sign_in()
    for value in (*LICENSES, *SCENARIOS):
        assert f'value="{value}"' in page.body
    assert set(PRIVACY) == set(Privacy.__args__)
    assert set(REPRESENTATIONS) == set(Representation.__args__)
    for value, said in PRIVACY.items():
        assert f'name="privacy" value="{value}"' in page.body
        assert said.leaves in page.text
    assert "No learnware is known here yet" in page.text
