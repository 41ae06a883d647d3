"""Publishing step by step in a browser: from a model and rows, or a package, to a listing that others find."""

import asyncio
import hashlib
import io
import json
import pickle
import re
import shutil
import zipfile

import msgspec
import numpy as np
import pytest
from atoll.engine.packages.convert import to_onnx
from atoll.engine.semantic import SemanticSpec
from atoll.node.clock import now_ms
from atoll.node.web import parts
from atoll.node.web.publish import formats, making
from atoll.node.web.publish.drafts import AT_A_TIME, GIVEN, MODEL, Draft
from atoll.node.web.reading.fitting import PLACES
from atoll.node.web.welcome.example import MARK
from atoll.protocol.listings import Offers
from browser import serious, sign_in
from playwright.async_api import expect
from sklearn.linear_model import LogisticRegression

WORDS = (
    ("name", "Digits zero to two"), ("description", "Reads **digits** <script>alert(1)</script>"),
    ("task", "Classification"), ("data", "Table"), ("library", "Scikit-learn"), ("license", "MIT"),
    ("scenario", "Business"), ("scenario", "Education"),
)  # fmt: skip

YAML = """model: {class_name: Model, kwargs: {}}
stat_specifications:
  - module_path: learnware.specification
    class_name: RKMETableSpecification
    file_name: stat.json
    kwargs: {}
semantic_specification: {file_name: semantic_specification.json}
"""


@pytest.fixture
def model(digits):
    """``model(0, 1)``: ONNX of a classifier of these digits; with ``columns`` it takes the first of the pixels only."""

    def of(*classes, columns=64):
        rows, labels = digits.of(*classes), digits.labels_of(*classes)
        return to_onnx(LogisticRegression(max_iter=300).fit(rows.values[:, :columns], labels), columns)

    return of


@pytest.fixture
async def publisher(federated, visitor):
    """A browser signed in at the first of two federated nodes, and the second node."""
    (one, other), _ = await federated("Asked House", "Other House")
    browser = await visitor(one)
    await browser.sign_in()
    return browser, other


@pytest.fixture
def beimingwu_zip():
    """As Beimingwu's users make them: a module, words, and a specification of four columns."""
    names = ("length", "width", "height", "weight")

    def values(kind, of):
        return {"Type": kind, "Values": of}

    words = {
        "Data": values("Class", ["Table"]), "Task": values("Class", ["Classification"]),
        "Library": values("Class", ["Scikit-learn"]), "Scenario": values("Tag", ["Nature"]),
        "License": values("Class", ["MIT"]), "Name": values("String", "Parcels by size"),
        "Description": values("String", "Large or small parcels."),
        "Input": {"Dimension": 4, "Description": {str(i): name for i, name in enumerate(names)}},
        "Output": {"Dimension": 2, "Description": {"0": "small", "1": "large"}},
    }  # fmt: skip
    points = np.random.default_rng(0).standard_normal((12, 4)).tolist()
    specification = {
        "z": points,
        "beta": [1 / 12] * 12,
        "gamma": 0.1,
        "num_points": 150,
        "type": "RKMETableSpecification",
    }
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("learnware.yaml", YAML)
        archive.writestr("__init__.py", "class Model: ...\n")
        archive.writestr("stat.json", json.dumps(specification))
        archive.writestr("semantic_specification.json", json.dumps(words))
        archive.writestr("requirements.txt", "numpy>=1.20\n")
    return target.getvalue()


async def begun(browser, way, *more):
    """The path of a new draft."""
    await browser.open("/publish" + (f"?revises={more[0]}" if more else ""))
    page = await browser.send("/publish", [("way", way), *(("revises", each) for each in more)])
    assert page.status == 200, page.text
    return re.match(r"/publish/[0-9a-f]{32}", page.url)[0]


async def send_files(browser, path, *fields):
    return await browser.send(path, fields, multipart=True)


async def checked(browser, draft, *fields):
    """The page of the checks once they are decided."""
    await browser.open(f"{draft}/checks")
    page = await send_files(browser, f"{draft}/checks", *fields)
    assert page.status == 200, page.text
    stream = await browser.open(f"{draft}/events")
    assert "event: end" in stream.body
    return await browser.open(f"{draft}/checks")


def fault(page, name):
    (told,) = re.findall(rf'id="{name}-error" role="alert">(.*?)</p>', page.body)
    return re.sub("<[^>]*>", "", told).replace("&#39;", "'")


