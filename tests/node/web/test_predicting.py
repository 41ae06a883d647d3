"""From what a search has found to predictions, without JavaScript: form, plan, consent, report."""

import csv as csv_files
import io
import re

import numpy as np
import pandas as pd
import pytest
from atoll.engine.semantic import SemanticSpec
from atoll.node.web.headers import CSP
from atoll.node.web.parts import MAX_UPLOAD
from atoll.protocol.listings import Offers

SCRIPT = "<script>alert(1)</script>"
HERE = Offers(disclose="members", predict="members", download="members")


@pytest.fixture
async def found(two, visitor, csv):
    """A browser that has searched by rows of the digits 0 to 3, half of which only the other node can predict."""
    (asked, _), *_ = two
    browser = await visitor(asked)
    await browser.sign_in()
    await browser.search(("file", ("digits.csv", csv(0, 1, 2, 3))))
    return browser


async def planned(browser, *fields):
    """The page of the plan, or of the form with its faults."""
    await browser.open(f"/searches/{search_of(browser.page)}/predict")
    return await browser.send(browser.page.url, fields)


async def ended(browser):
    """The page of a prediction once it has come to its end."""
    url = browser.page.url
    await browser.open(f"{url}/events")
    return await browser.open(url)


def search_of(page):
    return re.search(r"/searches/(\w+)", page.body)[1]


def fault(page, name):
    (told,) = re.findall(rf'id="{name}-error" role="alert">(.*?)</p>', page.body)
    return told.replace("&#39;", "'")


async def test_rows_are_predicted_where_the_plan_says_once_the_user_agrees(found, csv, digits):
    assert f'href="/searches/{search_of(found.page)}/predict">Predict these rows</a>' in found.page.body
    assert "atoll predict FILE --search-id" in found.page.text
    form = await found.open(f"/searches/{search_of(found.page)}/predict")
    for said in ("Give the file again", "Labelled rows (optional)", "What your search has found", "Digits 2 3"):
        assert said in form.text, said
    page = await planned(found, ("file", ("digits.csv", csv(0, 1, 2, 3))))
    rows = len(digits.of(0, 1, 2, 3).values)
    assert re.fullmatch(r"/reuses/\w+", page.url)
    for said in (
        f"The plan for {rows} rows", "1 runs here, 1 at its owner", "Nobody has been sent a row yet",
        "Rows of mine may leave this node, for Other House to predict them", "Only what runs here", "Digits 2 3",
    ):  # fmt: skip
        assert said in page.text, said
    early = [(await found.open(f"{page.url}/{each}")).status for each in ("predictions", "report")]
    assert early == [400, 400]
    await found.open(page.url)
    again = await found.send(f"{page.url}/start", [])
    assert (again.status, again.url) == (409, f"{page.url}/start")
    assert "Tick this if these rows may leave" in fault(again, "send")
    page = await found.send(f"{page.url}/start", [("send", "1")])
    assert re.fullmatch(r"/reuses/\w+", page.url)
    page = await ended(found)
    acts = [
        (row.act, row.subject.get("send"), row.outcome) for row in (await found.running.client.audit(0, 1000)).items
    ]
    assert [act for act in acts if act[0].startswith("reuse.")] == [
        ("reuse.plan", None, "asked"), ("reuse.plan", None, "done"), ("reuse.start", "no", "asked"),
        ("reuse.start", "no", "reuse.consent"), ("reuse.start", "yes", "asked"), ("reuse.start", "yes", "done"),
    ]  # fmt: skip
    for said in (f"Predictions for {rows} rows", "Whose models", "What left, and to whom", "Save the predictions"):
        assert said in page.text, said
    given = await found.open(f"{page.url}/predictions")
    assert (given.headers["Cache-Control"], given.headers["X-Frame-Options"]) == ("no-store", "DENY")
    assert "attachment" in given.headers["Content-Disposition"]
    lines = list(csv_files.DictReader(io.StringIO(given.body)))
    right = [line["label"] == str(label) for line, label in zip(lines, digits.labels_of(0, 1, 2, 3), strict=True)]
    assert np.mean(right) > 0.9
    report = await found.open(f"{page.url}/report")
    assert "attachment" in report.headers["Content-Disposition"]
    assert report.body.startswith("<!doctype html>")
    assert "Digits 2 3" in report.text
    assert "Asked at the node Asked House" in report.text


async def test_only_what_runs_here_is_another_plan_that_sends_no_rows(found, csv):
    page = await planned(found, ("file", ("digits.csv", csv(0, 1, 2, 3))))
    page = await found.send(f"{page.url}/here", [])
    assert "Rows that leave this node none" in page.text.replace("nodenone", "node none")
    assert "Rows of mine may leave" not in page.text
    assert "1 model cannot take part" in page.text
    page = await found.send(f"{page.url}/start", [])
    page = await ended(found)
    assert "no owner saw a row" in page.text
    assert "Without 'Digits 2 3'" in page.text


