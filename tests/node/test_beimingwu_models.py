"""Learnwares in Beimingwu's format at nodes: checked, run by their owner, and by others once they were let in."""

import io
import json
import secrets
import zipfile

import joblib
import numpy as np
import pytest
from atoll.engine.beimingwu.importing import import_package
from atoll.engine.islands import Island
from atoll.engine.runtime import rung
from atoll.engine.tables import Table
from atoll.node.client.transport import RemoteError
from atoll.node.clock import now_ms
from atoll.node.errors import PackageRefused
from atoll.protocol.listings import Offers
from atoll.protocol.policy import Policy, Rule
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

OPEN = Offers(disclose="members", predict="members", download="members")
CODE = """
import os
import joblib
from learnware.model import BaseModel

class Model(BaseModel):
    def __init__(self):
        super().__init__(input_shape=(4,), output_shape=(3,))
        self.model = joblib.load(os.path.join(os.path.dirname(os.path.abspath(__file__)), "model.joblib"))

    def predict(self, X):
        return self.model.predict(X)
"""
NAMES = ("sepal length", "sepal width", "petal length", "petal width")


@pytest.fixture(scope="module")
def iris():
    values, labels = load_iris(return_X_y=True)
    return Table(values, NAMES), labels, RandomForestClassifier(20, random_state=0).fit(values, labels)


@pytest.fixture(scope="module")
def islands(iris):
    return (Island.mint(iris[0]),)


def said(data="Table", task="Classification"):
    values = {
        "Data": [data], "Task": [task], "Library": ["Scikit-learn"], "Scenario": ["Nature"], "License": ["MIT"],
        "Name": "Irises", "Description": "Three kinds of irises, by their leaves.",
    }  # fmt: skip
    words = {name: {"Type": "Class", "Values": each} for name, each in values.items()}
    if data == "Table":
        words["Input"] = {"Dimension": 4, "Description": {str(place): name for place, name in enumerate(NAMES)}}
        words["Output"] = {"Dimension": 3, "Description": {"0": "setosa", "1": "versicolor", "2": "virginica"}}
    return json.dumps(words)


