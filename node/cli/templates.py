"""The projects of ``learnware new``: one training script each, on a data set that comes with scikit-learn."""

from __future__ import annotations

import json

_ROWS = '''
def save_rows(rows, columns):
    """The rows the model is good on: what the specification is fitted to. They stay on this machine."""
    np.savetxt("rows.csv", rows, delimiter=",", header=",".join(columns), comments="")
'''

_SKLEARN = (
    '''"""Train a scikit-learn pipeline on the wine data; skops keeps it without pickle, with its class names."""

import numpy as np
import skops.io
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

'''
    + _ROWS
    + """

data = load_wine()
names = data.target_names[data.target]
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(data.data, names)
skops.io.dump(model, "model.skops")
save_rows(data.data, [name.replace("/", "_") for name in data.feature_names])
print(f"accuracy on the training rows: {model.score(data.data, names):.3f}")
"""
)

_LIGHTGBM = (
    '''"""Train LightGBM on the diabetes data; its text format is numbers, no code."""

import lightgbm
import numpy as np
from sklearn.datasets import load_diabetes

'''
    + _ROWS
    + """

data = load_diabetes()
model = lightgbm.LGBMRegressor(n_estimators=60, num_leaves=7, n_jobs=1, verbose=-1).fit(data.data, data.target)
model.booster_.save_model("model.txt")
save_rows(data.data, data.feature_names)
print(f"R2 on the training rows: {model.score(data.data, data.target):.3f}")
"""
)

_XGBOOST = (
    '''"""Train XGBoost on the breast cancer data; its UBJ format is numbers, no code."""

import numpy as np
import xgboost
from sklearn.datasets import load_breast_cancer

'''
    + _ROWS
    + """

data = load_breast_cancer()
model = xgboost.XGBClassifier(n_estimators=40, max_depth=3, n_jobs=1).fit(data.data, data.target)
model.get_booster().save_model("model.ubj")
save_rows(data.data, [name.replace(" ", "_") for name in data.feature_names])
print(f"accuracy on the training rows: {model.score(data.data, data.target):.3f}")
"""
)

_TORCH = (
    '''"""Train a small torch network on the digits; torch.export keeps its graph and weights, no code."""

import numpy as np
import torch
from sklearn.datasets import load_digits

'''
    + _ROWS
    + """

torch.manual_seed(0)
data = load_digits()
rows, labels = torch.from_numpy(data.data.astype(np.float32)), torch.from_numpy(data.target)
model = torch.nn.Sequential(torch.nn.Linear(64, 48), torch.nn.ReLU(), torch.nn.Linear(48, 10), torch.nn.Softmax(dim=-1))
optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(200):
    optimiser.zero_grad()
    torch.nn.functional.nll_loss(torch.log(model(rows) + 1e-9), labels).backward()
    optimiser.step()
any_rows = ({0: torch.export.Dim("n", min=1)},)
torch.export.save(torch.export.export(model.eval(), (rows[:3],), dynamic_shapes=any_rows), "model.pt2")
save_rows(data.data, [f"pixel_{row}_{column}" for row in range(8) for column in range(8)])
print(f"accuracy on the training rows: {(model(rows).argmax(1) == labels).float().mean():.3f}")
"""
)

_ONNX = (
    '''"""Train a forest on the iris data and convert it here, checked on the rows: any dock runs ONNX."""

from pathlib import Path

import numpy as np
from atoll.engine.packages.convert import from_estimator
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

'''
    + _ROWS
    + """

data = load_iris()
model = RandomForestClassifier(50, random_state=0).fit(data.data, data.target)
converted = from_estimator(model, data.data)
Path("model.onnx").write_bytes(converted.data)
save_rows(data.data, ["sepal_length", "sepal_width", "petal_length", "petal_width"])
print(converted.words)
"""
)

_PYTHON = (
    '''"""Write the rows of the wine data. The model is model.py: code, not a file of numbers."""

import numpy as np
from sklearn.datasets import load_wine

'''
    + _ROWS
    + """

data = load_wine()
save_rows(data.data, [name.replace("/", "_") for name in data.feature_names])
"""
)

