import io
import json
import subprocess
from random import Random
from zipfile import ZIP_DEFLATED, ZIP_STORED

import numpy as np
import pytest
from atoll.engine.beimingwu.contents import open_contents
from atoll.engine.beimingwu.importing import import_package
from atoll.engine.beimingwu.legacy import table_island, text_island
from atoll.engine.beimingwu.reading import read_foreign
from atoll.engine.encoding import pack
from atoll.engine.errors import AtollError, PackageError, SpecificationError
from atoll.engine.islands import Feature, Island
from atoll.engine.packages import open_package
from atoll.engine.packages.acceptance import check
from atoll.engine.packages.manifest import commitment
from atoll.engine.runtime.requirements import read
from atoll.engine.semantic import SCENARIOS
from atoll.protocol import limits
from atoll.protocol.listings import Listing, Offers, Quality, SpecSummary

from .conftest import CODE, NAMES, YAML, files_of, spec_json, words_json, zipped

PLAIN = {"requirements.txt": None}


def imported(source, owner, **options):
    target = io.BytesIO()
    found = import_package(source, target, **(owner | options))
    return found, open_package(target)


def scaled(names, scale=2.0):
    return Island("table", len(names), 0.25, tuple(Feature(name, loc=1.0, scale=scale) for name in sorted(names)))


def test_a_table_learnware_keeps_its_zip_its_words_and_its_id(owner, tmp_path):
    path = tmp_path / "iris.zip"
    path.write_bytes(zipped(files_of(**PLAIN)).getvalue())
    found, package = imported(path, owner)
    manifest = package.manifest
    assert b"".join(package.pieces("learnware.zip")) == path.read_bytes()
    assert package.read("semantic_specification.json") == words_json()
    assert (manifest.model, manifest.model_format, manifest.alias) == ("learnware.zip", "beimingwu", "00000123")
    assert (manifest.signature.task, manifest.signature.inputs, manifest.signature.outputs) == ("classification", 4, 2)
    assert (manifest.columns, manifest.class_names) == (NAMES, ("small", "large"))
    ((island, (rkme, salt)),) = package.specifications().items()
    assert found.islands == (table_island(4),)
    assert island == table_island(4).digest
    np.testing.assert_allclose(rkme.points, json.loads(spec_json())["z"], rtol=1e-6)
    assert len(commitment(salt, rkme.to_bytes())) == 32
    assert found.manifest == manifest


@pytest.mark.parametrize("top", ["", "iris/"])
def test_an_open_file_and_a_zip_with_a_folder_around_it_come_in_alike(owner, top):
    source = zipped(files_of(**PLAIN), top)
    found, package = imported(source, owner)
    kept = b"".join(package.pieces("learnware.zip"))
    assert (kept == source.getvalue()) == (not top)
    with_folder = read_foreign(io.BytesIO(kept))
    assert with_folder.words.spec.name == found.manifest.semantic.name == "Iris by size"


def test_a_folder_comes_in_as_the_same_package_each_time(owner, tmp_path):
    for name, data in files_of(**PLAIN).items():
        (tmp_path / name).write_bytes(data)
    made = [imported(tmp_path, owner | {"salt": lambda: bytes(16)})[0].manifest for _ in range(2)]
    assert made[0].to_bytes() == made[1].to_bytes()


def test_what_is_hidden_in_a_folder_stays_there_and_that_is_noted(owner, tmp_path):
    for name, data in files_of(**PLAIN).items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("token")
    (tmp_path / ".env").write_text("SECRET=1")
    found, package = imported(tmp_path, owner)
    assert any("2 files and folders whose names begin with a dot" in note for note in found.notes)
    with open_contents(io.BytesIO(b"".join(package.pieces("learnware.zip")))) as contents:
        assert set(contents.names) == set(files_of(**PLAIN))