async def test_a_model_and_rows_become_a_listing_that_another_node_finds(
    publisher, visitor, model, csv, labelled, changed, monkeypatch
):
    browser, other = publisher
    arrived = island_at(other, monkeypatch)
    draft = await begun(browser, "model")
    assert browser.page.url == f"{draft}/model"
    page = await send_files(
        browser, f"{draft}/model", ("given", ("digits.onnx", model(0, 1, 2))), ("rows", ("rows.csv", csv(0, 1, 2))),
        ("size", "40"),
    )  # fmt: skip
    assert page.url == f"{draft}/words", page.text
    assert "<option selected>Classification" in page.body
    bad = await browser.send(f"{draft}/words", [("name", ""), ("description", "x")])
    assert (bad.status, fault(bad, "name")) == (422, "A name of 1 to 80 characters.")
    shown = await browser.send(f"{draft}/words", [*WORDS, ("preview", "1")])
    assert "Reads <strong>digits</strong>" in shown.body
    assert "<script>alert" not in shown.body
    page = await browser.send(f"{draft}/words", WORDS)
    assert page.url == f"{draft}/specification"
    for said in ("minted from your rows", "rows stand behind every point", "deleted", "AUC", "0, 1, 2"):
        assert said in page.text, said
    assert page.body.count("<circle") > 20
    assert page.body.count('class="cell') > 20
    assert await files_of(browser, draft) == ["draft", GIVEN, MODEL, "parts"]  # and no rows
    sample = labelled(0, 1, 2, count=50)
    page = await checked(browser, draft, ("labelled", ("labelled.csv", sample)), ("target", "digit"))
    assert "Accepted: it is in your dock" in page.text
    for said in ("The model runs", "Quality on labelled rows", "accuracy 1 on 50 rows"):
        assert said in page.text, said
    page = await browser.open(f"{draft}/federation")
    for said in ("Who could do what", "Other House", "Predict for members"):
        assert said in page.text, said
    own = re.search(r"<tr><th scope=\"row\">[^\n]*this node.*?</tr>", page.body, re.DOTALL)[0]
    assert own.count(">yes<") == 4
    assert "changed" not in own  # its own users may do all, listed or not
    (federation,) = browser.running.node.federations.all()
    choice = [("federation", federation.id.hex()), ("policy", "open")]
    page = await browser.send(f"{draft}/federation", choice)
    assert (page.status, fault(page, "sure")) == (422, "Tick this if that is what you want.")
    page = await browser.send(f"{draft}/federation", [*choice, ("preview", "1")])
    assert "That cannot be recalled" in page.text
    page = await browser.send(f"{draft}/federation", [("federation", federation.id.hex()), ("policy", "predict")])
    assert re.fullmatch(r"/publish/done/[0-9a-f]{64}", page.url), page.text
    id_ = page.url.rpartition("/")[2]
    assert f'href="/learnwares/{id_}"' in page.body
    assert f'client.load("{id_}", send=True)' in page.text.replace("&#34;", '"')  # members may not download it
    assert (await browser.open(f"{draft}/words")).status == 404
    learnware = browser.running.node.dock.get(bytes.fromhex(id_))
    assert learnware.row.quality.rows == 50
    assert learnware.manifest.semantic.scenario == ("Business", "Education")
    rows = (await browser.running.client.audit(0, 1000)).items
    done = {row.act for row in rows if row.outcome == "done"}
    assert {"upload.append", "island.add", "learnware.submit", "learnware.publish"} <= done
    await changed(other, lambda: len(other.node.catalogue.alive(now_ms())) == 1)
    await asyncio.wait_for(arrived.wait(), 20)
    seeker = await visitor(other)
    await seeker.sign_in()
    page = await seeker.search(("file", ("mine.csv", csv(0, 1, 2))))
    assert "Digits zero to two" in page.text, fault(page, "file")


