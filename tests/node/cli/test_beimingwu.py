"""``atoll beimingwu import|export``: what a person who moves over types, and is told."""

import asyncio
import json
import pickle
import re
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pytest
from atoll.engine.beimingwu.legacy import table_island
from atoll.engine.beimingwu.specifications import write_specification
from atoll.engine.islands import Island
from atoll.engine.packages import open_package
from atoll.engine.specs import fit_rkme
from atoll.engine.tables import Table
from atoll.node.clock import now_ms
from atoll.protocol.listings import Offers
from sklearn.datasets import load_iris

PAGE = Path(__file__).parents[3] / "node" / "docs" / "beimingwu.md"
COLUMNS = ("sepal length", "sepal width", "petal length", "petal width")
YAML = """
id: "00000417"
stat_specifications:
- class_name: RKMETableSpecification
  file_name: stat.json
semantic_specification:
  file_name: semantic_specification.json
"""
CODE = """
import numpy as np
from learnware.model import BaseModel


class Model(BaseModel):
    def __init__(self):
        super().__init__(input_shape=(4,), output_shape=(1,))

    def predict(self, X):
        return (np.asarray(X)[:, 2] > 2.5).astype(int)
"""


@pytest.fixture
def words():
    values = {
        "Data": ["Table"], "Task": ["Classification"], "Library": ["Others"], "Scenario": ["Nature"],
        "License": ["MIT"], "Name": "Setosa or not", "Description": "By the length of a petal.",
    }  # fmt: skip
    tree = {
        key: {"Type": "String" if isinstance(each, str) else "Class", "Values": each} for key, each in values.items()
    }
    return tree | {
        "Input": {"Dimension": 4, "Description": {str(place): name for place, name in enumerate(COLUMNS)}},
        "Output": {"Dimension": 2, "Description": {"0": "setosa", "1": "another"}},
    }


@pytest.fixture
def zipped(tmp_path, words):
    """Write a zip; ``without`` names files that it lacks, ``more`` other ones."""
    rkme = fit_rkme(load_iris().data[:100].astype(np.float32), size=20, gamma=0.1)

    def write(name="setosa.zip", without=(), **more):
        files = {
            "learnware.yaml": YAML, "__init__.py": CODE, "stat.json": write_specification(rkme, table_island(4)),
            "semantic_specification.json": json.dumps(words),
        } | {path.replace("__", "."): data for path, data in more.items()}  # fmt: skip
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for path, data in files.items():
                if path not in without:
                    archive.writestr(path, data)
        return tmp_path / name

    return write


@pytest.fixture
async def two(federated, atoll, monkeypatch, tmp_path):
    """(two nodes of a federation, its id, the command line at a node of them)."""
    nodes, federation = await federated("one", "other")
    monkeypatch.chdir(tmp_path)

    async def at(node, *arguments):
        monkeypatch.setenv("ATOLL_URL", node.url)
        monkeypatch.setenv("ATOLL_TOKEN", node.token)
        return await asyncio.to_thread(atoll, "beimingwu", *arguments)

    return nodes, federation, at


async def test_a_zip_becomes_a_package_that_keeps_it(two, zipped):
    (one, _), _, at = two
    source = zipped()
    named = Island.mint(Table(load_iris().data, COLUMNS))
    await one.client.add_island(named)
    code, out, err = await at(one, "import", source, "-o", "package.zip")
    assert (code, err) == (0, "")
    assert "known as 00000417" in out
    assert "4 inputs to setosa, another" in out
    assert "shared by all such of Beimingwu" in out
    assert "with the same columns, moved there" in out
    assert "atoll learnware add package.zip" in out
    with open_package(source.with_name("package.zip")) as package:
        assert {island.hex() for island in package.specifications()} == {table_island(4).id, named.id}
        assert b"".join(package.pieces("learnware.zip")) == source.read_bytes()
    assert table_island(4).id in {island.id for island in await one.client.islands()}
    await one.client.add_learnware(source.with_name("package.zip"))