def test_a_specification_also_moves_into_known_islands_of_its_very_columns(owner):
    ours, other = scaled(NAMES), scaled(("a", "b", "c", "d"))
    nameless = scaled(("x0", "x1", "x2", "x3"))
    found, package = imported(zipped(files_of(**PLAIN)), owner, islands=(other, ours, nameless))
    assert found.islands == (table_island(4), ours, nameless)
    points = np.array(json.loads(spec_json())["z"])
    order = [NAMES.index(name) for name in ours.names]
    rkme = package.specifications()[ours.digest][0]
    np.testing.assert_allclose(rkme.points, np.clip((points[:, order] - 1.0) / 2.0, -6, 6), rtol=1e-5)
    assert rkme.gamma == 0.25


def test_it_moves_by_position_only_where_its_columns_have_no_names(owner):
    words = words_json(Input={"Dimension": 4, "Description": {}})
    files = files_of(semantic=None, **PLAIN) | {"semantic_specification.json": words}
    found, _ = imported(zipped(files), owner, islands=(scaled(NAMES), scaled(("x0", "x1", "x2", "x3"))))
    assert found.manifest.columns == ("x0", "x1", "x2", "x3")
    assert found.islands == (table_island(4), scaled(("x0", "x1", "x2", "x3")))


def test_at_most_four_islands_and_those_that_are_named_first(owner):
    islands = [scaled(NAMES, scale) for scale in (1.0, 2.0, 3.0, 4.0)]
    found, _ = imported(zipped(files_of(**PLAIN)), owner, islands=islands)
    assert found.islands == (table_island(4), *islands[:3])


@pytest.mark.parametrize(("classes", "islands"), [(2, 3), (32, 1)])
def test_the_longest_words_leave_room_for_fewer_islands_in_a_listing(owner, classes, islands):
    names = tuple("类" * 11 + str(place) for place in range(classes))
    words = words_json(Name="类" * 80, Description="述" * 5000, classes=names, Scenario=list(SCENARIOS))
    known = [scaled(NAMES, scale) for scale in (1.0, 2.0, 3.0)]
    files = files_of(**PLAIN) | {"semantic_specification.json": words}
    found, _ = imported(zipped(files), owner, islands=known, alias="z" * 64)
    manifest, all_ = found.manifest, Offers("members", "members", "members", "members")
    summaries = tuple(SpecSummary(each.digest, bytes(512), 0.2, 1 << 20, bytes(32)) for each in found.islands)
    listing = Listing(
        *[bytes(32)] * 4, 2**40, 2**41, "live", manifest.semantic.summary(), summaries, all_, 4,
        classes, manifest.class_names, Quality("accuracy", 0.9, 1000), alias=manifest.alias,
    )  # fmt: skip
    assert len(found.islands) <= islands
    assert len(pack(listing)) <= limits.LISTING


def test_words_given_beside_the_package_stand_in_for_its_own(owner):
    source = zipped(files_of(**PLAIN) | {"learnware.yaml": YAML.split("semantic")[0].encode()})
    found, package = imported(source, owner, semantic=words_json(Name="Renamed"), alias="old.id-7")
    assert (found.manifest.semantic.name, found.manifest.alias) == ("Renamed", "old.id-7")
    assert package.read("semantic_specification.json") == words_json(Name="Renamed")
    with pytest.raises(PackageError, match="is no alias"):
        imported(source, owner, alias="no good")


def test_an_update_is_a_revision_of_the_same_learnware(owner):
    _, first = imported(zipped(files_of(**PLAIN)), owner)
    _, second = imported(zipped(files_of(**PLAIN, more=b"x")), owner, learnware_id=first.learnware_id.hex())
    assert second.learnware_id == first.learnware_id
    assert second.revision != first.revision


IMAGE_YAML = YAML.replace("RKMETable", "RKMEImage").encode()
IMAGE = {
    "learnware.yaml": IMAGE_YAML, "stat.json": spec_json("RKMEImageSpecification", (2, 3, 32, 32)),
    "semantic_specification.json": words_json(Data=["Image"], Input={}), **PLAIN,
}  # fmt: skip