async def test_what_the_checks_refuse_goes_back_to_its_step_and_nothing_is_lost(publisher, model, csv, monkeypatch):
    browser, _ = publisher
    draft = await begun(browser, "model")
    narrow = [("given", ("digits.onnx", model(0, 1, columns=60))), ("rows", ("rows.csv", csv(0, 1)))]
    page = await send_files(browser, f"{draft}/model", *narrow)
    assert page.status == 422
    assert "60" in fault(page, "given")
    page = await send_files(
        browser, f"{draft}/model", ("given", ("digits.onnx", model(0, 1))), ("rows", ("rows.csv", csv(0, 1))),
        ("classes", "a, b, c"),
    )  # fmt: skip
    assert fault(page, "classes").startswith("3 names for a model that gives 2 outputs")
    assert "digits.onnx is here; choose another" in page.text
    page = await send_files(browser, f"{draft}/model", ("rows", ("rows.csv", csv(0, 1))), ("classes", "zero\none"))
    assert page.url == f"{draft}/words"
    page = await browser.send(f"{draft}/words", WORDS)
    with monkeypatch.context() as patch:  # a model that lies: it promises two outputs, and has another file behind it
        put_together = making.put_together
        patch.setattr(making, "put_together", lambda node, draft, words, target: put_together(
            node, lying(node, draft, model(0, 1, 2)), words, target))  # fmt: skip
        page = await checked(browser, draft)
    assert "Refused." in page.text
    assert "The model runs failed" in page.text
    assert "promised is float32" in page.text
    assert f'href="{draft}/model">Mend it' in page.body
    page = await browser.open(f"{draft}/model")
    for said in ("The checks refused it.", "promised is float32", "digits.onnx is here; choose another", "zero one"):
        assert said in page.text, said
    page = await send_files(
        browser, f"{draft}/model", ("given", ("digits.onnx", model(0, 1))), ("rows", ("rows.csv", csv(0, 1))),
    )  # fmt: skip
    assert page.url == f"{draft}/words"
    assert 'value="Digits zero to two"' in page.body
    page = await checked(browser, draft)
    assert "Accepted: it is in your dock" in page.text
    listed = await browser.open("/publish")
    assert "Digits zero to two" in listed.text
    page = await browser.send(f"{draft}/leave", [])
    assert "is in your dock" in page.text
    assert "client.load(" in page.text
    assert "send=True" not in page.text
    assert "None is open." in (await browser.open("/publish")).text


async def test_formats_are_named_where_their_library_is_there_and_the_others_with_what_they_lack(
    start, visitor, monkeypatch
):
    (running,) = await start("Asked House")
    browser = await visitor(running)
    await browser.sign_in()
    few = formats.known(lambda library: library in ("onnxruntime", "torch", "lightgbm"))
    assert few == (
        ("ONNX", "LightGBM", "torch.export"),
        ("skops", "XGBoost (UBJ, JSON)", "safetensors"),
    )
    monkeypatch.setattr(formats, "KNOWN", few)
    page = await browser.open("/publish")
    assert "a model file (ONNX, LightGBM, torch.export)" in page.text
    assert "Not run here, for want of their libraries: skops" in page.text
    draft = await begun(browser, "model")
    page = await browser.open(f"{draft}/model")
    assert "ONNX, LightGBM, torch.export: told by its bytes" in page.text
    assert "pip install 'atoll[models]'" in page.text


async def test_code_is_refused_and_told_which_command_to_use(publisher, csv):
    browser, _ = publisher
    draft = await begun(browser, "model")
    for name, data, said in (
        ("model.pkl", pickle.dumps({"a": 1}), "It is a pickle: to load it runs the code inside"),
        ("model.joblib", b"\x78\x9c" + bytes(50), "joblib"),
        ("model.py", b"def predict(rows):\n    return rows\n", "It is Python code"),
        ("model.txt", b"nothing that is known", "no model format"),
    ):
        page = await send_files(browser, f"{draft}/model", ("given", (name, data)), ("rows", ("r.csv", csv(0))))
        assert page.status == 422
        assert said in fault(page, "given"), name
        assert "atoll learnware pack" in fault(page, "given")
        assert '<p class="help" id="gone">' in page.body  # it has to be given again
        assert await files_of(browser, draft) == ["draft"]
    assert "atoll learnware pack model.pkl" in page.text