_PYTHON_MODEL = '''"""A rule by hand: the colour intensity of a wine from its proline and hue. It needs numpy only."""

import numpy as np


def predict(rows):
    """float32 (n, 13) to float32 (n, 1)."""
    hue, proline = rows[:, 10], rows[:, 12]
    return (9.0 - 5.5 * hue + 0.002 * proline).astype(np.float32)[:, None]
'''

_README = """# {title}

```
{install}python train.py
atoll learnware pack {model} --data rows.csv --semantic words.json{options} -o package.zip
atoll learnware add package.zip
```

`train.py` writes the model and `rows.csv`, the rows it is good on. `words.json` says what it does; see
`atoll learnware pack --help` for the rest. Packing needs a node that runs (`atoll serve`) and knows an island of these
columns (`atoll island mint --data rows.csv` where there is none); without a node, name `--owner PEER_ID` and
`--new-island`. The rows stay on this machine: the package holds the model and a specification of the rows.

{note}
"""


def _project(
    title: str, train: str, model: str, words: dict[str, object], note: str, *, install: str = "", options: str = "",
    more: dict[str, str] | None = None,
) -> dict[str, str]:  # fmt: skip
    readme = _README.format(title=title, install=install, model=model, options=options, note=note)
    return {
        "train.py": train.replace("\n\n\n\n", "\n\n\n"), "words.json": json.dumps(words, indent=2) + "\n",
        "README.md": readme, **(more or {}),
    }  # fmt: skip


def _classes(*names: str) -> str:
    return "".join(f" --class-name {name}" for name in names)


TEMPLATES: dict[str, dict[str, str]] = {
    "sklearn": _project(
        "Wine cultivars, scikit-learn", _SKLEARN, "model.skops",
        {"name": "Wine cultivars", "description": "Three cultivars told from 13 chemical measurements.",
         "scenario": ["Agriculture"], "license": "BSD-3-Clause"},
        "The class names are those the model was fitted to. What ONNX cannot say is packed as skops.",
        install="pip install 'atoll[skops]'\n",
    ),
    "lightgbm": _project(
        "Diabetes progression, LightGBM", _LIGHTGBM, "model.txt",
        {"name": "Diabetes progression", "description": "Disease progression after one year from ten measurements.",
         "scenario": ["Health"], "license": "BSD-3-Clause"},
        "With `atoll[models]` it is packed as ONNX, which every dock runs; without, as LightGBM text.",
        install="pip install 'atoll[lightgbm]'\n",
    ),
    "xgboost": _project(
        "Breast cancer, XGBoost", _XGBOOST, "model.ubj",
        {"name": "Breast cancer", "description": "Malignant or benign from 30 measurements of cell nuclei.",
         "scenario": ["Health"], "license": "BSD-3-Clause"},
        "With `atoll[models]` it is packed as ONNX, which every dock runs; without, as XGBoost UBJ.",
        install="pip install 'atoll[xgboost]'\n", options=_classes("malignant", "benign"),
    ),
    "torch": _project(
        "Handwritten digits, torch", _TORCH, "model.pt2",
        {"name": "Handwritten digits", "description": "Ten digits from 8x8 grey values, 0 to 16.",
         "scenario": ["Computer"], "license": "BSD-3-Clause"},
        "The network ends in a softmax, so that its outputs are probabilities; for one that gives scores, naming the "
        "classes puts a softmax there.",
        options=_classes(*map(str, range(10))),
    ),
    "onnx": _project(
        "Iris species, ONNX", _ONNX, "model.onnx",
        {"name": "Iris species", "description": "Three species of iris from four lengths in cm.",
         "scenario": ["Nature"], "library": "Scikit-learn", "license": "BSD-3-Clause"},
        "ONNX has no class names, so they are named to `pack`.", options=_classes("setosa", "versicolor", "virginica"),
    ),
    "python": _project(
        "Wine colour, Python code", _PYTHON, "model.py",
        {"name": "Wine colour", "description": "Colour intensity of wines from 13 chemical measurements, by a rule.",
         "scenario": ["Agriculture"], "license": "BSD-3-Clause"},
        "Code runs on your own node, in the sandbox, and on others only where their administrator lets it in. What it "
        "imports beside numpy goes into a requirements.txt, given to `pack` with --environment. Where the model can be "
        "said in ONNX, do that.",
        more={"model.py": _PYTHON_MODEL},
    ),
}  # fmt: skip