def test_an_image_learnware_takes_the_shape_that_its_code_or_its_arguments_say(owner):
    said = b"# not input_shape=(3, 9, 9)\n" + CODE.replace("(4,)", "(1, 28, 28)").encode()
    found, _ = imported(zipped(files_of(**IMAGE) | {"__init__.py": said}), owner)
    assert (found.manifest.signature.inputs, found.islands[0].kind) == (784, "image")
    with_arguments = IMAGE_YAML.replace(b"kwargs: {}\nstat", b"kwargs: {input_shape: [3, 8, 8]}\nstat")
    found, _ = imported(zipped(files_of(**IMAGE) | {"learnware.yaml": with_arguments}), owner)
    assert found.manifest.signature.inputs == 192
    silent = b"from learnware.model import BaseModel\nclass Model(BaseModel):\n    pass\n"
    found, _ = imported(zipped(files_of(**IMAGE) | {"__init__.py": silent}), owner)
    assert found.manifest.signature.inputs == 3072
    assert any("input_shape is not told" in note for note in found.notes)


def test_code_that_is_made_to_be_slow_to_look_at_is_looked_at_once(owner):
    slow = b"input_shape = (1" + b" " * 900_000 + b"x" + b"#" * 100_000
    found, _ = imported(zipped(files_of(**IMAGE) | {"__init__.py": slow}), owner)
    assert found.manifest.signature.inputs == 3072


def test_long_names_of_columns_do_not_keep_a_learnware_out(owner):
    names = tuple("类" * 100 + str(place) for place in range(300))
    files = files_of(**PLAIN) | {"stat.json": spec_json(shape=(5, 300)), "__init__.py": b"class Model: pass"}
    files["semantic_specification.json"] = words_json(names=names)
    found, _ = imported(zipped(files), owner, islands=(scaled(NAMES),))
    assert (found.manifest.columns, found.islands) == (names, (table_island(300),))


def test_names_that_are_the_numbers_of_other_inputs_are_none(owner):
    words = words_json(names=("x1", "x0", "x2", "x3"))
    found, _ = imported(zipped(files_of(**PLAIN) | {"semantic_specification.json": words}), owner)
    assert found.manifest.columns == ("x0", "x1", "x2", "x3")
    assert found.islands[0].places(found.manifest.columns) == [0, 1, 2, 3]
    assert any("each other's numbers" in note for note in found.notes)


def text_files(**changes):
    yaml = YAML.replace("RKMETable", "RKMEText").encode()
    words = words_json(Data=["Text"], Input={})
    stat = spec_json("RKMETextSpecification", (3, 384))
    return (
        files_of(**{"learnware.yaml": yaml, "stat.json": stat, "semantic_specification.json": words}, **PLAIN) | changes
    )


def test_a_text_learnware_has_the_island_of_its_encoder(owner):
    found, _ = imported(zipped(text_files()), owner)
    assert found.islands == (text_island(0.1),)
    assert (found.manifest.columns, found.manifest.signature.inputs) == (("text",), 1)


def test_a_language_model_comes_in_by_words_alone(owner):
    yaml = YAML.replace("RKMETable", "GenerativeModel").replace(
        "GenerativeModelSpecification", "GenerativeModelSpecification"
    )
    words = words_json(Data=["Text"], Task=["Text Generation"], Input={}, Output={}, Model=["Base Model"])
    files = text_files(
        **{"learnware.yaml": yaml.encode(), "stat.json": b"PK torch", "semantic_specification.json": words}
    )
    found, package = imported(zipped(files), owner)
    assert (found.islands, package.specifications()) == ((), {})
    assert any("found by words alone" in note for note in found.notes)
    assert found.manifest.semantic.task == "Text Generation"


