"""Models in files, and a sandbox at this machine's rung."""

import numpy as np
import pytest
from atoll.engine.packages.convert import to_onnx
from atoll.engine.runtime import Sandbox, Signature
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

DIGITS = Signature("classification", 64, 10)


@pytest.fixture(scope="session")
def digits():
    values, labels = load_digits(return_X_y=True)
    return values.astype(np.float32), labels, LogisticRegression(max_iter=3000).fit(values, labels)


@pytest.fixture
def model(tmp_path, digits):
    path = tmp_path / "model"
    path.write_bytes(to_onnx(digits[2], 64))
    return path


@pytest.fixture(scope="module")
def sandbox():
    box = Sandbox()
    yield box
    box.close()
