"""Formats are told by their bytes, answer as their libraries do, and run for others where the sandbox is strong."""

import contextlib
import importlib.util
import io
import pickle

import numpy as np
import pytest
from atoll.engine.errors import ModelRefused
from atoll.engine.packages.convert import to_onnx
from atoll.engine.runtime import Rung, Sandbox, Signature, rung
from atoll.engine.runtime.formats import CODE, FORMATS, detect
from attacks import files
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import Ridge

DIGITS = Signature("classification", 64, 10)


@pytest.fixture(scope="module")
def strong(sandbox):
    """The sandbox of a machine that has bubblewrap."""
    if rung().level != "strong":
        pytest.skip(f"others' models of these formats need the strong rung: {rung().missing}")
    return sandbox


class Trap:
    """Unpickled, it opens what the sandbox does not have."""

    def __reduce__(self):
        return open, ("/etc/passwd",)


def lightgbm_text(rows, labels):
    lightgbm = pytest.importorskip("lightgbm")
    booster = lightgbm.train(
        {"objective": "multiclass", "num_class": 10, "verbose": -1, "num_threads": 1}, lightgbm.Dataset(rows, labels), 3
    )
    return booster.model_to_string().encode(), booster.predict(rows)


def xgboost_raw(rows, labels, kind):
    xgboost = pytest.importorskip("xgboost")
    booster = xgboost.XGBClassifier(n_estimators=3, n_jobs=1).fit(rows, labels)
    return bytes(booster.get_booster().save_raw(kind)), booster.predict_proba(rows)


def skops_file(rows, labels, estimator):
    skops = pytest.importorskip("skops.io")
    estimator.fit(rows, labels)
    return skops.dumps(estimator), estimator.predict_proba(rows)


def perceptron():
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.Tanh(), torch.nn.Linear(16, 10), torch.nn.Softmax(-1))


def exported(rows, labels):
    import torch

    module = perceptron()
    batch = torch.export.Dim("batch")
    program = torch.export.export(module, (torch.zeros(3, 64),), dynamic_shapes=({0: batch},))
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue(), module(torch.from_numpy(rows)).detach().numpy()


def weights(rows, labels):
    import torch
    from safetensors.torch import save

    module = perceptron()
    tensors = {f"layers.{k}.{name}": value.detach() for k, place in enumerate((0, 2)) for name, value in
               module[place].named_parameters()}  # fmt: skip
    metadata = {"atoll.architecture": "mlp", "atoll.activation": "tanh"}
    return save(tensors, metadata=metadata), module(torch.from_numpy(rows)).detach().numpy()


MAKERS = {
    "skops forest": ("skops", lambda x, y: skops_file(x, y, RandomForestClassifier(5, n_jobs=-1, random_state=0))),
    "skops boosting": ("skops", lambda x, y: skops_file(x, y, HistGradientBoostingClassifier(max_iter=3))),
    "LightGBM text": ("lightgbm", lightgbm_text),
    "XGBoost UBJ": ("xgboost", lambda x, y: xgboost_raw(x, y, "ubj")),
    "XGBoost JSON": ("xgboost", lambda x, y: xgboost_raw(x, y, "json")),
    "torch.export": ("torch_export", exported),
    "safetensors": ("safetensors", weights),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MAKERS)
def test_a_worker_answers_as_the_library_does(strong, digits, tmp_path, name):
    rows, labels, _ = digits
    found, make = MAKERS[name]
    data, expected = make(rows, labels)
    path = tmp_path / "no_extension.onnx"  # a name says nothing
    path.write_bytes(data)
    assert detect(io.BytesIO(data)) == found
    with strong.start(path, DIGITS) as worker:
        assert np.abs(worker.predict(rows[:200]) - expected[:200]).max() < 1e-4


def test_onnx_classifier(sandbox, digits, model):
    rows, _, estimator = digits
    assert detect(io.BytesIO(model.read_bytes())) == "onnx"
    with sandbox.start(model, DIGITS) as worker:
        assert np.abs(worker.predict(rows) - estimator.predict_proba(rows)).max() < 1e-4


def test_a_booster_of_two_classes_gives_two_columns(sandbox, digits, tmp_path):
    rows, labels, _ = digits
    data, expected = xgboost_raw(rows, labels % 2, "ubj")
    path = tmp_path / "model"
    path.write_bytes(data)
    with sandbox.start(path, Signature("classification", 64, 2), trust="own") as worker:
        assert np.abs(worker.predict(rows[:50]) - expected[:50]).max() < 1e-5


def test_regression_gives_one_column(sandbox, tmp_path):
    values, target = load_diabetes(return_X_y=True)
    estimator = Ridge().fit(values, target)
    path = tmp_path / "model"
    path.write_bytes(to_onnx(estimator, 10))
    with sandbox.start(path, Signature("regression", 10, 1)) as worker:
        found = worker.predict(values.astype(np.float32))
    assert found.shape == (len(values), 1)
    assert np.allclose(found[:, 0], estimator.predict(values), rtol=1e-3)


