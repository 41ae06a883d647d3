"""Conversions: the safest format that says the same, checked on rows; one's own files told by their bytes."""

import io
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
from atoll.engine.errors import FeatureMismatch, ModelRefused
from atoll.engine.packages import convert, writers
from atoll.engine.packages.convert import from_estimator
from atoll.engine.packages.originals import aligned
from atoll.engine.packages.own import load_own, told
from atoll.engine.runtime.onnx_model import OnnxModel
from atoll.engine.tables import Table
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, Y = load_iris(return_X_y=True)
NAMES = ("0", "1", "2")


def onnx_answers(converted, rows):
    return OnnxModel(converted.data, converted.signature, threads=1).predict(rows.astype(np.float32))


def boosters():
    lightgbm, xgboost = pytest.importorskip("lightgbm"), pytest.importorskip("xgboost")
    return {
        "lightgbm": lightgbm.LGBMClassifier(n_estimators=8, verbose=-1, n_jobs=1).fit(X, Y),
        "xgboost": xgboost.XGBClassifier(n_estimators=8, n_jobs=1).fit(X, Y),
    }


@pytest.mark.parametrize(
    "estimator", [make_pipeline(StandardScaler(), LogisticRegression()), RandomForestClassifier(10, random_state=0)]
)
def test_an_estimator_becomes_onnx_and_says_the_same(estimator):
    converted = from_estimator(estimator.fit(X, Y), X)
    assert (converted.format, converted.file_name, converted.class_names) == ("onnx", "model.onnx", NAMES)
    assert (converted.signature.task, converted.signature.inputs, converted.signature.outputs) == (
        "classification", 4, 3,
    )  # fmt: skip
    apart = np.abs(onnx_answers(converted, X) - estimator.predict_proba(X.astype(np.float32))).max()
    assert apart == pytest.approx(converted.difference, abs=1e-6)
    assert apart < 1e-4
    assert "onnx" in converted.words


def test_classes_keep_the_names_that_the_model_knows():
    named = from_estimator(LogisticRegression(max_iter=500).fit(X, np.array(["a", "b", "c"])[Y]), X)
    assert named.class_names == ("a", "b", "c")
    given = from_estimator(LogisticRegression(max_iter=500).fit(X, Y * 1.0), X, class_names=("x", "y", "z"))
    assert given.class_names == ("x", "y", "z")
    with pytest.raises(ModelRefused, match="2 class names for a model of 3"):
        from_estimator(LogisticRegression(max_iter=500).fit(X, Y), X, class_names=("x", "y"))


def test_a_regressor_of_two_targets_has_two_outputs():
    converted = from_estimator(LinearRegression().fit(X[:, :2], X[:, 2:]), X[:, :2])
    assert (converted.signature.task, converted.signature.outputs, converted.class_names) == ("regression", 2, ())


def test_what_onnx_does_not_know_goes_out_as_skops():
    pytest.importorskip("skops")
    values, target = load_diabetes(return_X_y=True)
    converted = from_estimator(IsotonicRegression(out_of_bounds="clip").fit(values[:, :1], target), values[:, :1])
    assert (converted.format, converted.file_name) == ("skops", "model.skops")
    assert "not as onnx" in converted.words
    assert converted.difference == 0


def test_a_conversion_that_says_something_else_is_refused_with_the_number(monkeypatch):
    right, wrong = (LinearRegression().fit(X[:, :3], X[:, 3] + shift) for shift in (0.0, 0.5))
    honest = writers.BY_LIBRARY["sklearn"][0]

    def lying(source, rows):
        monkeypatch.setattr(source.model, "intercept_", wrong.intercept_)
        return honest(source, rows)

    monkeypatch.setattr(convert.writers, "BY_LIBRARY", {"sklearn": (lying,)})
    with pytest.raises(ModelRefused, match=r"outputs differ by up to 0\.5"):
        from_estimator(right, X[:, :3])


@pytest.mark.parametrize(
    ("model", "words"),
    [(RidgeClassifier(), "no probabilities"), (KMeans(2, n_init=1), "neither"), (object(), "no model that is known")],
)
def test_what_no_learnware_can_be_made_of_is_refused(model, words):
    with pytest.raises(ModelRefused, match=words):
        from_estimator(model.fit(X, Y) if hasattr(model, "fit") else model, X)


def test_a_model_of_other_columns_is_refused():
    with pytest.raises(ModelRefused, match="takes 4 columns, the rows have 3"):
        from_estimator(LogisticRegression(max_iter=500).fit(X, Y), X[:, :3])


def test_rows_come_in_the_order_that_the_model_was_fitted_to():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["d", "c", "b", "a"])
    model = LogisticRegression(max_iter=500).fit(frame, Y)
    turned = Table(X[:, ::-1].copy(), ("a", "b", "c", "d"))
    assert aligned(model, turned).columns == ("d", "c", "b", "a")
    assert np.array_equal(aligned(model, turned).values, X)
    with pytest.raises(FeatureMismatch, match="missing"):
        aligned(model, Table(X, ("a", "b", "c", "e")))


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_boosters_become_onnx_or_their_own_format_from_an_estimator_as_from_a_file(library, tmp_path):
    model = boosters()[library]
    converted = from_estimator(model, X)
    assert converted.format in ("onnx", library)
    assert converted.difference < 1e-4
    booster = getattr(model, "booster_", None) or model.get_booster()
    path = tmp_path / "model"
    path.write_bytes(booster.model_to_string().encode() if library == "lightgbm" else booster.save_raw("ubj"))
    own = load_own(path)
    assert (own.format, own.warning) == (library, None)
    again = from_estimator(own.model, X, class_names=("a", "b", "c"))
    assert again.class_names == ("a", "b", "c")
    assert again.signature == converted.signature