async def test_a_package_comes_in_pieces_goes_on_after_a_break_and_is_the_same_bytes(publisher, digits, monkeypatch):
    browser, _ = publisher
    running = browser.running
    island = digits.island()
    package = digits.package(running.node.identity.peer, island, 3, 4)
    draft = await begun(browser, "package")
    headers = {"X-CSRF-Token": browser.page.form_token, "Accept": "application/json"}
    path, query = f"{draft}/file", {"key": "k", "name": "p.zip", "size": str(len(package))}

    async def piece(offset, data, **more):
        sent = {**query, "offset": str(offset), **more}
        return await browser.session.post(running.url + path, params=sent, data=data, headers=headers)

    forged = await browser.session.post(running.url + path, params=query, data=b"x")
    assert forged.status == 403
    assert (await (await piece(0, package[:7000])).json()) == {"received": 7000, "whole": False}
    gap = await piece(9000, package[9000:])
    assert (gap.status, "stands at 7000" in await gap.text()) == (400, True)
    stands = await browser.session.get(running.url + path, params={"key": "k"})
    assert await stands.json() == {"received": 7000, "whole": False}
    other = await browser.session.get(running.url + path, params={"key": "another file"})
    assert (await other.json())["received"] == 0
    assert (await (await piece(7000, package[7000:])).json()) == {"received": len(package), "whole": True}
    here = await asyncio.to_thread(drafts_of(browser).path(draft_of(draft), GIVEN).read_bytes)
    assert hashlib.sha256(here).digest() == hashlib.sha256(package).digest()
    large = await piece(0, b"x", key="z", size=str(running.node.config.http.max_upload_bytes + 1))
    assert "this node takes" in (await large.json())["errors"]["given"]
    page = await browser.open(f"{draft}/specification")
    assert "not known here" in page.text
    definition = json.dumps({"id": island.id, **msgspec.to_builtins(island)}).encode()
    page = await send_files(browser, f"{draft}/specification", ("definition", ("i.json", b"{}")))
    assert page.status == 422
    page = await send_files(browser, f"{draft}/specification", ("definition", ("i.json", definition)))
    assert "can be compared with yours" in page.text
    page = await checked(browser, draft)
    assert "Accepted: it is in your dock" in page.text
    (learnware,) = running.node.dock.all()
    submission = running.node.acceptance.all()[0]
    assert submission.package == hashlib.sha256(package).digest()
    page = await browser.open(f"/publish/{submission.id.hex()}")
    assert page.url == f"{draft}/federation"
    (own,) = running.node.federations.all()
    theirs = (await running.client.create_federation("A first visit")).id
    await asyncio.to_thread(running.node.store.mark, f"{MARK}.federation.{theirs}", 1)  # as /welcome does
    page = await browser.open(f"{draft}/federation")
    assert f'<option value="{own.id.hex()}" selected>' in page.body
    assert f"/policies/{own.id.hex()}" in page.body
    before = len(running.node.acceptance.all())
    with drafts_of(browser).alone(draft_of(draft)):  # as by the first of two clicks
        await browser.open(f"{draft}/checks")
        await asyncio.to_thread(resubmittable, browser, draft)
        page = await send_files(browser, f"{draft}/checks")
        assert (page.url, len(running.node.acceptance.all())) == (f"{draft}/checks", before)
        await asyncio.to_thread(resubmittable, browser, draft, submission.id.hex())
    with monkeypatch.context() as patch:  # as if they were under way still
        patch.setattr(running.node.acceptance, "following", under_way(submission))
        again = await browser.session.get(f"{running.url}{draft}/events", headers={"Last-Event-ID": "3"})
        assert [line for line in (await again.text()).splitlines() if "event:" in line] == ["event: part", "event: end"]
    await running.client.publish(learnware.id.hex(), own.id.hex(), Offers())  # which is another way than this page
    assert "None is open." in (await browser.open("/publish")).text
    page = await browser.open(f"/publish/{submission.id.hex()}")
    assert ("Checks of a package" in page.text, "accepted" in page.text) == (True, True)


async def test_other_words_are_a_revision_and_may_name_a_licence_of_ones_own(publisher, digits):
    browser, _ = publisher
    running, island = browser.running, digits.island()
    await running.client.add_island(island)
    package = digits.package(running.node.identity.peer, island, 3, 4)
    learnware = await running.client.add_learnware(package)
    revision = await begun(browser, "words", learnware.learnware_id)
    bad = await browser.send(f"{revision}/words", [*WORDS, ("own_license", "ours, all of it")])
    assert fault(bad, "own_license") == "At most 60 Latin letters, digits, dots and hyphens."
    page = await browser.send(f"{revision}/words", [*WORDS, ("own_license", "St Anna 1.2")])
    page = await checked(browser, revision)
    assert "only words and tags are others" in page.text
    semantic = running.node.dock.get(bytes.fromhex(learnware.learnware_id)).manifest.semantic
    assert (semantic.name, semantic.license) == ("Digits zero to two", "LicenseRef-St-Anna-1.2")