def zipped(files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, each in files.items():
            archive.writestr(name, each)
    return data


@pytest.fixture
def made(iris, islands):
    """``made(node)``: a package of irises, and the islands that it is in; ``code`` in place of the model's."""

    def make(node, code=CODE, **more):
        rows, _, model = iris
        dumped = io.BytesIO()
        joblib.dump(model, dumped)
        points = rows.values[::3] + 0.02 * np.random.default_rng(0).standard_normal((50, 4))
        tree = {"z": points.tolist(), "beta": [0.02] * 50, "gamma": 0.1, "num_points": 150}
        yaml = (
            "name: Irises\nid: '00000123'\nmodel: {class_name: Model, kwargs: {}}\nstat_specifications:\n"
            "- {module_path: learnware.specification, class_name: RKMETableSpecification, file_name: stat.json}\n"
            "semantic_specification: {file_name: semantic_specification.json}\n"
        )
        files = {
            "learnware.yaml": yaml, "__init__.py": code, "model.joblib": dumped.getvalue(),
            "stat.json": json.dumps(tree | {"type": "RKMETableSpecification"}), "semantic_specification.json": said(),
        }  # fmt: skip
        return imported(node, zipped(files), islands, **more)

    return make


def imported(node, archive, islands=(), **more):
    package = io.BytesIO()
    found = import_package(
        archive, package, owner=node.node.identity.peer, created_at=now_ms(), salt=lambda: secrets.token_bytes(16),
        islands=islands, **more,
    )  # fmt: skip
    return package.getvalue(), found.islands


async def added(node, package, islands, *others):
    for each in (node, *others):
        for island in islands:
            await each.client.add_island(island)
    learnware = await node.client.add_learnware(package)
    (submission, *_) = await node.client.submissions()
    return learnware.learnware_id, {step.name: step for step in submission.report.steps}


def unpacked(node):
    folder = node.node.home / "unpacked"
    return [each.name for each in folder.iterdir()] if folder.is_dir() else []


async def right(node, learnware_id, iris, prefer="local"):
    rows, labels, _ = iris
    found = await node.client.predict_with(learnware_id, rows, prefer=prefer, send=True)
    names = np.array(["setosa", "versicolor", "virginica"])
    return (names[labels] == found.labels).mean()


async def test_it_is_checked_listed_and_predicts_for_its_users_and_for_others(federated, changed, made, iris):
    (north, south), federation = await federated("north", "south")
    learnware_id, steps = await added(north, *made(north), south)
    assert steps["model runs"].outcome == "passed"
    assert steps["model and specification"].words.startswith("the model gives labels and not how certain it is")
    assert unpacked(north) == [north.node.dock.all()[0].row.model.hex()]

    await north.client.publish(learnware_id, federation, OPEN)
    await changed(south, lambda: len(south.node.catalogue.alive(now_ms())) == 1)
    assert await right(north, learnware_id, iris) > 0.95
    assert await right(south, learnware_id, iris, "remote") > 0.95
    assert not unpacked(south)


async def test_others_run_it_once_it_was_let_in_and_unpack_nothing_before(federated, changed, made, iris):
    if rung().level != "strong":
        pytest.skip("others' code needs the strong sandbox")
    (north, south), federation = await federated("north", "south")
    learnware_id, _ = await added(north, *made(north), south)
    await north.client.publish(learnware_id, federation, OPEN)
    await changed(south, lambda: len(south.node.catalogue.alive(now_ms())) == 1)
    with pytest.raises(RemoteError, match=r"a learnware in Beimingwu's format .* is not run for others"):
        await right(south, learnware_id, iris)
    assert not unpacked(south)
    await south.client.allow_code(learnware_id)
    assert await right(south, learnware_id, iris) > 0.95
    assert unpacked(south) == unpacked(north)


async def test_what_was_unpacked_for_a_learnware_that_is_gone_goes_with_the_next_start(make_home, start_home, made):
    home, token = make_home("node")
    async with start_home(home, token) as node:
        learnware_id, _ = await added(node, *made(node))
    async with start_home(home, token) as node:
        assert len(unpacked(node)) == 1
        await node.client.remove_learnware(learnware_id)
    async with start_home(home, token) as node:
        assert not unpacked(node)


async def test_a_model_that_does_not_load_is_refused_with_what_it_said(start, made):
    (node,) = await start("node")
    package, islands = made(node, code="raise RuntimeError('no such luck')\n")
    with pytest.raises(PackageRefused, match="model runs: the learnware does not load: RuntimeError: no such luck"):
        await added(node, package, islands)
    assert not node.node.dock.all()


async def test_download_is_offered_to_nobody_to_whom_the_specification_is_not(federated, made):
    (node, other), federation = await federated("node", "other")
    learnware_id, _ = await added(node, *made(node))
    named = Rule(peers=(other.node.identity.peer,))
    for policy in (
        Offers(download="members"), Offers(disclose="members", download="anyone"),
        Policy(disclose=Rule("ask"), download=Rule("members")), Policy(download=named),
        Policy(disclose=Rule("ask"), download=Rule("ask")), Policy(disclose=named, download=Rule("ask")),
    ):  # fmt: skip
        with pytest.raises(RemoteError, match="download cannot be offered to more than disclose is") as caught:
            await node.client.publish(learnware_id, federation, policy)
        assert caught.value.code == "request.invalid"
    assert not node.node.catalogue.alive(now_ms())
    for policy in (
        Offers(), Offers(disclose="anyone", download="members"), Policy(disclose=named, download=named),
        Policy(disclose=Rule("members"), download=named), Policy(disclose=Rule("members"), download=Rule("ask")),
    ):  # fmt: skip
        await node.client.publish(learnware_id, federation, policy)


async def test_a_revision_that_would_give_away_more_than_is_offered_is_refused(federated, made, publish):
    (node, _), federation = await federated("node", "other")
    learnware_id = await publish(node, federation, Offers(download="members"), 0, 1)
    before = node.node.dock.get(bytes.fromhex(learnware_id)).row
    package, islands = made(node, learnware_id=learnware_id)
    with pytest.raises(PackageRefused, match="download cannot be offered to more than disclose is"):
        await added(node, package, islands)
    assert node.node.dock.get(bytes.fromhex(learnware_id)).row == before
    await node.client.publish(learnware_id, federation, Offers(disclose="members", download="members"))
    await added(node, package, islands)
    (listing,) = node.node.catalogue.alive(now_ms())
    assert listing.revision == node.node.dock.get(bytes.fromhex(learnware_id)).row.revision != before.revision


@pytest.mark.parametrize("task", ["Classification", "Text Generation"])
async def test_models_of_texts_are_listed_by_their_words_and_never_asked_to_predict(federated, task):
    (node,), federation = await federated("node")
    yaml = "model: {class_name: Model}\nsemantic_specification: {file_name: semantic_specification.json}\n"
    specified = task == "Classification"  # what generates texts comes in by its words alone
    if specified:
        yaml += "stat_specifications: [{class_name: RKMETextSpecification, file_name: stat.json}]\n"
    tree = {"z": np.eye(10, 384).tolist(), "beta": [0.1] * 10, "gamma": 0.1, "num_points": 150, "language": ["en"]}
    words = json.loads(said("Text", task))
    words["Output"] = {"Dimension": 2, "Description": {"0": "bad", "1": "good"}}
    archive = zipped({
        "learnware.yaml": yaml, "__init__.py": "raise SystemExit('it ran')\n", "requirements.txt": "no-such-package==1",
        "semantic_specification.json": json.dumps(words),
        "stat.json": json.dumps(tree | {"type": "RKMETextSpecification"}),
    })  # fmt: skip
    learnware_id, steps = await added(node, *imported(node, archive))
    found = steps["statistical specification"].words
    assert found == ("1 specification, of 10 points" if specified else "there is none: it is found by its words only")
    assert steps["model runs"].words.startswith("not tried: models of texts in Beimingwu's format are not run here")
    assert "environment" not in steps
    assert not unpacked(node)
    for policy in (Offers(predict="ask"), Policy(predict=Rule(peers=(node.node.identity.peer,)))):
        with pytest.raises(RemoteError, match=r"predict cannot be offered: models of texts .* rows are numbers"):
            await node.client.publish(learnware_id, federation, policy)
    await node.client.publish(learnware_id, federation, Offers(disclose="members", download="members"))
    (listing,) = node.node.catalogue.alive(now_ms())
    assert (len(listing.specifications), listing.offers.download) == (int(specified), "members")
    words = "the learnware is of texts" if specified else "takes other columns"
    with pytest.raises(RemoteError, match=words):
        await node.client.predict_with(learnware_id, np.zeros((1, 1)), send=True)
    assert not unpacked(node)
