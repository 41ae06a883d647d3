"""Models in a process of their own: right answers, refusals, limits, and a node that survives all of it."""

import os
import pickle
import signal
from pathlib import Path

import numpy as np
import pytest
from atoll.engine.errors import ModelError, ModelRefused, SandboxLimit
from atoll.engine.packages.convert import to_onnx
from atoll.engine.runtime import Limits, ModelPool, ModelProcess, Signature
from onnx import TensorProto, helper
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, Ridge

DIGITS = Signature("classification", 64, 10)
ROW = Signature("regression", 4, 4)


@pytest.fixture(scope="module")
def digits():
    values, labels = load_digits(return_X_y=True)
    return values.astype(np.float32), LogisticRegression(max_iter=3000).fit(values, labels)


@pytest.fixture
def model(tmp_path, digits):
    path = tmp_path / "model"
    path.write_bytes(to_onnx(digits[1], 64))
    return path


def graph(nodes, *, domain="", initializers=(), width=4, output=("n", 4)):
    inputs = [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", width])]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, list(output))]
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    made = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    return helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()


def constant(name, values, kind=TensorProto.FLOAT):
    return helper.make_tensor(name, kind, np.shape(values), np.ravel(values).tolist())


def endless():
    """out = rows, after 2^62 turns of a loop."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Sin", ["x"], ["y"])], "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
        ],
    )  # fmt: skip
    loop = helper.make_node("Loop", ["turns", "yes", "rows"], ["out"], body=body)
    return graph(
        [loop], initializers=[constant("turns", 2**62, TensorProto.INT64), constant("yes", True, TensorProto.BOOL)]
    )


def bomb():
    """Fills 32 GiB before it answers."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"], value=constant("v", [1.0])),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Add", ["rows", "sum"], ["out"]),
    ]
    return graph(nodes, initializers=[constant("shape", [2**33], TensorProto.INT64)])


def test_the_process_answers_as_the_estimator_does(model, digits):
    values, estimator = digits
    with ModelProcess.start(model, DIGITS) as process:
        assert "rlimits" in process.isolation
        assert np.abs(process.predict(values) - estimator.predict_proba(values)).max() < 1e-4


def test_regression_gives_one_column(tmp_path):
    values, target = load_diabetes(return_X_y=True)
    estimator = Ridge().fit(values, target)
    path = tmp_path / "model"
    path.write_bytes(to_onnx(estimator, 10))
    with ModelProcess.start(path, Signature("regression", 10, 1)) as process:
        found = process.predict(values.astype(np.float32))
    assert found.shape == (len(values), 1)
    assert np.allclose(found[:, 0], estimator.predict(values), rtol=1e-3)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not ONNX"),
        (b"garbage" * 50, "not ONNX"),
        (pickle.dumps({"model": 1}), "not ONNX"),
        (graph([helper.make_node("Evil", ["rows"], ["out"], domain="evil")], domain="evil"), "domain"),
        (graph([helper.make_node("Identity", ["rows"], ["out"])], width=7), "takes"),
    ],
)
def test_what_is_not_run_is_refused(tmp_path, data, words):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelRefused, match=words):
        ModelProcess.start(path, ROW)


def test_external_data_is_refused(tmp_path):
    weights = constant("w", [1.0, 1.0, 1.0, 1.0])
    weights.ClearField("float_data")
    weights.data_location = TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    path = tmp_path / "model"
    path.write_bytes(graph([helper.make_node("Add", ["rows", "w"], ["out"])], initializers=[weights]))
    with pytest.raises(ModelRefused, match="outside its file"):
        ModelProcess.start(path, ROW)


@pytest.mark.parametrize(
    ("nodes", "initializers"),
    [
        ([helper.make_node("Log", ["rows"], ["out"])], ()),
        ([helper.make_node("Concat", ["rows", "rows"], ["out"], axis=1)], ()),
    ],
    ids=["NaN", "another shape"],
)
def test_an_answer_that_breaks_its_promise_is_an_error(tmp_path, nodes, initializers):
    path = tmp_path / "model"
    path.write_bytes(graph(nodes, initializers=initializers, output=("n", "m")))
    with ModelProcess.start(path, ROW) as process, pytest.raises(ModelError):
        process.predict(-np.ones((3, 4), np.float32))


def test_an_endless_model_is_stopped_at_its_deadline(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(endless())
    process = ModelProcess.start(path, ROW, Limits(call_seconds=0.5))
    with pytest.raises(SandboxLimit, match="in time"):
        process.predict(np.ones((2, 4), np.float32))
    assert not process.alive


def test_a_memory_bomb_is_contained(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(bomb())
    with pytest.raises(ModelError), ModelProcess.start(path, ROW, Limits(memory_bytes=256 << 20)) as process:
        process.predict(np.ones((2, 4), np.float32))


def test_a_killed_process_is_replaced(model, digits):
    rows = digits[0][:3]
    pool = ModelPool(2)
    first = pool.predict("digest", model, DIGITS, rows)
    os.killpg(pool._processes["digest"]._process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, pool._processes["digest"]._process.pid, os.WEXITED | os.WNOWAIT)
    assert np.array_equal(pool.predict("digest", model, DIGITS, rows), first)
    pool.close()


def test_a_model_that_keeps_hanging_is_quarantined(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(endless())
    pool = ModelPool(2, Limits(call_seconds=0.2))
    for _ in range(3):
        with pytest.raises(SandboxLimit):
            pool.predict("digest", path, ROW, np.ones((1, 4), np.float32))
    with pytest.raises(ModelRefused, match="quarantined"):
        pool.predict("digest", path, ROW, np.ones((1, 4), np.float32))
    pool.close()


def test_nothing_is_left_behind(model, digits, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("SECRET", "value")
    before = len(os.listdir("/proc/self/fd"))
    with ModelProcess.start(model, DIGITS) as process:
        environment = Path(f"/proc/{process._process.pid}/environ").read_bytes()
        process.predict(digits[0][:1])
    assert b"SECRET" not in environment
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert len(os.listdir("/proc/self/fd")) <= before + 1
