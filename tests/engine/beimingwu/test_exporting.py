import io
import json
import os
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from atoll.engine.beimingwu.config import read_config
from atoll.engine.beimingwu.contents import open_contents
from atoll.engine.beimingwu.exporting import export_package, raw_rkme
from atoll.engine.beimingwu.importing import import_package
from atoll.engine.beimingwu.legacy import table_island
from atoll.engine.beimingwu.reading import read_foreign
from atoll.engine.beimingwu.specifications import read_specification
from atoll.engine.errors import AtollError, SpecificationError
from atoll.engine.islands import Island
from atoll.engine.packages import open_package
from atoll.engine.packages.convert import from_estimator
from atoll.engine.packages.originals import original
from atoll.engine.packages.pack import pack
from atoll.engine.packages.revise import revise
from atoll.engine.packages.writers import BY_LIBRARY, pickled
from atoll.engine.semantic import SemanticSpec
from atoll.engine.specs import Rkme
from atoll.engine.specs.dp import Budget
from atoll.engine.specs.rkme import mmd2
from atoll.engine.tables import Table
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .conftest import YAML, files_of, words_json, zipped

COLUMNS = tuple(f"c{place:02d}" for place in reversed(range(13)))  # not the island's order
WORDS = SemanticSpec("Wines", "Three growers of one region.", scenario=("Agriculture",), license="MIT")
UPSTREAM = os.environ.get("LEARNWARE_PYTHON", "")  # an interpreter that has learnware==0.4.0.post1


@pytest.fixture(scope="module")
def wine():
    values, labels = load_wine(return_X_y=True)
    rows = Table(values, COLUMNS)
    return rows, labels, Island.mint(rows)


@pytest.fixture(scope="module")
def fitted(wine):
    """A classifier, a regressor and boosters, fitted to wines."""
    import lightgbm
    import xgboost

    rows, labels, _ = wine
    x = rows.values
    return {
        "sklearn": make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(x, labels),
        "two": make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(x, (labels > 0).astype(int)),
        "ridge": Ridge().fit(x, x[:, :2]),
        "lightgbm": lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(x, labels),
        "lightgbm two": lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(x, (labels > 0).astype(int)),
        "xgboost": xgboost.XGBClassifier(n_estimators=5).fit(x, labels),
    }


def packed(model, wine, format_, part=slice(None)):
    """Our package of a fitted model in a format; and the model's answers as ours."""
    rows, _, island = wine
    narrow = rows.values.astype(np.float32)
    source = original(model, narrow, None, ())
    if format_ == "pickle":
        written = pickled(source, narrow)
    else:
        written = next(
            filter(lambda each: each.format == format_, (w(source, narrow) for w in BY_LIBRARY[source.library]))
        )
    target = io.BytesIO()
    pack(
        target, written.data, Table(rows.values[part], COLUMNS), island, WORDS, source.signature, owner="owner",
        created_at=1, salt=bytes(16), class_names=source.class_names, size=20, model_format=format_,
        model_path=f"model.{format_}",
    )  # fmt: skip
    return open_package(target), written.answers


def exported(package, wine):
    target = io.BytesIO()
    found = export_package(package, {wine[2].id: wine[2]}, target)
    return target, found


def plain_files():
    return {name: data for name, data in files_of().items() if name != "requirements.txt"}


CASES = [
    ("sklearn", "onnx"), ("sklearn", "skops"), ("sklearn", "pickle"), ("two", "onnx"), ("ridge", "onnx"),
    ("ridge", "skops"), ("lightgbm", "lightgbm"), ("lightgbm two", "lightgbm"), ("xgboost", "xgboost"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "format_"), CASES)
