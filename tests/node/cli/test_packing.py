"""``atoll learnware pack|edit|new`` as people use them, without a node: files in, a package out, and what is said."""

import json
import pickle
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from atoll.engine.packages import open_package
from atoll.engine.runtime.onnx_model import OnnxModel
from atoll.node.cli.templates import TEMPLATES
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression

X, Y = load_iris(return_X_y=True)
COLUMNS = ("sepal_length", "sepal_width", "petal_length", "petal_width")
OWNER = "12D3KooWOwner"
OFFLINE = ("--owner", OWNER, "--new-island")


@pytest.fixture
def project(tmp_path):
    """A pickled classifier with names, its rows with columns in another order, and words without task or library."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=COLUMNS)
    model = LogisticRegression(max_iter=500).fit(frame, np.array(["setosa", "versicolor", "virginica"])[Y])
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    frame[list(reversed(COLUMNS))].to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "words.json").write_text(json.dumps({"name": "Iris", "scenario": ["Nature"]}))
    return tmp_path, model, frame


def packed(atoll, folder, *options, model="model.pkl"):
    files = ("--data", folder / "rows.csv", "--semantic", folder / "words.json", "-o", folder / "a.zip")
    return atoll("learnware", "pack", folder / model, *files, *OFFLINE, *options)


def test_pack_takes_a_pickle_with_a_warning_and_infers_what_the_model_knows(project, atoll):
    folder, model, frame = project
    code, out, err = packed(atoll, folder, "--json")
    assert code == 0, err
    assert "runs the code inside" in err
    report = json.loads(out)
    assert (report["format"], report["task"], report["outputs"]) == ("onnx", "classification", 3)
    assert report["class_names"] == ["setosa", "versicolor", "virginica"]
    assert report["difference"] < 1e-4
    assert report["points"] > 5
    assert report["privacy"]["rows_behind_least"] >= 5
    assert report["bytes"] == (folder / "a.zip").stat().st_size
    with open_package(folder / "a.zip") as package:
        manifest = package.manifest
        assert (manifest.owner, manifest.columns, manifest.model) == (OWNER, COLUMNS, "model.onnx")
        assert (manifest.semantic.task, manifest.semantic.library) == ("Classification", "Scikit-learn")
        answers = OnnxModel(package.read("model.onnx"), manifest.signature, 1).predict(frame.to_numpy(np.float32))
    assert np.abs(answers - model.predict_proba(frame)).max() < 1e-4


def test_pack_says_what_it_did_in_words(project, atoll):
    folder, _, _ = project
    code, out, _ = packed(atoll, folder)
    assert code == 0
    for words in ("LogisticRegression as onnx", "differs by at most", "points of 150 rows", "membership AUC",
                  "private federations", "atoll learnware add"):  # fmt: skip
        assert words in out


def test_pack_leaves_the_words_that_are_given_as_they_are(project, atoll):
    folder, _, _ = project
    (folder / "words.json").write_text(json.dumps({"name": "Iris", "task": "Others", "library": "TensorFlow"}))
    assert packed(atoll, folder)[0] == 0
    with open_package(folder / "a.zip") as package:
        semantic = package.manifest.semantic
    assert (semantic.task, semantic.library) == ("Others", "TensorFlow")


def test_pack_refuses_an_unknown_tag_with_the_nearest_name(project, atoll):
    folder, _, _ = project
    (folder / "words.json").write_text(json.dumps({"name": "Iris", "scenario": ["Natur"]}))
    code, _, err = packed(atoll, folder)
    assert code == 15
    assert "the nearest is 'Nature'" in err
    assert not (folder / "a.zip").exists()


def test_pack_refuses_a_model_of_other_columns_and_wrong_outputs(project, atoll):
    folder, _, _ = project
    (folder / "other.pkl").write_bytes(pickle.dumps(LinearRegression().fit(X[:, :2], Y)))
    code, _, err = packed(atoll, folder, model="other.pkl")
    assert code == 16
    assert "takes 2 columns, the rows have 4" in err
    (folder / "other.pkl").write_bytes(pickle.dumps(LinearRegression().fit(X, Y)))
    code, _, err = packed(atoll, folder, "--outputs", 2, model="other.pkl")
    assert code == 2
    assert "the model gives 1" in err


def test_pack_refuses_a_file_that_is_no_model(project, atoll):
    folder, _, _ = project
    code, _, err = packed(atoll, folder, model="words.json")
    assert code == 16
    assert "in no model format" in err


class Rounded(RegressorMixin, BaseEstimator):
    """An estimator of a class that no format but a pickle knows."""

    def fit(self, rows, values):
        self.mean_, self.n_features_in_ = np.mean(values), np.shape(rows)[1]
        return self

    def predict(self, rows):
        return np.full(len(rows), self.mean_)


def test_what_no_other_format_fits_is_pickled_only_where_that_is_allowed(project, atoll):
    folder, _, _ = project
    (folder / "own.pkl").write_bytes(pickle.dumps(Rounded().fit(X, Y)))
    (folder / "requirements.txt").write_text("scikit-learn>=1.6\n")
    environment = ("--environment", folder / "requirements.txt")
    code, _, err = packed(atoll, folder, model="own.pkl")
    assert code == 16
    assert "--allow-pickle" in err
    code, out, err = packed(atoll, folder, "--allow-pickle", *environment, "--json", model="own.pkl")
    assert code == 0, err
    assert "only where their administrator lets it in" in json.loads(out)["why"]
    with open_package(folder / "a.zip") as package:
        assert (package.manifest.model, package.manifest.model_format) == ("model.pkl", "pickle")
        assert package.needs == ("requirements.txt", b"scikit-learn>=1.6\n")
    code, _, err = packed(atoll, folder, *environment)
    assert code == 2
    assert "packed as onnx, which needs no environment" in err


def test_pack_refuses_a_list_that_says_where_packages_come_from(project, atoll):
    folder, _, _ = project
    (folder / "model.py").write_text("def predict(rows):\n    return rows[:, 0]\n")
    (folder / "requirements.txt").write_text("--index-url http://127.0.0.1/\nsix\n")
    code, _, err = packed(atoll, folder, "--environment", folder / "requirements.txt", model="model.py")
    assert code == 16
    assert "is no requirement" in err


def test_edit_changes_words_and_nothing_else(project, atoll):
    folder, _, _ = project
    packed(atoll, folder)
    (folder / "more.json").write_text(json.dumps({"description": "Three species.", "license": "MIT"}))
    target = folder / "new.zip"
    code, out, _ = atoll(
        "learnware", "edit", folder / "a.zip", "--semantic", folder / "more.json", "-o", target, "--json"
    )
    said = json.loads(out)
    assert (code, said["changed"]) == (0, ["description", "license"])
    with open_package(folder / "a.zip") as old, open_package(target) as new:
        assert new.learnware_id == old.learnware_id == bytes.fromhex(said["learnware_id"])
        assert new.revision != old.revision
        assert new.manifest.files == old.manifest.files
        assert all(new.read(entry.path) == old.read(entry.path) for entry in old.manifest.files)
        semantic = new.manifest.semantic
    assert (semantic.name, semantic.description, semantic.license) == ("Iris", "Three species.", "MIT")
    assert semantic.scenario == ("Nature",)


def test_edit_refuses_words_that_change_nothing_or_are_unknown(project, atoll):
    folder, _, _ = project
    packed(atoll, folder)
    for words, code in (({"name": "Iris"}, 15), ({"license": "MIT2"}, 15)):
        (folder / "more.json").write_text(json.dumps(words))
        ended, _, err = atoll(
            "learnware", "edit", folder / "a.zip", "--semantic", folder / "more.json", "-o", folder / "b"
        )
        assert ended in (code, 18), err
        assert not (folder / "b").exists()


def test_new_does_not_write_into_a_folder_with_something_in_it(tmp_path, atoll):
    (tmp_path / "mine").write_text("x")
    code, _, err = atoll("learnware", "new", tmp_path)
    assert code == 2
    assert "not empty" in err


@pytest.mark.parametrize(
    ("template", "format_", "task"),
    [
        ("sklearn", "onnx", "classification"),
        ("lightgbm", "onnx", "regression"),
        ("xgboost", "onnx", "classification"),
        pytest.param("torch", "torch_export", "classification", marks=pytest.mark.slow),
        ("onnx", "onnx", "classification"),
        ("python", "python", "regression"),
    ],
)
def test_a_template_trains_and_packs_as_its_readme_says(template, format_, task, tmp_path, atoll, monkeypatch):
    if template in ("lightgbm", "xgboost", "torch"):
        pytest.importorskip(template)
    folder = tmp_path / "mine"
    code, out, _ = atoll("learnware", "new", "--template", template, folder, "--json")
    assert code == 0
    assert set(json.loads(out)["files"]) == set(TEMPLATES[template])
    subprocess.run([sys.executable, "train.py"], cwd=folder, check=True, capture_output=True, text=True)
    monkeypatch.chdir(folder)
    (command,) = re.findall(r"^atoll (learnware pack .*)$", (folder / "README.md").read_text(), re.MULTILINE)
    code, out, err = atoll(*shlex.split(command), *OFFLINE, "--json")
    assert code == 0, err
    assert "warning" not in err
    report = json.loads(out)
    assert (report["format"], report["task"]) == (format_, task)
    with open_package(folder / "package.zip") as package:
        assert package.manifest.semantic.name == json.loads((folder / "words.json").read_text())["name"]
        assert package.manifest.model_format == format_