def test_own_code_runs_and_others_does_not(sandbox, tmp_path):
    path = tmp_path / "model.py"
    path.write_bytes(b"import numpy as np\n\ndef predict(rows):\n    return rows.sum(axis=1)\n")
    signature = Signature("regression", 3, 1)
    with sandbox.start(path, signature, trust="own") as worker:
        assert worker.predict(np.ones((2, 3), np.float32)).tolist() == [[3.0], [3.0]]
    with pytest.raises(ModelRefused, match="Python code runs code when it is loaded and is not run for others"):
        sandbox.start(path, signature)


@pytest.mark.parametrize("protocol", range(6))
def test_own_pickles_run_and_others_do_not(sandbox, digits, tmp_path, protocol):
    rows, _, estimator = digits
    path = tmp_path / "model"
    path.write_bytes(pickle.dumps(estimator, protocol))
    with sandbox.start(path, DIGITS, trust="own") as worker:
        assert np.abs(worker.predict(rows[:50]) - estimator.predict_proba(rows[:50])).max() < 1e-5
    with pytest.raises(ModelRefused, match="pickle runs code") as caught:
        sandbox.start(path, DIGITS)
    assert "atoll code allow" in caught.value.hint


@pytest.mark.parametrize(
    ("held", "said"),
    [({"model": 1}, "holds a dict, which has no predict_proba"), (Trap(), "does not load: FileNotFoundError")],
)
def test_a_pickle_of_something_else_is_refused(sandbox, tmp_path, held, said):
    path = tmp_path / "model"
    path.write_bytes(pickle.dumps(held))
    with pytest.raises(ModelRefused, match=f"{said}"):
        sandbox.start(path, DIGITS, trust="own")


def test_others_code_that_was_let_in_runs_at_the_strong_rung_only(sandbox, tmp_path):
    path, signature = tmp_path / "model.py", Signature("regression", 3, 1)
    path.write_bytes(b"def predict(rows):\n    return rows.sum(axis=1)\n")
    if rung().level == "strong":
        with sandbox.start(path, signature, trust="admitted") as worker:
            assert worker.predict(np.ones((2, 3), np.float32)).tolist() == [[3.0], [3.0]]
    box = Sandbox(rung=Rung("limited", (), "bubblewrap is not installed", "apt install bubblewrap"))
    with pytest.raises(ModelRefused, match="need the strong sandbox"):
        box.start(path, signature, trust="admitted")
    box.close()


@pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name].level == "strong" and name not in CODE])
def test_below_the_strong_rung_a_refusal_says_what_is_missing(tmp_path, monkeypatch, name):
    monkeypatch.setattr("atoll.engine.runtime.sandbox.detect", lambda data: name)
    path = tmp_path / "model"
    path.write_bytes(b"anything")
    box = Sandbox(rung=Rung("limited", (), "bubblewrap is not installed", "apt install bubblewrap"))
    with pytest.raises(ModelRefused, match="need the strong sandbox: bubblewrap is not installed") as caught:
        box.start(path, DIGITS)
    assert caught.value.hint == "apt install bubblewrap"
    box.close()


def test_a_missing_library_is_named_with_its_extra(sandbox, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    path = tmp_path / "model"
    path.write_bytes(b"tree\nversion=v4\n")
    with pytest.raises(ModelRefused, match="need the library lightgbm") as caught:
        sandbox.start(path, DIGITS, trust="own")
    assert caught.value.hint == "pip install 'atoll[lightgbm]'"


def test_another_width_is_refused(sandbox, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(files.identity())
    with pytest.raises(ModelRefused, match="takes"):
        sandbox.start(path, Signature("regression", 7, 4))


@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda tail: files.identity()[:90] + tail))
def test_any_bytes_are_either_known_or_refused(data):
    with contextlib.suppress(ModelRefused):
        assert detect(io.BytesIO(data)) in FORMATS


def test_the_format_of_a_large_model_is_told_without_reading_it(tmp_path):
    class Counted(io.FileIO):
        read_bytes = 0

        def read(self, size=-1):
            data = super().read(size)
            self.read_bytes += len(data)
            return data

    path = tmp_path / "model"
    path.write_bytes(files.identity() + b"\x72\x80\x80\x80\x10" + bytes(32 << 20))  # a field of 32 MB that says nothing
    with Counted(path) as file:
        assert detect(file) == "onnx"
        assert file.read_bytes < 10_000
    path.write_bytes(path.read_bytes() + b"\x72")
    with Counted(path) as file, pytest.raises(ModelRefused):
        detect(file)