def test_a_heterogeneous_specification_is_left_out_beside_a_table_and_refused_alone(owner):
    entry = "  - {class_name: HeteroMapTableSpecification, file_name: hetero.json}\nsemantic"
    both = YAML.replace("semantic", entry, 1).encode()
    files = files_of(**PLAIN) | {"learnware.yaml": both, "hetero.json": spec_json("HeteroMapTableSpecification")}
    found, _ = imported(zipped(files), owner)
    assert found.islands == (table_island(4),)
    assert any("hetero.json is left out: " in note and "map" in note for note in found.notes)
    alone = YAML.replace("RKMETable", "HeteroMapTable").encode()
    with pytest.raises(SpecificationError, match=r"no statistical specification.*one market's map"):
        imported(zipped(files | {"learnware.yaml": alone}), owner)


NO_STAT = "name: x\nstat_specifications: []\n"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learnware.yaml": None}, "holds no learnware.yaml"),
        ({"learnware.yaml": b"name: ["}, "no YAML"),
        ({"learnware.yaml": b"a: &x 1\nb: *x"}, "aliases"),
        ({"learnware.yaml": NO_STAT.encode()}, "no statistical specification"),
        ({"stat.json": None}, "which the package does not hold"),
        ({"stat.json": b"{}"}, "stat.json: z has 0 entries"),
        ({"learnware.yaml": YAML.replace("RKMETable", "Other").encode()}, "'OtherSpecification' are not known"),
        ({"semantic_specification.json": None}, "no semantic specification"),
        ({"semantic_specification.json": b"{}"}, "no Name"),
        ({"semantic_specification.json": words_json(Output={})}, "less than two classes"),
        (
            {"semantic_specification.json": words_json(Task=["Regression"], Output={}), "__init__.py": b"pass"},
            "Output.Dim",
        ),
        ({"semantic_specification.json": words_json(names=("a", "b"))}, "says 2 inputs"),
        ({"__init__.py": CODE.replace("(4,)", "(5,)").encode()}, "input_shape"),
        ({"__init__.py": None}, "which is to define the model"),
        ({"learnware.yaml": YAML.replace("class_name: Model", "module_path: sub.py").encode()}, "holds no sub.py"),
    ],
)
def test_what_is_missing_or_wrong_is_refused_with_its_reason(owner, changes, words):
    files = {name: data for name, data in (files_of(**PLAIN) | changes).items() if data is not None}
    with pytest.raises(AtollError, match=words):
        imported(zipped(files), owner)


def test_a_yaml_that_names_a_module_of_the_system_runs_nothing_and_is_refused(owner, tmp_path, monkeypatch):
    def ran(*arguments, **named):
        raise AssertionError("something was run")

    monkeypatch.setattr(subprocess, "Popen", ran)
    monkeypatch.setattr("builtins.exec", ran)
    sign = tmp_path / "ran"
    popen = f"{{module_path: subprocess, class_name: Popen, file_name: stat.json, kwargs: {{args: [touch, {sign}]}}}}"
    for entry in (
        f"model: {popen}",
        f"stat_specifications: [{popen}]",
        "stat_specifications: [{module_path: evil, class_name: Evil, file_name: stat.json}]",
    ):
        evil = f"open({str(sign)!r}, 'w')"
        files = files_of(**PLAIN) | {"learnware.yaml": entry.encode(), "evil.py": evil.encode()}
        with pytest.raises(AtollError, match=r"must be a \.py file inside|are not known"):
            imported(zipped(files), owner)
    imported(zipped(files_of(**PLAIN) | {"__init__.py": evil.encode(), "setup.py": evil.encode()}), owner)
    assert not sign.exists()


def test_names_of_classes_are_cut_and_told_apart(owner):
    classes = ("类" * 30, "类" * 30 + "二", "")
    found, _ = imported(zipped(files_of(**PLAIN) | {"semantic_specification.json": words_json(classes=classes)}), owner)
    names = found.manifest.class_names
    assert len(set(names)) == 3
    assert all(len(name.encode()) <= 40 for name in names)
    assert names[2].startswith("2")
    assert any("names of classes" in note for note in found.notes)