async def test_what_is_imported_and_listed_is_exported_byte_for_byte(two, zipped, changed):
    (one, other), federation, at = two
    source = zipped()
    code, out, err = await at(one, "import", source, "--add", "--federation", federation, "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["state"] == "accepted"
    assert (report["alias"], report["federation"], report["package"]) == ("00000417", federation, None)
    assert [island["legacy"] for island in report["islands"]] == [True]
    id_ = report["learnware_id"]

    code, out, err = await at(one, "export", id_, "-o", "own.zip")
    assert (code, err) == (0, "")
    assert source.with_name("own.zip").read_bytes() == source.read_bytes()

    def listed():
        return other.node.catalogue.versions(bytes.fromhex(id_), now_ms())

    await changed(other, listed)
    code, out, err = await at(other, "export", "00000417", "-o", "denied.zip")
    assert code == 12
    assert not source.with_name("denied.zip").exists()
    await one.client.publish(id_, federation, Offers(disclose="members", download="members"))
    await changed(other, lambda: any(each.offers.download == "members" for each in listed()))
    code, out, err = await at(other, "export", "00000417", "-o", "theirs.zip", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["bytes"] == source.stat().st_size
    assert source.with_name("theirs.zip").read_bytes() == source.read_bytes()


async def test_a_federation_goes_by_its_name_and_a_learnware_by_the_beginning_of_its_id(two, zipped, atoll):
    (one, _), federation, at = two
    name = one.node.federations.get(bytes.fromhex(federation)).charter.name
    code, out, err = await at(one, "import", zipped(), "--add", "--federation", "no such thing")
    assert code == 2
    assert "there is no federation 'no such thing' here" in " ".join(err.split())
    assert not one.node.dock.all()
    code, out, err = await at(one, "import", zipped(), "--add", "--federation", name, "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["federation"] == federation
    id_ = report["learnware_id"]
    policy = ("learnware", "policy", id_[:12], "--federation", federation[:8], "--disclose", "members")
    code, out, err = await asyncio.to_thread(atoll, *policy)
    assert (code, err) == (0, "")
    (listing,) = one.node.publisher.listed_in(bytes.fromhex(id_))
    assert listing.offers.disclose == "members"
    code, out, err = await asyncio.to_thread(atoll, "learnware", "show", "abcdef123")
    assert code == 2
    assert "there is no learnware 'abcdef123' here" in " ".join(err.split())


async def test_a_package_of_ours_becomes_a_zip_of_theirs(two, digits, tmp_path):
    (one, _), _, at = two
    island = digits.island()
    await one.client.add_island(island)
    (tmp_path / "digits.zip").write_bytes(digits.package(one.node.identity.peer, island, 0, 1))
    code, out, err = await at(one, "export", "digits.zip", "-o", "theirs.zip")
    assert (code, err) == (0, "")
    assert "raw units" in out
    with zipfile.ZipFile("theirs.zip") as archive:
        assert {"learnware.yaml", "__init__.py", "model.onnx"} <= {*archive.namelist()}


async def test_a_model_that_could_do_without_code_is_named_with_what_to_type(two, zipped, tmp_path):
    (one, _), _, at = two
    model = pickle.dumps({"a": 1})
    source = zipped("a zip.zip", notes__pkl=b"no pickle at all", **{"it's `mine`/model__pkl": model})
    code, out, _ = await at(one, "import", source, "-o", "package.zip")
    assert code == 0
    assert "model.pkl in it is a pickle" in out
    assert "notes.pkl" not in out
    (take,) = re.findall(r"^  (unzip .*)$", out, re.MULTILINE)
    assert shlex.split(take) == ["unzip", "-p", str(source), "it's `mine`/model.pkl", ">", "./model.pkl"]
    assert "atoll learnware pack ./model.pkl --data ROWS.csv" in out
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile("around.zip", "w") as around:
        for name in archive.namelist():
            around.writestr(f"top/{name}", archive.read(name))
    code, out, _ = await at(one, "import", "around.zip", "-o", "package.zip")
    assert code == 0
    (take,) = re.findall(r"^  (unzip .*)$", out, re.MULTILINE)
    assert shlex.split(take)[3] == "top/it's `mine`/model.pkl"


async def test_what_is_refused_says_why_and_what_to_do(two, zipped, tmp_path):
    (one, _), _, at = two
    code, _, err = await at(one, "import", zipped(without=("stat.json",)), "-o", "package.zip")
    assert code == 15
    assert "stat.json" in err
    code, _, err = await at(one, "import", zipped(without=("semantic_specification.json",)), "-o", "package.zip")
    assert code == 15
    assert "--semantic FILE" in err
    assert not (tmp_path / "package.zip").exists()


async def test_words_and_alias_may_be_given_beside_a_folder(two, zipped, words, tmp_path):
    (one, _), _, at = two
    with zipfile.ZipFile(zipped(without=("semantic_specification.json",))) as archive:
        archive.extractall(tmp_path / "around" / "setosa")
    (tmp_path / "words.json").write_text(json.dumps(words | {"Name": {"Type": "String", "Values": "Mine"}}))
    arguments = ("around", "--semantic", "words.json", "--alias", "mine-1", "-o", "package.zip", "--json")
    code, out, err = await at(one, "import", *arguments)
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert (report["name"], report["alias"]) == ("Mine", "mine-1")
    assert report["package"] == "package.zip"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "one of -o PACKAGE, to write it, and --add"),
        (("--add", "-o", "package.zip"), "one of -o PACKAGE, to write it, and --add"),
        (("-o", "package.zip", "--federation", "F"), "--federation goes with --add"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(atoll, zipped, arguments, words):
    code, _, err = atoll("beimingwu", "import", zipped(), *arguments)
    assert code == 2
    assert words in " ".join(err.replace("│", " ").split())


async def test_what_the_documentation_says_runs_as_it_stands(two, atoll, zipped, words, monkeypatch, tmp_path):
    (one, _), federation, _ = two
    zipped("sepsis.zip")
    monkeypatch.setenv("ATOLL_URL", one.url)
    monkeypatch.setenv("ATOLL_TOKEN", one.token)
    (tmp_path / "words.json").write_text(json.dumps(words | {"Name": {"Type": "String", "Values": "Other words"}}))
    section = PAGE.read_text("utf-8")
    commands = re.findall(r"^atoll (.+?)(?:  +#.*)?$", section, re.MULTILINE)
    assert len(commands) == 5
    assert await one.client.learnwares() == []
    for command in commands:
        held = await one.client.learnwares()
        named = command.replace("FEDERATION", federation).replace("LEARNWARE", held[0].learnware_id if held else "")
        code, _, err = await asyncio.to_thread(atoll, *shlex.split(named))
        assert code == 0, (command, err)
    assert (tmp_path / "sepsis.zip").exists()