def test_a_pipeline_that_ends_in_lightgbm_becomes_onnx():
    lightgbm = pytest.importorskip("lightgbm")
    pytest.importorskip("onnxmltools")
    model = make_pipeline(StandardScaler(), lightgbm.LGBMClassifier(n_estimators=8, verbose=-1, n_jobs=1)).fit(X, Y)
    converted = from_estimator(model, X)
    assert converted.format == "onnx"
    assert converted.difference < 1e-4


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_without_onnxmltools_boosters_keep_their_own_format(library, monkeypatch):
    model = boosters()[library]
    monkeypatch.setitem(sys.modules, "onnxmltools", None)
    converted = from_estimator(model, X)
    assert converted.format == library
    assert converted.difference < 1e-6
    assert "pip install 'atoll[models]'" in converted.words


def test_a_torch_module_of_scores_is_given_a_softmax_where_its_classes_are_named():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    plain = from_estimator(module, X)
    assert (plain.signature.task, plain.signature.outputs) == ("regression", 3)
    assert "name its classes" in plain.words
    named = from_estimator(module, X, class_names=("a", "b", "c"))
    assert (named.format, named.signature.task) == ("onnx", "classification")
    assert "softmax" in named.words
    assert np.allclose(onnx_answers(named, X).sum(axis=1), 1.0, atol=1e-5)


def test_what_onnx_cannot_say_of_torch_goes_out_as_a_program(tmp_path):
    torch = pytest.importorskip("torch")

    class Odd(torch.nn.Module):
        def forward(self, rows):
            return torch.special.i1(rows).sum(dim=1, keepdim=True)

    converted = from_estimator(Odd(), X)
    assert (converted.format, converted.file_name) == (writers.TORCH_EXPORT, "model.pt2")
    path = tmp_path / "model"
    path.write_bytes(converted.data)
    own = load_own(path)
    assert (own.format, own.warning) == (writers.TORCH_EXPORT, None)
    assert from_estimator(own.model, X).difference == 0


def test_weights_in_safetensors_become_the_perceptron_they_name(tmp_path):
    torch = pytest.importorskip("torch")
    save = pytest.importorskip("safetensors.torch").save_file
    linear = torch.nn.Linear(4, 3)
    tensors = {"layers.0.weight": linear.weight.detach(), "layers.0.bias": linear.bias.detach()}
    path = tmp_path / "weights"
    save(tensors, path, {"atoll.architecture": "mlp", "atoll.activation": "relu"})
    own = load_own(path)
    converted = from_estimator(own.model, X)
    expected = linear(torch.from_numpy(X.astype(np.float32))).detach().numpy()
    assert own.format == "safetensors"
    assert np.abs(onnx_answers(converted, X) - expected).max() < 1e-5
    save(tensors, path)
    with pytest.raises(ModelRefused, match="without an architecture"):
        load_own(path)


def test_onnx_bytes_stay_as_they_are(tmp_path):
    first = from_estimator(LogisticRegression(max_iter=500).fit(X, Y), X)
    path = tmp_path / "model.pkl"  # a name says nothing
    path.write_bytes(first.data)
    own = load_own(path)
    again = from_estimator(own.model, X)
    assert (own.format, own.warning, again.data, again.signature) == ("onnx", None, first.data, first.signature)


@pytest.mark.parametrize("dump", [pickle.dump, joblib.dump, lambda model, file: joblib.dump(model, file, compress=3)])
def test_a_pickle_is_loaded_with_a_warning_that_comes_first(dump, tmp_path):
    target = io.BytesIO()
    dump(LogisticRegression(max_iter=500).fit(X, Y), target)
    path = tmp_path / "model.onnx"
    path.write_bytes(target.getvalue())
    said = []
    own = load_own(path, said.append)
    assert (own.format, said) == ("pickle", [own.warning])
    assert "runs the code inside" in own.warning
    assert from_estimator(own.model, X).format == "onnx"


def test_the_warning_comes_before_the_code_runs(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "model"
    path.write_bytes(pickle.dumps(Trap()))

    class StoppedByUserError(Exception):
        pass

    def stop(words):
        raise StoppedByUserError

    with pytest.raises(StoppedByUserError):
        load_own(path, stop)
    assert not (tmp_path / "ran").exists()


def test_skops_files_are_read_back(tmp_path):
    skops = pytest.importorskip("skops.io")
    model = HistGradientBoostingRegressor(max_iter=5).fit(X[:, :3], X[:, 3])
    path = tmp_path / "model"
    path.write_bytes(skops.dumps(model))
    own = load_own(path)
    assert own.format == "skops"
    assert from_estimator(own.model, X[:, :3]).difference < 1e-4


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04broken", b"\x89HDF\r\n", b"import os\n"])
def test_what_is_no_model_is_refused(data):
    with pytest.raises(ModelRefused):
        told(data)


def test_importing_packages_loads_no_torch_and_no_converter():
    code = "import sys, atoll.engine.packages; print([m for m in ('torch', 'skl2onnx', 'onnx') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