async def test_what_cannot_run_here_says_so_and_keeps_the_plan(found, csv):
    page = await planned(found, ("file", ("twos.csv", csv(2, 3))), ("members", "1"))
    url = page.url
    page = await found.send(f"{url}/here", [])
    if page.url == f"{url}/here":
        assert page.status == 403
        assert "The plan for" in page.text
        assert "Rows of mine may leave this node" in page.text


async def test_labelled_rows_choose_the_method_and_measure_it(found, csv, labelled):
    rows = labelled(0, 1, 2, 3, count=10_000)  # the answers among them are not looked at
    few = labelled(0, 1, 2, 3)
    page = await planned(found, ("file", ("all.csv", rows)), ("labelled", ("few.csv", few)), ("target", "digit"))
    assert "60 rows whose answer is known are predicted first" in page.text
    await found.send(f"{page.url}/start", [("send", "1")])
    page = await ended(found)
    assert "measured on 60 labelled rows" in page.text
    assert "Error rate on the labelled rows" in page.text


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
async def test_rows_come_in_any_format(found, digits, suffix, tmp_path):
    path, table = tmp_path / f"rows{suffix}", digits.of(0, 1)
    if suffix == ".npy":
        np.save(path, table.values)
    else:
        pd.DataFrame(table.values, columns=table.columns).to_parquet(path)
    page = await planned(found, ("file", (path.name, path.read_bytes())), ("runs", "here"))
    assert f"The plan for {len(table.values)} rows" in page.text


FAULTS = [
    ([], "file", "Give the rows that are to be predicted"),
    ([("file", ("rows.rkme", b"x"))], "file", "Give a table (.csv"),
    ([("file", ("rows.csv", b""))], "file", "This file is empty"),
    ([("file", ("rows.csv", b"a,b\n1,2\n"))], "file", "64 columns are missing: pixel_00"),
    ([("file", ("rows.csv", b"a,b\n1,x\n"))], "file", "Line 2, column b: 'x' is not a number"),
    ([("file", ("rows.csv", b"a,b\n"))], "file", "There are no rows"),
    ([("file", ("rows.csv", b"a,b\n1,\n"))], "file", "1 cells are empty, NaN or infinite, in columns b"),
    ([("file", ("rows.csv", b"a,b\n1,\n")), ("impute", "1")], "file", "No row has a finite value in columns b"),
    ([("file", ("big.csv", b"1" * (MAX_UPLOAD + 1)))], "file", "Larger than the 32 MiB"),
    ([("file", ("rows.csv", b"a\n1\n")), ("labelled", ("few.csv", b"a,y\n1,0\n"))], "target", "Say which column"),
    (
        [("file", ("rows.csv", b"a\n1\n")), ("labelled", ("few.csv", b"a,y\n1,0\n")), ("target", "z")],
        "labelled", "There is no column z; its columns are a, y",
    ),
    ([("file", ("rows.csv", b"a\n1\n")), ("method", "pruning")], "method", "This method learns from labelled rows"),
    ([("file", ("rows.csv", b"a\n1\n")), ("method", "magic")], "method", "Choose one of these"),
    ([("file", ("rows.csv", b"a\n1\n")), ("by", "magic")], "by", "Choose one of these"),
    ([("file", ("rows.csv", b"a\n1\n")), ("runs", "there")], "runs", "Choose one of these"),
    ([("file", ("rows.csv", b"a\n1\n")), ("members", "0")], "members", "A number from 1 to 30"),
    ([("file", ("rows.csv", b"a\n1\n")), ("target", "y" * 201)], "target", "At most 200 characters"),
]  # fmt: skip


async def test_faults_are_told_beside_their_field(found):
    search = search_of(found.page)
    for fields, name, said in FAULTS:
        await found.open(f"/searches/{search}/predict")
        page = await found.send(f"/searches/{search}/predict", fields)
        assert page.status == 422, said
        assert said in fault(page, name), page.text
    page = await planned(
        found, ("file", ("rows.csv", b"a\n1\n")), ("method", "vote"), ("runs", "remote"), ("abstain", "1")
    )
    for kept in ('value="vote" selected', 'value="remote" checked', 'name="abstain" value="1" checked'):
        assert kept in page.body


async def test_data_that_nobody_covers_are_predicted_only_if_that_is_asked_for(found, csv):
    lines = csv(0, 1).splitlines()
    others = b"\n".join([*lines[:40], *[b",".join([b"16", b"0"] * 32)] * 60])
    await found.open("/")
    await found.search(("file", ("others.csv", others)))
    assert "too little for predictions that can be relied on" in found.page.text
    page = await planned(found, ("file", ("others.csv", others)))
    assert (page.status, page.url.endswith("/predict")) == (422, True)
    assert fault(page, "force")
    page = await planned(found, ("file", ("others.csv", others)), ("force", "1"))
    assert "The plan for" in page.text


