import os

import numpy as np
import pytest
import skops.io
import torch
from atoll.engine.beimingwu.models import PROGRAMS, code, program
from atoll.engine.errors import PackageError
from atoll.engine.packages.torch_models import to_program
from atoll.engine.runtime.formats import FORMATS
from atoll.engine.runtime.signature import Signature
from sklearn.preprocessing import FunctionTransformer

ROWS = np.random.default_rng(0).standard_normal((5, 3))


def made(folder, format_, data, signature):
    (folder / program(format_).file).write_bytes(data)
    path = folder / "__init__.py"
    path.write_bytes(code(format_, signature))
    names = {"__file__": str(path), "__name__": "exported"}
    exec(compile(path.read_bytes(), str(path), "exec"), names)
    return names["Model"]()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_torch_program_runs(tmp_path, base_model):
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Softmax(dim=1)).eval()
    program = to_program(module, ROWS.astype(np.float32))
    answers = made(tmp_path, "torch_export", program, Signature("classification", 3, 2)).predict(ROWS)
    with torch.no_grad():
        expected = module(torch.from_numpy(ROWS.astype(np.float32))).numpy()
    np.testing.assert_allclose(answers, expected, rtol=1e-5)


def test_python_code_runs_and_rows_may_be_tensors(tmp_path, base_model):
    model = made(
        tmp_path, "python", b"def predict(rows):\n    return rows.sum(axis=1)\n", Signature("regression", 3, 1)
    )
    expected = ROWS.astype(np.float32).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(torch.from_numpy(ROWS)), expected, rtol=1e-5)


def test_a_skops_file_with_types_that_are_not_trusted_here_does_not_load_there_either(tmp_path, base_model):
    foreign = FunctionTransformer(func=os.getcwd)
    with pytest.raises(Exception, match=r"(?i)untrusted.*getcwd"):
        made(tmp_path, "skops", skops.io.dumps(foreign), Signature("regression", 3, 1))


def test_a_format_that_nothing_else_runs_is_refused_with_what_can_be():
    assert set(FORMATS) - set(PROGRAMS) == {"safetensors", "beimingwu"}  # the latter goes out as it came
    with pytest.raises(PackageError, match="safetensors cannot be exported") as caught:
        program("safetensors")
    assert "onnx" in caught.value.hint