async def test_a_package_of_beimingwus_is_imported(publisher, beimingwu_zip):
    browser, _ = publisher
    draft = await begun(browser, "package")
    page = await send_files(browser, f"{draft}/model", ("given", ("learnware.zip", beimingwu_zip)))
    assert page.url == f"{draft}/words", page.text
    assert 'value="Parcels by size"' in page.body
    page = await browser.send(f"{draft}/words", WORDS)
    assert "can be compared with yours" in page.text
    assert await asyncio.to_thread(words_of, browser, draft) == "Digits zero to two"
    page = await send_files(browser, f"{draft}/model", ("given", ("x.zip", b"PK\x03\x04 nothing")))
    assert page.status == 422
    assert "no package" in fault(page, "given")


async def test_drafts_are_seen_by_their_token_alone_and_are_few(publisher, visitor):
    browser, _ = publisher
    draft = await begun(browser, "model")
    token = await browser.running.client.create_token("another", ("read", "publish"), 1)
    stranger = await visitor(browser.running)
    await stranger.sign_in(token.secret)
    assert "None is open." in (await stranger.open("/publish")).text
    for path in ("", "/model", "/words", "/specification", "/checks", "/events", "/federation", "/file"):
        assert (await stranger.open(f"{draft}{path}")).status == 404, path
    await stranger.open("/publish")
    assert (await stranger.send(f"{draft}/delete", [])).status == 404
    assert (await stranger.send(f"{draft}/words", WORDS, token="")).status == 404
    for _ in range(AT_A_TIME - 1):
        await begun(browser, "package")
    await browser.open("/publish")
    page = await browser.send("/publish", [("way", "model")])
    assert page.status == 400
    assert f"You have {AT_A_TIME} drafts" in page.text
    await browser.open("/publish")
    page = await browser.send(f"{draft}/delete", [])
    assert "The draft is deleted." in page.text
    reader = await visitor(browser.running)
    await reader.sign_in((await browser.running.client.create_token("reader", ("read",), 1)).secret)
    assert (await reader.open("/publish")).status == 403


async def test_words_that_come_while_a_specification_is_fitted_stay(publisher, model, csv, monkeypatch):
    browser, _ = publisher
    draft, drafts, fitting = await begun(browser, "model"), drafts_of(browser), browser.running.node.fitting
    files = [("given", ("digits.onnx", model(0, 1))), ("rows", ("rows.csv", csv(0, 1)))]
    await send_files(browser, f"{draft}/model", *files)
    packed, words = fitting.packed, SemanticSpec("Late words", scenario=("Business",))

    async def slow(*arguments):
        made = await packed(*arguments)
        await asyncio.to_thread(drafts.reword, draft_of(draft), words, None)  # from another tab
        return made

    monkeypatch.setattr(fitting, "packed", slow)
    page = await send_files(browser, f"{draft}/model", *files)
    assert 'value="Late words"' in page.body
    assert await asyncio.to_thread(words_of, browser, draft) == "Late words"


async def test_of_a_learnware_that_has_no_room_no_draft_of_other_words_is_left(publisher, digits, monkeypatch):
    browser, _ = publisher
    running = browser.running
    package = digits.package(running.node.identity.peer, digits.island(), 0, 1)
    await running.client.add_island(digits.island())
    learnware = (await running.client.add_learnware(package)).learnware_id
    drafts = drafts_of(browser)
    with monkeypatch.context() as full:
        full.setattr(drafts, "_limit", 100)
        await browser.open(f"/publish?revises={learnware}")
        page = await browser.send("/publish", [("way", "words"), ("revises", learnware)])
        assert (page.status, "this node takes" in page.text) == (400, True)
    assert await asyncio.to_thread(drafts.takings) == []
    draft = await begun(browser, "words", learnware)
    assert 'value="Digits 0 1"' in (await browser.open(f"{draft}/words")).body