async def test_whoever_may_not_predict_is_told_how_they_may(anonymous, two, visitor, csv):
    (asked, _), *_ = two
    stranger = await visitor(asked)
    await stranger.open("/")
    await stranger.search(("words", "digits"))
    page = await stranger.open("/searches/0000/predict")
    assert (page.status, "atoll token create NAME --scope read --scope predict" in page.text) == (401, True)
    made = await asked.client.create_token("reader", ("read",), 1)
    reader = await visitor(asked)
    await reader.sign_in(made.secret)
    await reader.search(("file", ("digits.csv", csv(0, 2))))
    search = search_of(reader.page)
    page = await reader.open(f"/searches/{search}/predict")
    assert (page.status, "which may search but not predict" in page.text) == (403, True)
    await reader.open("/")
    page = await reader.send(f"/searches/{search}/predict", [("file", ("digits.csv", csv(0, 2)))])
    assert (page.status, "lacks the scope predict" in page.text) == (403, True)


async def test_a_token_that_reads_and_predicts_is_enough_and_no_other_sees_it(found, two, visitor, csv):
    (asked, _), *_ = two
    made = await asked.client.create_token("user", ("read", "predict"), 1)
    user = await visitor(asked)
    await user.sign_in(made.secret)
    await user.search(("file", ("digits.csv", csv(0, 2))))
    page = await planned(user, ("file", ("digits.csv", csv(0, 2))))
    assert "The plan for" in page.text
    for path in ("", "/events", "/predictions", "/report"):
        assert (await found.open(f"{page.url}{path}")).status == 404
    await found.open("/")
    for act in ("start", "here", "forget"):
        assert (await found.send(f"{page.url}/{act}", [("send", "1")])).status == 404
        await found.open("/")
        assert (await found.send(f"{page.url}/{act}", [("send", "1")], token="0" * 64)).status == 403
        await found.open("/")


async def test_rows_and_predictions_are_deleted_when_the_user_says_so(found, two, csv):
    (asked, _), *_ = two
    page = await planned(found, ("file", ("digits.csv", csv(0, 1))), ("runs", "here"))
    await found.send(f"{page.url}/start", [])
    page = await ended(found)
    files = [each for each in (asked.node.home / "reuse").rglob("*") if each.is_file()]
    assert files
    url = page.url
    page = await found.send(f"{url}/forget", [])
    assert page.url.startswith("/searches/")
    assert (await found.open(url)).status == 404
    assert [each for each in (asked.node.home / "reuse").rglob("*") if each.is_file()] == []


async def test_every_page_forbids_what_is_not_its_own_and_shows_names_as_text(
    federated, publish, changed, until, visitor, csv
):
    (asked, other), federation = await federated("asked", "<b>other")
    hostile = SemanticSpec(SCRIPT, "<img src=x onerror=alert(1)>")
    await publish(other, federation, HERE, 0, 1, semantic=hostile)
    owned = bytes.fromhex(federation), other.node.identity.public
    await changed(asked, lambda: len(asked.node.catalogue.of_owner(*owned)) == 1)
    await until(asked, lambda: asked.node.catalogue.islands() != [])
    browser = await visitor(asked)
    await browser.sign_in()
    await browser.search(("file", ("digits.csv", csv(0, 1))))
    form = await browser.open(f"/searches/{search_of(browser.page)}/predict")
    plan = await planned(browser, ("file", ("digits.csv", csv(0, 1))), ("runs", "remote"))
    await browser.send(f"{plan.url}/start", [("send", "1")])
    stream = await browser.open(f"{plan.url}/events")
    page = await browser.open(plan.url)
    assert "Predictions for" in page.text
    for each in (form, plan, stream, page):
        assert each.headers["Content-Security-Policy"] == CSP
        assert SCRIPT not in each.body
        assert "<b>other" not in each.body
    for body in (form.body, plan.body, page.body):
        assert "&lt;script&gt;alert(1)" in body
        assert not re.search(r"<script(?! src=\"/static/)|<style|\sstyle=|\son\w+=|javascript:", body)
        assert not re.search(r"(src|href|action)=\"(?!/|#)", body)
    for name in set(re.findall(r"/static/[\w.]+\?v=\w+", form.body + plan.body + page.body)):
        asset = await browser.open(name)
        assert (asset.status, asset.headers["Content-Security-Policy"]) == (200, CSP)
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", asset.body)


async def test_an_owner_that_allows_it_no_more_is_named_when_nobody_is_left(two, visitor, csv):
    (asked, other), federation, (_, learnware) = two
    browser = await visitor(asked)
    await browser.sign_in()
    await browser.search(("file", ("digits.csv", csv(2, 3))))
    page = await planned(browser, ("file", ("digits.csv", csv(2, 3))), ("members", "1"))
    assert "it runs at its owner" in page.text
    await other.client.publish(learnware, federation, Offers())
    await browser.send(f"{page.url}/start", [("send", "1")])
    stream = await browser.open(f"{page.url}/events")
    assert stream.body.rstrip().rpartition("event: ")[2].startswith("broken")
    page = await browser.open(page.url)
    assert "That did not work" in page.text
    assert "Digits 2 3 of Other House stopped after 0 rows" in page.text
