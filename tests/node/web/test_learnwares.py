"""Browsing the catalogue, and the page of one learnware: what an owner sees, what others may, what nobody does."""

import asyncio
import importlib
import io
import json
import re
import time
import zipfile
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import numpy as np
import pytest
from atoll.engine.islands import Island
from atoll.engine.packages.convert import to_onnx
from atoll.engine.packages.pack import pack
from atoll.engine.runtime import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.engine.tables import Table
from atoll.node.acceptance.submissions import LabelledRows
from atoll.node.api.downloads import Fetching
from atoll.node.client.proof import proofs
from atoll.node.clock import now_ms
from atoll.node.errors import NodeBusy
from atoll.node.search.query import SearchResult
from atoll.node.web.learnwares.kept import AT_A_TIME, Kept
from atoll.protocol.listings import Offers
from browser import choose, serious, sign_in
from msgspec import json as typed
from playwright.async_api import expect
from sklearn.linear_model import LogisticRegression

BENCHMARKS = Path(__file__).parents[3] / "examples" / "benchmarks"
COLUMNS, CLASSES = ("age", "dose", "weight"), ("well", "<b>ill</b>")
DESCRIPTION = """# Risk of *sepsis*

<script>alert("owned")</script> <img src=x onerror=alert(1)> [here](javascript:alert(2))
[data](https://data.example/set) ![curve](https://data.example/curve.png)
"""
ASKED = Offers(predict="members", download="ask")
GIVEN = Offers(disclose="members", predict="members", download="members")


def patients(count=400):
    random = np.random.default_rng(5)
    rows = random.normal((50.0, 5.0, 70.0), (15.0, 2.0, 12.0), (count, 3))
    return rows, (rows[:, 1] > 5.0).astype(int)


def island():
    return Island.mint(Table(patients()[0], COLUMNS), units={"weight": "kg"})


@pytest.fixture
def sepsis():
    """``await sepsis(node, federation, offers, name)``: a learnware of three named features at a node -> its id."""

    async def publish(running, federation, offers, name="Sepsis risk", labelled=None):
        rows, labels = patients()
        await running.client.add_island(island())
        model, package = LogisticRegression(max_iter=2000).fit(rows, labels), io.BytesIO()
        pack(
            package, to_onnx(model, 3), Table(rows, COLUMNS), island(),
            SemanticSpec(name, DESCRIPTION, scenario=("Health",), license="MIT"), Signature("classification", 3, 2),
            owner=running.node.identity.peer, created_at=now_ms(), salt=bytes(16), class_names=CLASSES, size=20,
        )  # fmt: skip
        learnware = await running.client.add_learnware(package.getvalue(), labelled)
        if federation:
            await running.client.publish(learnware.learnware_id, federation, offers)
        return learnware.learnware_id

    return publish