async def test_an_admin_sees_whose_drafts_there_are_and_deletes_any(publisher, visitor):
    admin, _ = publisher
    token = await admin.running.client.create_token("Ward 3", ("read", "publish"), 1)
    other = await visitor(admin.running)
    await other.sign_in(token.secret)
    draft = draft_of(await begun(other, "package"))
    page = await admin.open("/admin/storage")
    assert "Ward 3" in page.text
    assert token.token.id in page.text
    await other.open("/publish")
    path = f"/admin/storage/drafts/{draft.id}/delete"
    assert (await other.send(path, [])).status == 403
    await admin.open("/admin/storage")
    page = await admin.send(path, [])
    assert "The draft is deleted." in page.text
    assert "Ward 3" not in page.text
    assert "None is open." in (await other.open("/publish")).text
    noted = (await admin.running.client.audit()).items[-1]
    assert (noted.act, noted.outcome, noted.subject["id"], noted.subject["owner"]) == (
        "draft.delete", "done", draft.id, token.token.id,
    )  # fmt: skip


async def test_two_tabs_do_not_undo_each_others_words(publisher, beimingwu_zip):
    browser, _ = publisher
    draft = await begun(browser, "package")
    await send_files(browser, f"{draft}/model", ("given", ("x.zip", beimingwu_zip)))

    def seen(page):
        return ("seen", re.search(r'name="seen" value="(\w*)"', page.body)[1])

    def named(name):
        return [("name", name), *[field for field in WORDS if field[0] != "name"]]

    shown = seen(await browser.open(f"{draft}/words"))  # in both tabs
    await browser.send(f"{draft}/words", [*named("Here"), shown])
    page = await browser.send(f"{draft}/words", [*named("There"), shown, ("preview", "1")])
    assert seen(page) == shown  # a preview has not shown the others
    page = await browser.send(f"{draft}/words", [*named("There"), shown])
    assert page.status == 409
    assert "Other words were kept since this form was shown." in page.text
    assert 'value="There"' in page.body
    assert await asyncio.to_thread(words_of, browser, draft) == "Here"
    await browser.send(f"{draft}/words", [*named("There"), seen(page)])
    assert await asyncio.to_thread(words_of, browser, draft) == "There"


async def test_a_long_upload_takes_no_place_of_those_who_search_and_its_draft_may_go(
    publisher, model, csv, monkeypatch
):
    browser, _ = publisher
    draft, fitting = await begun(browser, "model"), browser.running.node.fitting
    with fitting.room(known=True) as take:
        for _ in range(PLACES):
            take()
        given = [("given", ("digits.onnx", model(0, 1))), ("rows", ("rows.csv", csv(0, 1)))]
        page = await send_files(browser, f"{draft}/model", *given, ("classes", "\n".join(["a" * 100, "b" * 5000])))
        assert "At most 1000 names" in fault(page, "classes")
        page = await send_files(browser, f"{draft}/model", *given)
        assert "reading others" in fault(page, "rows")
    assert "digits.onnx is here; choose another" in page.text
    append = parts._append

    def deleted(path, piece):  # while the file comes
        shutil.rmtree(drafts_of(browser).path(draft_of(draft), ""))
        append(path, piece)

    monkeypatch.setattr(parts, "_append", deleted)
    page = await send_files(browser, f"{draft}/model", *given)
    assert (page.status, "was deleted meanwhile" in page.text) == (404, True)


async def test_a_noised_sketch_costs_its_budget_once(publisher, model, csv):
    browser, _ = publisher
    draft = await begun(browser, "model")
    given = [("given", ("digits.onnx", model(0, 1))), ("rows", ("rows.csv", csv(0, 1)))]
    page = await send_files(browser, f"{draft}/model", *given, ("epsilon", "20"), ("data_name", "digits"))
    assert fault(page, "epsilon") == "A number above 0, up to 10."
    page = await send_files(browser, f"{draft}/model", *given, ("epsilon", "1"))
    assert "Name the data set" in fault(page, "data_name")
    for _ in range(2):
        page = await send_files(browser, f"{draft}/model", *given, ("epsilon", "3"), ("data_name", "digits"))
        assert page.url == f"{draft}/words"
    page = await send_files(browser, f"{draft}/model", *given, ("epsilon", "2"), ("data_name", "digits"))
    assert "4 is the limit" in fault(page, "epsilon")
    page = await send_files(browser, f"{draft}/model", *given, ("epsilon", "3"), ("data_name", "digits"))
    page = await browser.send(f"{draft}/words", WORDS)
    assert "a noised sketch, under differential privacy" in page.text
    assert "<circle" not in page.body
    entries = await asyncio.to_thread(browser.running.node.ledger.entries)
    assert [row.spending.epsilon for row in entries] == [3.0]
    page = await checked(browser, draft)
    assert "Accepted: it is in your dock" in page.text