def test_the_exported_class_answers_as_our_model(fitted, wine, tmp_path, base_model, name, format_):
    package, answers = packed(fitted[name], wine, format_)
    target, _ = exported(package, wine)
    with zipfile.ZipFile(target) as archive:
        archive.extractall(tmp_path)
    code = tmp_path / "__init__.py"
    names = {"__file__": str(code), "__name__": "exported"}
    exec(compile(code.read_text(), str(code), "exec"), names)
    model, rows = names["Model"](), wine[0].values.astype(np.float32)
    signature = package.manifest.signature
    assert (model.input_shape, model.output_shape) == ((signature.inputs,), (signature.outputs,))
    np.testing.assert_allclose(model.predict(wine[0].values), answers(rows), rtol=1e-5, atol=1e-5)


def test_what_is_exported_comes_in_again_as_what_it_was(fitted, wine, owner):
    package, _ = packed(fitted["sklearn"], wine, "onnx")
    target, found = exported(package, wine)
    assert exported(package, wine)[0].getvalue() == target.getvalue()
    assert any("points: whoever has it, has them" in note for note in found.notes)
    foreign = read_foreign(target)
    assert foreign.words.spec == WORDS
    assert (foreign.words.input_names, foreign.words.output_names) == (COLUMNS, ("0", "1", "2"))
    assert (foreign.config.id, foreign.alias, foreign.shapes.inputs) == (package.learnware_id.hex(), "", (13,))
    (given,) = foreign.given
    assert given.island == table_island(13, 0.1)
    rkme = Rkme.from_bytes(package.read(package.manifest.specifications[0].path))
    expected = raw_rkme(rkme, wine[2], COLUMNS)
    np.testing.assert_array_equal(given.rkme.points, expected.points)
    back = wine[2].transform(Table(given.rkme.points.astype(np.float64), COLUMNS))
    np.testing.assert_allclose(back, rkme.points, atol=1e-4)


def test_what_came_from_there_goes_back_byte_for_byte(owner, tmp_path):
    source, target, again = zipped(plain_files()), io.BytesIO(), io.BytesIO()
    import_package(source, target, **owner)
    with open_package(target) as package:
        assert export_package(package, {}, again).notes == ()
        export_package(package, {}, tmp_path / "again.zip", scratch=tmp_path)
    assert again.getvalue() == (tmp_path / "again.zip").read_bytes() == source.getvalue()
    assert [each.name for each in tmp_path.iterdir()] == ["again.zip"]


UNNAMED = "id: '0017'\nmodel:\n  kwargs:\n    input_shape: !!python/tuple\n    - 4\nstat_" + YAML.split("stat_", 1)[1]
UNNAMED = UNNAMED.split("semantic")[0]  # as the package's own templates write it


@pytest.mark.parametrize("yaml", [YAML, UNNAMED])
def test_words_that_were_changed_here_go_into_the_zip(owner, tmp_path, yaml):
    imported, path, again = io.BytesIO(), tmp_path / "revised", io.BytesIO()
    files = plain_files() | {"learnware.yaml": yaml.encode()}
    first = import_package(zipped(files), imported, **owner).manifest
    renamed = SemanticSpec("Renamed", "Other words.", scenario=("Health",))
    revise(imported, path, semantic=renamed)
    with open_package(path) as package:
        assert "words were changed" in export_package(package, {}, again).notes[0]
        export_package(package, {}, tmp_path / "again.zip")
    assert again.getvalue() == (tmp_path / "again.zip").read_bytes()
    foreign = read_foreign(again)
    assert foreign.words.spec == renamed
    assert (foreign.alias, foreign.words.input_names) == (first.alias, first.columns)
    with zipfile.ZipFile(again) as archive:
        assert archive.read("__init__.py") == files["__init__.py"]


def test_words_that_came_beside_a_zip_without_any_are_put_in_for_else_it_does_not_load_there(owner):
    imported, again = io.BytesIO(), io.BytesIO()
    files = plain_files() | {"learnware.yaml": UNNAMED.encode()}
    del files["semantic_specification.json"]
    import_package(zipped(files), imported, **owner, semantic=words_json())
    with open_package(imported) as package:
        assert "named no words" in export_package(package, {}, again).notes[0]
    with open_contents(again) as contents:
        assert contents.read("semantic_specification.json", 1 << 20) == words_json()
        config = read_config(contents.read("learnware.yaml", 1 << 16))
    assert (config.id, config.model.kwargs) == ("0017", {"input_shape": [4]})
    assert config.semantic_file == "semantic_specification.json"