def test_an_id_that_is_none_of_ours_is_not_kept(owner):
    found, _ = imported(zipped(files_of(**PLAIN) | {"learnware.yaml": YAML.replace("00000123", "a b").encode()}), owner)
    assert found.manifest.alias == ""
    assert any("is not kept" in note for note in found.notes)


def test_the_requirements_come_along_without_learnware_itself(owner):
    found, package = imported(zipped(files_of()), owner)
    assert (found.manifest.environment, package.needs.data) == ("requirements.txt", b"numpy>=1.20\n")
    assert any("learnware is left out" in note for note in found.notes)
    conda = b"name: x\ndependencies:\n- python=3.11\n- numpy=1.26\n- pip:\n  - learnware==0.3.2\n  - joblib==1.4\n"
    found, package = imported(zipped(files_of(**{"environment.yaml": conda})), owner)
    assert found.manifest.environment == "environment.yaml"
    assert read(*package.needs).wanted == ("joblib==1.4",)
    assert read(*package.needs).native == ("numpy==1.26.*",)


@pytest.mark.parametrize("data", [b"", b"# nothing\n", b"learnware\n"])
def test_requirements_of_nothing_need_no_environment(owner, data):
    found, _ = imported(zipped(files_of(**{"requirements.txt": data})), owner)
    assert found.manifest.environment == ""


@pytest.mark.parametrize(
    "data", [b"numpy @ file:///home/conda/numpy", b"--index-url http://evil\nnumpy", b"\xff\xfen\0"]
)
def test_requirements_that_are_not_built_here_are_left_to_the_zip_and_noted(owner, data):
    found, _ = imported(zipped(files_of(**{"requirements.txt": data})), owner)
    assert found.manifest.environment == ""
    assert any("requirements.txt is not used" in note for note in found.notes)


def test_acceptance_asks_the_model_for_rows_near_the_raw_points_in_the_models_order(owner):
    ours = scaled(NAMES)
    found, package = imported(zipped(files_of(**PLAIN)), owner, islands=(ours,))
    asked = []

    def run(rows):
        asked.append(rows)
        first = (rows[:, 0] > 0).astype(np.float32)
        return np.stack([first, 1 - first], axis=1)

    report = check(package, {each.id: each for each in found.islands}, run, clock=lambda: 0)
    assert report.accepted, report.words
    points = np.array(json.loads(spec_json())["z"], np.float32)
    distances = np.linalg.norm(asked[0][:, None] - points[None], axis=2).min(axis=1)
    assert np.abs(points).max() > 12
    assert distances.max() < 5
    moved = next(rows for rows in asked[1:] if len(rows) == len(asked[0]))
    assert np.abs((moved - 1.0) / 2.0).max() <= 6.0 + 1e-4


def test_mutated_packages_come_in_or_are_refused_and_nothing_else_happens(owner):
    random = Random(8)
    whole = [zipped(files_of(), method=method).getvalue() for method in (ZIP_STORED, ZIP_DEFLATED)]
    outcomes = {"in": 0, "refused": 0}
    for _ in range(400):
        if random.random() < 0.4:
            source = io.BytesIO(mutated(random.choice(whole), random))
        else:
            files = files_of()
            name = random.choice(sorted(files))
            source = zipped(files | {name: mutated(files[name], random)})
        try:
            imported(source, owner | {"salt": lambda: bytes(16)})
            outcomes["in"] += 1
        except AtollError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 50


def mutated(data, random):
    changed = bytearray(data)
    for _ in range(random.randint(1, 6)):
        place = random.randrange(len(changed))
        kind = random.choice(["flip", "flip", "flip", "cut", "put"])
        if kind == "flip":
            changed[place] = random.choice([0, 255, random.randrange(256)])
        elif kind == "cut" and len(changed) > 100:
            del changed[place : place + random.randint(1, 40)]
        else:
            changed[place:place] = random.randbytes(random.randint(1, 20))
    return bytes(changed)