def resubmittable(browser, path, submission=""):
    """The draft with this submission, or none yet."""
    drafts = drafts_of(browser)
    (owner,) = [each.id for each in browser.running.node.tokens.all() if drafts.all(each.id)]
    drafts.change(drafts.get(draft_of(path).id, owner), submission=submission)


def under_way(decided):
    """What follows a submission that is about to be decided."""

    async def following(_):
        yield msgspec.structs.replace(decided, state="waiting", report=None), ()
        yield decided, ()

    return following


def island_at(running, monkeypatch):
    """What is set when a node has come to know an island."""
    loop, arrived, add = asyncio.get_running_loop(), asyncio.Event(), running.node.catalogue.add_island

    def told(island):
        add(island)
        loop.call_soon_threadsafe(arrived.set)

    monkeypatch.setattr(running.node.catalogue, "add_island", told)
    return arrived


def drafts_of(browser):
    return browser.running.node.drafts


async def files_of(browser, path):
    """The names of a draft's files."""
    folder = drafts_of(browser).path(draft_of(path), "")
    return await asyncio.to_thread(lambda: sorted(each.name for each in folder.iterdir()))


def draft_of(path):
    """As much of a draft as its files are found by."""
    return Draft(path.rpartition("/")[2], "", "model", 0, 0)


def words_of(browser, path):
    """The name in the package that would be checked."""
    node = browser.running.node
    (draft,) = [each for owner in node.tokens.all() for each in node.drafts.all(owner.id)]
    with io.BytesIO() as target:
        making.put_together(node, draft, draft.words, target)
        return json.loads(zipfile.ZipFile(target).read("manifest.json"))["semantic"]["name"]


def lying(node, draft, other):
    """The draft with another model behind what it promises."""
    node.drafts.path(draft, MODEL).write_bytes(other)
    return draft


async def test_with_a_script_files_go_in_pieces_checks_come_as_they_are_done_and_words_as_they_read(
    start, page, model, csv, tmp_path, monkeypatch
):
    (running,) = await start("Asked House")
    (tmp_path / "digits.onnx").write_bytes(model(0, 1))
    (tmp_path / "digits.pkl").write_bytes(pickle.dumps({}))
    (tmp_path / "rows.csv").write_bytes(csv(0, 1))
    await sign_in(page, running)
    lost = []

    async def lose(route):  # the first piece is lost on its way
        if route.request.method == "POST" and not lost:
            lost.append((await page.locator("#sent").is_visible(), await page.locator("#status").inner_text()))
            return await route.abort()
        return await route.continue_()

    await page.route("**/file?**", lose)
    await page.goto(f"{running.url}/publish")
    assert await serious(page) == []
    await page.click("button[value=model]")
    await page.set_input_files("#given", tmp_path / "digits.pkl")
    await page.set_input_files("#rows", tmp_path / "rows.csv")
    await page.click("#go")
    await expect(page.locator("#given-error")).to_contain_text("It is a pickle")
    await expect(page.locator("#gone")).to_be_visible()
    await expect(page.locator("#kept")).to_be_hidden()
    assert lost == [(True, "Sending 0%")]
    await page.set_input_files("#given", tmp_path / "digits.onnx")
    held = asyncio.Event()

    async def hold(route):
        await held.wait()
        await route.continue_()

    await page.route("**/file?**", hold)
    await page.click("#go")
    await expect(page.locator("#given-error")).to_have_text("")  # what was said of the other file
    held.set()
    await page.wait_for_url("**/words")
    await page.fill("#name", "Zeros and ones")
    await page.fill("#description", "Reads *zeros*")
    await expect(page.locator("#shown em")).to_have_text("zeros")
    await page.check("input[value=Business]", force=True)
    await page.click("#go")
    await page.wait_for_url("**/specification")
    for width in (1200, 360):
        await page.set_viewport_size({"width": width, "height": 800})
        assert await serious(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.click(".then .button.main")
    await page.wait_for_url("**/checks")
    await page.click("#go")
    await expect(page.locator(".verdict.good")).to_be_visible()
    await expect(page.locator(".checked .passed").first).to_contain_text("Words and tags")
    assert await serious(page) == []
    await page.click(".verdict a")
    await expect(page.get_by_text("This node is in no federation")).to_be_visible()
    assert len(running.node.dock.all()) == 1