@pytest.mark.parametrize("named", ["__init__.py", "stat.json", "learnware.yaml"])
def test_words_take_no_other_files_place(owner, tmp_path, named):
    imported, path, again = io.BytesIO(), tmp_path / "revised", io.BytesIO()
    yaml = YAML.replace("file_name: semantic_specification.json", f"file_name: {named}").encode()
    files = plain_files() | {"learnware.yaml": yaml}
    import_package(zipped(files), imported, **owner, semantic=words_json())
    revise(imported, path, semantic=SemanticSpec("Renamed"))
    with open_package(path) as package:
        export_package(package, {}, again)
    assert read_foreign(again).words.spec.name == "Renamed"
    with open_contents(again) as contents:
        assert all(contents.read(name, 1 << 20) == files[name] for name in ("__init__.py", "stat.json"))


def test_what_cannot_be_exported_is_refused_with_the_reason(fitted, wine):
    package, _ = packed(fitted["sklearn"], wine, "onnx")
    with pytest.raises(SpecificationError, match="none of them is at hand"):
        export_package(package, {}, io.BytesIO())
    noised = io.BytesIO()
    rows, _, island = wine
    converted = from_estimator(fitted["sklearn"], rows)
    pack(
        noised, converted.data, rows, island, WORDS, converted.signature, owner="owner", created_at=1, salt=bytes(16),
        class_names=converted.class_names, budget=Budget(8.0, 1e-3, b"k" * 32),
    )  # fmt: skip
    with open_package(noised) as package, pytest.raises(AtollError, match="noised"):
        export_package(package, {island.id: island}, io.BytesIO())


@pytest.mark.skipif(not UPSTREAM, reason="LEARNWARE_PYTHON names no interpreter that has Beimingwu's package")
@pytest.mark.timeout(600)
def test_beimingwus_own_package_loads_them_answers_alike_and_measures_the_same_distances(fitted, wine, tmp_path):
    rows = wine[0].values[::9]
    np.save(tmp_path / "rows.npy", rows)
    kinds = [each for each in CASES if each[1] != "pickle"]
    zips, answers, rkmes = [], [], []
    for number, (name, format_) in enumerate(kinds):
        package, ours = packed(fitted[name], wine, format_, slice(12 * number, 12 * number + 80))
        rkme = Rkme.from_bytes(package.read(package.manifest.specifications[0].path))
        rkmes.append(raw_rkme(rkme, wine[2], COLUMNS))
        zips.append(tmp_path / f"{number}.zip")
        export_package(package, {wine[2].id: wine[2]}, zips[-1])
        answers.append(ours(rows.astype(np.float32)))
    program = Path(__file__).with_name("upstream.py")
    environment = os.environ | {
        "PYTHONPATH": os.environ.get("LEARNWARE_PATH", ""),
        "LEARNWARE_STORAGE_PATH": str(tmp_path),
    }
    ran = subprocess.run([UPSTREAM, program, tmp_path / "rows.npy", *zips], capture_output=True, env=environment)
    assert ran.returncode == 0, ran.stderr.decode()[-2000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["words"] == told["valid"] == [True] * len(zips), told["why"]
    for theirs, ours in zip(told["answers"], answers, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)
    ours = [[mmd2(left, right) for right in rkmes] for left in rkmes]
    np.testing.assert_allclose(told["distances"], ours, rtol=1e-6, atol=1e-12)
    for path, rkme in zip(zips, rkmes, strict=True):
        with zipfile.ZipFile(path) as archive:
            assert read_specification(archive.read("stat.json")).rkme.to_bytes() == rkme.to_bytes()