@pytest.fixture
def many(monkeypatch):
    """``many(node, federation, count)`` puts listings of another owner into a catalogue, as they come from it."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    made = importlib.import_module("catalogue")

    def fill(running, federation, count, seed=1, issued_at=0):
        key = made.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        head, signed = made.signed_log(key, bytes.fromhex(federation), count, seed, now_ms())
        if issued_at:
            signed = [
                made.sign_listing(key, msgspec.structs.replace(each.listing, issued_at=issued_at)) for each in signed
            ]
            root = made.root_of(map(made.Line.of, signed))
            head = made.sign_head(key, msgspec.structs.replace(head.head, root=root))
        proof = made.certificate(running.node.identity.key, bytes.fromhex(federation), key, now_ms())
        records = [each.record for each in signed]
        running.node.catalogue.apply(bytes.fromhex(federation), proof, head.record, records, now_ms(), whole=True)
        return [each.listing for each in signed]

    return fill


def names(page):
    return re.findall(r'<h2><a href="[^"]*"><bdi>([^<]*)</bdi>', page.body)


def csv_of(rows, more=()):
    lines = [",".join([*COLUMNS, *more])] + [",".join([*(f"{value:.3f}" for value in row), *more]) for row in rows]
    return "\n".join(lines).encode()


async def test_the_catalogue_is_filtered_sorted_and_paged(federated, sepsis, visitor, many):
    (node,), federation = await federated("House")
    own = await sepsis(node, federation, Offers())
    listed = await asyncio.to_thread(many, node, federation, 300)
    browser = await visitor(node)
    page = await browser.open("/learnwares")
    assert page.url == "/login"
    await browser.sign_in()
    page = await browser.open("/learnwares?sort=name")
    assert "301 learnwares" in page.text
    assert "1 to 25 are here" in page.text
    assert names(page) == [each.semantic.name for each in sorted(listed, key=lambda one: one.semantic.name)][:25]
    seen, address = set(), "/learnwares?sort=name"
    while address:
        page = await browser.open(address)
        found = re.findall(r'<h2><a href="/learnwares/([0-9a-f]{64})', page.body)
        assert not seen & set(found)
        seen |= set(found)
        address = next(iter(re.findall(r'rel="next" href="([^"]*)"', page.body)), "").replace("&amp;", "&")
    assert seen == {own, *(each.learnware_id.hex() for each in listed)}
    licensed = [each for each in listed if each.semantic.license == "GPL-3.0"]
    page = await browser.open("/learnwares?license=GPL-3.0")
    assert f"{len(licensed)} of 301 learnwares" in page.text
    page = await browser.open("/learnwares?words=sepsis")
    assert names(page) == ["Sepsis risk"]
    assert "of this node" in page.text
    page = await browser.open("/learnwares?words=sepsys+rsk")
    assert names(page) == ["Sepsis risk"]  # only alike, where nothing has the words
    page = await browser.open("/learnwares?may=download")
    assert names(page) == ["Sepsis risk"]  # of others nothing is offered
    page = await browser.open(
        f"/learnwares?owner={node.node.identity.peer}&federation={federation}&task=Classification"
    )
    assert names(page) == ["Sepsis risk"]
    page = await browser.open("/learnwares?page=9999&sort=owner")
    assert "301 to 301 are here" in page.text
    for junk in ("page=-1", "page=x", "sort=best", "may=everything", "task=%00", "owner=nobody", "words=" + "x" * 3000):
        assert (await browser.open(f"/learnwares?{junk}")).status == 200
    await node.client.set_state(own, federation, "paused")
    assert "paused" in (await browser.open("/learnwares?words=sepsis")).text
    (future,) = await asyncio.to_thread(many, node, federation, 1, 2, issued_at=2**53 - 1)
    page = await browser.open("/learnwares")
    assert (page.status, future.semantic.name in names(page)) == (200, False)  # what comes from the future is not new
    assert (await browser.open(f"/learnwares?{urlencode({'words': future.semantic.name})}")).status == 200
    page = await browser.open(f"/learnwares/{future.learnware_id.hex()}")
    assert (page.status, "9999-12-31" in page.text) == (200, True)


async def test_an_owner_sees_all_of_its_own(federated, sepsis, visitor):
    (node,), federation = await federated("House")
    rows, labels = patients(100)
    truth = tuple(CLASSES[label] for label in labels)
    own = await sepsis(node, federation, ASKED, labelled=LabelledRows(COLUMNS, tuple(map(tuple, rows.tolist())), truth))
    browser = await visitor(node)
    await browser.sign_in()
    page = await browser.open(f"/learnwares/{own[:9]}")
    assert page.url == f"/learnwares/{own}"
    assert "<h3>Risk of <em>sepsis</em></h3>" in page.body  # below the page's own headings
    assert '<script>alert("owned")' not in page.body
    assert "<img src=x" not in page.body
    assert '<a href="https://data.example/curve.png" rel="nofollow noopener noreferrer">curve</a>' in page.body
    assert "javascript:" not in re.sub(r">[^<]*<", "><", page.body)
    assert page.body.count("<circle") >= 20  # the reduced set, drawn
    assert re.search(r"95% interval: 9\d\.\d% to (9\d\.\d|100)%", page.text), page.text
    assert "weight kg" in page.text
    assert "What it went through before this dock took it in" in page.text
    assert "passed" in page.text
    assert "Nobody has done anything with it yet" in page.text
    assert f"{node.url}/api/v1/catalogue/{own}/predictions" in page.text
    package = await browser.session.get(f"{node.url}/learnwares/{own}/package")
    assert "manifest.json" in zipfile.ZipFile(io.BytesIO(await package.read())).namelist()
    assert package.headers["Content-Security-Policy"]
    at = f"/learnwares/{own}/predictions"
    page = await browser.send(at, [("v0", "60"), ("v1", "much"), ("v2", "70")])
    assert page.status == 422
    assert "A number." in page.text
    assert 'value="60"' in page.body
    page = await browser.send(at, [("file", ("rows.csv", csv_of(patients(201)[0])))])
    assert (page.status, "At most 200 rows" in page.text) == (422, True)
    page = await browser.send(at, [("v0", "60"), ("v1", "9.5"), ("v2", "70")])
    assert page.status == 200
    assert "<b><bdi>&lt;b&gt;ill&lt;/b&gt;</bdi></b>" in page.body
    assert "no row has left it" in page.text
    page = await browser.send(at, [])
    assert "Give a file, or type the values of a row." in page.text
    unlisted = await sepsis(node, "", ASKED, name="A draft")
    page = await browser.open(f"/learnwares/{unlisted}")
    assert "listed nowhere" in page.text
    reader = await visitor(node)
    await reader.sign_in((await node.client.create_token("reader", ("read",), 1)).secret)
    page = await reader.open(f"/learnwares/{own}")
    assert "may look, but not predict" in page.text
    assert "went through" not in page.text  # checks are for those who publish
    assert (await reader.send(at, [("v0", "60"), ("v1", "9"), ("v2", "7")])).status == 403


@pytest.fixture
async def offered(federated, sepsis, visitor, changed):
    """``await offered(offers)``: its owner and another node, the federation, the learnware, and a browser there."""

    async def list_it(offers):
        (owner, asker), federation = await federated("Clinic", "Institute")
        id_ = await sepsis(owner, federation, offers)
        owned = bytes.fromhex(federation), owner.node.identity.public
        await changed(asker, lambda: len(asker.node.catalogue.of_owner(*owned)) == 1)
        await asker.client.add_island(island())
        browser = await visitor(asker)
        await browser.sign_in()
        return owner, asker, federation, id_, browser

    return list_it


async def test_others_predict_look_and_ask_as_the_policy_lets_them(offered, changed):
    owner, asker, federation, asked, browser = await offered(ASKED)
    page = await browser.open(f"/learnwares/{asked}")
    assert "by Clinic · test" in page.text
    assert "atoll learnware ask" in page.text
    assert "atoll fetch" not in page.text
    assert "The reduced set is not disclosed" in page.text
    assert "<circle" not in page.body
    assert "You may not download it now." in page.text
    at = f"/learnwares/{asked}"
    page = await browser.send(f"{at}/predictions", [("v0", "60"), ("v1", "9.5"), ("v2", "70")])
    assert "Tick this if the rows may leave this node." in page.text
    rows, _ = patients(3)
    given = [("file", ("mine.csv", csv_of(rows, more=("0",)))), ("send", "1")]
    page = await browser.send(f"{at}/predictions", given)
    assert "3 predictions" in page.text
    assert "Predicted by its owner." in page.text
    acts = [row.act for row in (await asker.client.audit()).items]
    assert acts.count("reuse.predict") == 2  # asked and done, of the one whose rows might leave
    page = await browser.send(f"{at}/points", [])
    assert "the stand-in that it gives instead" in page.text
    assert page.body.count("<circle") > 5
    page = await browser.send(f"{at}/ask", [("download", "1"), ("words", "for a study")])
    assert "asked, not answered yet" in page.text
    assert "Ask how it stands" in page.text
    (request,) = await owner.client.requests()
    assert (request.words, request.act) == ("for a study", "download")
    await owner.client.grant(request.id)
    page = await browser.send(f"{at}/ask", [])
    assert "granted to your node until" in page.text
    assert "Ask how it stands" not in page.text
    assert f"atoll fetch {asked}" in page.text
    await owner.client.publish(asked, federation, GIVEN)
    await changed(asker, lambda: asker.node.catalogue.find(bytes.fromhex(asked), now_ms()).offers == GIVEN)
    page = await browser.send(f"{at}/points", [])
    assert "as its owner discloses it to you" in page.text


async def test_a_package_that_is_given_is_fetched_saved_and_run_here_until_it_is_taken_down(offered, changed):
    owner, asker, federation, given, browser = await offered(GIVEN)
    at = f"/learnwares/{given}"
    await browser.send(f"{at}/fetch", [])
    async with browser.session.get(f"{asker.url}{at}/fetch/events") as stream:
        told = (await stream.read()).decode()
    assert "event: end" in told
    page = await browser.open(at)
    assert "Save the package" in page.text
    assert "javascript:" in page.text  # all of the description, now that the package is here
    package = await browser.session.get(f"{asker.url}{at}/package")
    assert "manifest.json" in zipfile.ZipFile(io.BytesIO(await package.read())).namelist()
    saved = await browser.session.get(f"{asker.url}{at}/listing")
    answer = typed.decode(await saved.read(), type=SearchResult)
    assert [proof.faults for proof in proofs(answer)] == [()]
    page = await browser.send(f"{at}/predictions", [("v0", "60"), ("v1", "1.5"), ("v2", "70")])
    assert "no row has left it" in page.text
    await owner.client.take_down(federation, owner.node.identity.peer, given)
    await changed(asker, lambda: asker.node.catalogue.versions(bytes.fromhex(given), now_ms()) == [])
    page = await browser.open(at)
    assert page.status == 404
    assert "taken down by an admin" in page.text
    assert "Sepsis" not in page.text


async def test_only_so_many_learnwares_are_fetched_for_a_user_at_a_time():
    kept = Kept()
    for number in range(AT_A_TIME):
        kept.check_room("one")
        kept.begin("one", bytes([number]), fetching := Fetching(None, "one", {}))
    with pytest.raises(NodeBusy):
        kept.check_room("one")
    kept.check_room("another")
    fetching.task = asyncio.create_task(fetching.run())
    await fetching.task
    kept.check_room("one")


async def test_whoever_is_unknown_sees_what_is_promised_to_anyone(anonymous, federated, sepsis, publish, visitor):
    (node,), federation = await federated("House")
    open_ = await sepsis(node, federation, Offers(match="anyone"))
    closed = await publish(node, federation, Offers(), 0, 1)
    browser = await visitor(node)
    page = await browser.open("/")
    assert 'href="/learnwares"' in page.body
    page = await browser.open("/learnwares")
    assert names(page) == ["Sepsis risk"]
    assert "1 learnware" in page.text
    page = await browser.open(f"/learnwares/{open_}")
    assert page.status == 200
    assert ">of this node<" not in page.body
    assert "went through" not in page.text
    assert "Try it" not in page.text
    assert "<circle" not in page.body
    for called in (closed, closed[:8], "0" * 64, "nonsense", "a" * 65):
        page = await browser.open(f"/learnwares/{called}")
        assert page.status == 404, called
        assert "Digits" not in page.text
    for act in ("ask", "predictions", "fetch"):
        page = await browser.send(f"/learnwares/{open_}/{act}", [], token="x")
        assert page.status == 401, act
    page = await browser.open(f"/learnwares/{open_}/package")
    assert page.url == "/login"
    assert json.loads((await browser.open(f"/learnwares/{open_}/listing")).body)["hits"][0]["name"] == "Sepsis risk"


@pytest.mark.slow
async def test_a_page_of_ten_thousand_comes_in_tens_of_milliseconds(federated, visitor, many):
    (node,), federation = await federated("House")
    await asyncio.to_thread(many, node, federation, 10_000)
    browser = await visitor(node)
    await browser.sign_in()
    taken = {}
    for path in ("/learnwares", "/learnwares?license=MIT&sort=name", "/learnwares?words=digits+wine"):
        await browser.open(path)
        times = []
        for _ in range(5):
            started = time.perf_counter()
            page = await browser.open(path)
            times.append(time.perf_counter() - started)
        taken[path] = min(times)
        assert len(names(page)) == 25
        assert len(page.body) < 60_000
    assert max(taken.values()) < 0.5, taken  # on a busy machine; alone 0.04 to 0.12


async def test_the_pages_are_fit_for_everybody(federated, sepsis, publish, page):
    (node,), federation = await federated("House")
    own = await sepsis(node, federation, ASKED)
    await publish(node, federation, Offers(), 0, 1)
    await sign_in(page, node)
    await page.goto(f"{node.url}/learnwares")
    assert await serious(page) == []
    await page.fill("#words", "sepsis")
    await expect(page.locator(".entry")).to_have_count(1)
    assert "words=sepsis" in page.url
    await page.hover(".entry h2 a")
    await page.mouse.down()  # which takes the focus from the words
    await page.evaluate("fetch(location.href).then((answer) => answer.text())")
    await page.mouse.up()
    await expect(page.locator("h1")).to_have_text("Sepsis risk")
    await expect(page.locator("[data-copies]").first).to_be_visible()
    await page.locator("[data-copies]").nth(1).click()
    await expect(page.locator("[data-copies]").nth(1)).not_to_have_text("Copy")
    for place, value in enumerate(("60", "9.5", "x")):
        await page.fill(f"#v{place}", value)
    await page.click("#go")
    await expect(page.locator("#v2-error")).to_have_text("A number.")
    await page.fill("#v2", "70")
    await page.click("#go")
    await expect(page.locator("#tried td bdi").first).to_have_text("<b>ill</b>")
    assert await serious(page) == []
    await page.fill("#v2", "x")
    await page.click("#go")
    await expect(page.locator("#v2-error")).to_have_text("A number.")
    await expect(page.locator("#tried")).to_be_empty()  # those were of other values
    await choose(page, "zh", "dark")
    for path in ("/learnwares", f"/learnwares/{own}"):
        await page.goto(f"{node.url}{path}")
        assert await serious(page) == [], path
    await page.set_viewport_size({"width": 360, "height": 740})
    for path in ("/learnwares", f"/learnwares/{own}"):
        await page.goto(f"{node.url}{path}")
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
