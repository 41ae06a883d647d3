"""Learnwares in Beimingwu's format run as their package runs them, in the sandbox; nothing of them runs elsewhere."""

import io
import pickle
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
import wheels
from atoll.engine.errors import ModelError, ModelRefused
from atoll.engine.runtime import Limits, ModelPool, Sandbox, Signature, ladder, rung
from atoll.engine.runtime.beimingwu_model import probabilities
from atoll.engine.runtime.environments import Environments, Needs
from atoll.engine.runtime.formats import detect
from atoll.engine.runtime.layout import Folders
from atoll.engine.runtime.unpacked import Unpacked
from learnware_zip import WITH, YAML, archive
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

IRIS = Signature("classification", 4, 3)
OF_LABELS = """
import os
import joblib
import numpy as np
from learnware.model import BaseModel

class Model(BaseModel):
    def __init__(self):
        super().__init__(input_shape=(4,), output_shape=(3,))
        self.model = joblib.load(os.path.join(os.path.dirname(os.path.abspath(__file__)), "model.joblib"))

    def fit(self, X, y):
        pass

    def predict(self, X):
        return self.model.predict(X)

    def finetune(self, X, y):
        pass
"""
OF_NET = """
import os
import torch
from learnware.model import BaseModel
from .net import Net

class Model(BaseModel):
    def __init__(self, hidden=1):
        super().__init__(input_shape=(4,), output_shape=(3,))
        self.net = Net(hidden)
        here = os.path.dirname(os.path.abspath(__file__))
        self.net.load_state_dict(torch.load(os.path.join(here, "weights", "net.pt"), weights_only=True))

    def predict(self, X):
        return self.net(torch.from_numpy(X))
"""
NET = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, hidden):
        super().__init__(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 3))
"""
OF_IMAGES = """
class Model:
    input_shape, output_shape = (3, 8, 8), (1,)

    def predict(self, X):
        assert X.shape[1:] == (3, 8, 8), X.shape
        return X[:, 1].sum(axis=(1, 2)) - X[:, 0, 0, 0]
"""


@pytest.fixture(scope="module")
def iris():
    values, labels = load_iris(return_X_y=True)
    values = values.astype(np.float32)
    return values, labels, RandomForestClassifier(20, random_state=0).fit(values, labels)


@pytest.fixture(params=["strong", "limited"])
def found(request):
    found = rung() if request.param == "strong" else ladder.lower("for the test", "")
    if found.level != request.param:
        pytest.skip(found.missing)
    return found


@pytest.fixture
def box(tmp_path, found):
    made = Sandbox(rung=found, unpacked=Unpacked(tmp_path / "unpacked"))
    yield made
    made.close()


@pytest.fixture
def strong(tmp_path):
    if rung().level != "strong":
        pytest.skip(rung().missing)
    made = Sandbox(unpacked=Unpacked(tmp_path / "unpacked"))
    yield made
    made.close()


@pytest.fixture
def started(tmp_path):
    """``started(box, data, signature)``: a worker of one's own learnware, in a context."""

    def start(box, data, signature=IRIS, trust="own"):
        path = tmp_path / "learnware"
        path.write_bytes(data)
        return box.start(path, signature, trust=trust)

    return start


def joblibbed(model):
    data = io.BytesIO()
    joblib.dump(model, data)
    return data.getvalue()


def test_labels_of_a_joblib_model_become_certain_classes(box, started, iris):
    values, _, model = iris
    with started(box, archive(OF_LABELS, {"model.joblib": joblibbed(model)})) as worker:
        answers = worker.predict(values)
    assert answers.shape == (150, 3)
    assert (answers.argmax(axis=1) == model.predict(values)).all()
    assert set(np.unique(answers)) == {0.0, 1.0}


def test_a_net_beside_the_model_is_imported_relatively_and_its_logits_become_probabilities(strong, started, iris):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    weights = io.BytesIO()
    torch.save(net.state_dict(), weights)
    yaml = YAML.replace("{}", "\n    hidden: 5")
    files = {"net.py": NET, "weights/net.pt": weights.getvalue()}
    with started(strong, archive(OF_NET, files, yaml)) as worker:
        answers = worker.predict(iris[0])
    expected = torch.softmax(net(torch.from_numpy(iris[0])), dim=1).detach().numpy()
    np.testing.assert_allclose(answers, expected, atol=1e-6)


def test_flat_rows_reach_a_model_of_images_in_their_shape(strong, started):
    rows = np.random.default_rng(0).standard_normal((7, 192)).astype(np.float32)
    with started(strong, archive(OF_IMAGES), Signature("regression", 192, 1)) as worker:
        answers = worker.predict(rows)
    np.testing.assert_allclose(answers[:, 0], rows[:, 64:128].sum(axis=1) - rows[:, 0], atol=1e-4)


def test_another_file_may_be_the_model_and_kwargs_keep_their_types(strong, started):
    code = """
class Regressor:
    def __init__(self, factors, name, flag, shape):
        assert (name, flag, shape) == ("00012", True, (4, "a"))
        self.factors = factors
    def predict(self, X):
        return [[sum(row) * factor for factor in self.factors] for row in X]
"""
    kwargs = "{factors: [1, 0.5], name: '00012', flag: true, shape: !!python/tuple [4, a]}"
    yaml = f"model: {{class_name: Regressor, module_path: src/model.py, kwargs: {kwargs}}}"
    with started(strong, archive(code, yaml=yaml, module="src/model.py"), Signature("regression", 4, 2)) as worker:
        np.testing.assert_allclose(worker.predict(np.ones((3, 4), np.float32)), [[4.0, 2.0]] * 3)


@pytest.mark.parametrize("home", ["__main__", "trained"])
def test_pickles_find_classes_of_the_script_that_made_them(strong, started, home):
    """As the class of a model is written in the file that is run, or in one beside it."""
    thing = f"c{home}\nScale\n)R.".encode()  # the pickle of Scale(), by protocol 0
    code = """
import os, pickle
FROM
class Model:
    input_shape = (4,)
    def __init__(self):
        with open(os.path.join(os.path.dirname(__file__), "scale.pkl"), "rb") as file:
            self.scale = pickle.load(file)
    def predict(self, X):
        return self.scale(X.sum(axis=1))
"""
    scale = "class Scale:\n    def __call__(self, x):\n        return 3 * x\n"
    files = {"scale.pkl": thing, "trained.py": scale}
    with started(strong, archive(code.replace("FROM", scale), files), Signature("regression", 4, 1)) as worker:
        assert worker.predict(np.ones((1, 4), np.float32)).item() == 12.0


HOSTILE = """
import os, socket, subprocess
tried = {}
def attempt(name, act):
    try:
        act()
        tried[name] = 1.0
    except Exception:
        tried[name] = 0.0
here = os.path.dirname(os.path.abspath(__file__))
attempt("write beside", lambda: open(os.path.join(here, "new"), "w").write("x"))
attempt("change itself", lambda: open(os.path.abspath(__file__), "a").write("x"))
attempt("remove itself", lambda: os.remove(os.path.abspath(__file__)))
attempt("let others write", lambda: os.chmod(here, 0o777))
attempt("socket", lambda: socket.socket())
attempt("program", lambda: subprocess.run(["/bin/sh", "-c", "true"], check=True))
attempt("home", lambda: open(PRIVATE).read())
attempt("other learnware", lambda: open(OTHER).read())
attempt("passwords", lambda: open("/etc/passwd").read())
class Model:
    input_shape = (4,)
    def predict(self, X):
        return [list(tried.values())] * len(X)
"""


def test_one_that_writes_connects_and_reads_what_is_not_its_own_gets_nothing(box, started, tmp_path):
    """The files of another learnware, of the same node, are as closed as its home."""
    private = tmp_path / "identity.key"
    private.write_text("secret")
    with started(box, archive(WITH), Signature("regression", 4, 1)):
        (other,) = (tmp_path / "unpacked").glob("*/files/__init__.py")
    code = HOSTILE.replace("PRIVATE", repr(str(private))).replace("OTHER", repr(str(other)))
    with started(box, archive(code), Signature("regression", 4, 9)) as worker:
        answers = worker.predict(np.ones((1, 4), np.float32))
        assert {"landlock", "seccomp"} & set(worker.isolation)
    assert answers.tolist() == [[0.0] * 9]
    assert {path.name for path in other.parent.iterdir()} == {"learnware.yaml", "__init__.py"}


def test_nothing_of_it_runs_in_the_warm_parent_or_the_node(strong, started, tmp_path):
    """Names that Python and its libraries look for on their own: a worker that has gone is all that is lost."""
    trap = "import os, sys\nsys.stderr.write('ran as ' + ' '.join(sys.argv))\nos._exit(3)\n"
    names = ("sitecustomize.py", "usercustomize.py", "numpy.py", "yaml.py", "msgspec.py", "importlib.py", "warm.pth")
    data = archive(trap, dict.fromkeys(names, trap))
    with pytest.raises(ModelError, match="died"):
        started(strong, data, Signature("regression", 4, 1))
    parents = list(strong._parents.values())
    assert [parent.alive for parent in parents] == [True]
    with started(strong, archive(WITH, dict.fromkeys(names, trap)), Signature("regression", 4, 1)) as worker:
        assert worker.predict(np.ones((1, 4), np.float32)).item() == 4.0


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("model: {module_path: subprocess, class_name: Popen, kwargs: {args: [touch, /tmp/x]}}", "a .py file inside"),
        ("model: {module_path: ../../model.py}", "no plain path inside"),
        ("model: {module_path: /etc/model.py}", "no plain path inside"),
        ("model: {module_path: absent.py}", "which it does not hold"),
        ("model: {kwargs: !!python/object/apply:os.system [true]}", "tag"),
        ("model: {required_learnware_ids: ['00000001']}", "builds on others"),
        ("model: {class_name: Absent}", "Absent"),
        ("model: {kwargs: {far: [.inf]}}", "infinite numbers"),
        ("- no\n", "not a mapping"),
    ],
)
def test_a_yaml_that_names_something_else_runs_nothing(strong, started, yaml, words):
    with pytest.raises(ModelRefused, match=words):
        started(strong, archive(WITH, yaml=yaml), Signature("regression", 4, 1))


@pytest.mark.parametrize("name", ["../out.py", "/etc/out.py", "a/../../out.py", "..\\out.py"])
def test_what_would_lie_outside_is_refused_and_nothing_is_left(strong, started, tmp_path, name):
    with pytest.raises(ModelRefused, match="no plain path inside"):
        started(strong, archive(WITH, {name: "x"}), Signature("regression", 4, 1))
    assert not list(Path(tmp_path / "unpacked").glob("*"))
    assert not list(tmp_path.rglob("out.py"))


def test_links_bombs_and_a_file_that_is_a_folder_are_refused(strong, started, tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    for name, content, words in (
        (link, "/etc/passwd", "symbolic link"),
        ("zeros", bytes(65 << 20), "far more than its size"),
        ("__init__.py/below.py", "x", "a file and a folder"),
        ("\u00e9" * 200, "x", "File name too long"),
    ):
        with pytest.raises(ModelRefused, match=words):
            started(strong, archive(WITH, {name: content}), Signature("regression", 4, 1))
    assert not list(Path(tmp_path / "unpacked").glob("*"))


def test_others_are_refused_before_they_are_unpacked(strong, started, tmp_path):
    with pytest.raises(ModelRefused, match=r"a learnware in Beimingwu's format runs code .* not run for others"):
        started(strong, archive(WITH), Signature("regression", 4, 1), trust="foreign")
    assert not (tmp_path / "unpacked").exists()
    with started(strong, archive(WITH), Signature("regression", 4, 1), trust="admitted") as worker:
        assert worker.predict(np.ones((2, 4), np.float32)).tolist() == [[4.0], [4.0]]


def test_an_archive_of_another_kind_that_holds_a_learnware_yaml_counts_as_code():
    assert detect(io.BytesIO(archive(WITH, {"schema.json": "{}", "m/models/model.json": "{}"}))) == "beimingwu"


def test_it_runs_with_the_packages_that_it_asks_for(strong, tmp_path, monkeypatch):
    wheels.set_up(tmp_path, monkeypatch)
    environments = Environments(tmp_path / "environments")
    pool = ModelPool(1, environments=environments, unpacked=Unpacked(tmp_path / "unpacked"))
    path, needs = tmp_path / "one", Needs("requirements.txt", b"coral==1.0\n")
    path.write_bytes(archive("import coral\n" + WITH.replace("axis=1)", "axis=1) * coral.FACTOR")))
    rows, signature = np.ones((1, 4), np.float32), Signature("regression", 4, 1)
    try:
        found = pool.predict("one", path, signature, rows, trust="own", needs=needs)
        pool.keep_folders([])
        assert len(list((tmp_path / "environments").iterdir())) == 1
    finally:
        pool.close()
    assert found.item() == 40.0


def test_a_warm_parent_sees_the_folder_of_one_learnware(strong, started):
    for data in (archive(WITH), archive(WITH, {"other": "x"})):
        with started(strong, data, Signature("regression", 4, 1)):
            pass
    seen = [family.folders for family in strong._parents]
    assert len({folders.learnware for folders in seen}) == 2
    assert {folders.at("strong") for folders in seen} == {Folders("", "/learnware")}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("X[:, 0] * 0 + 3", "not the numbers 0 to 2"),
        ("X[:, 0] * 0 + 0.5", "not the numbers 0 to 2"),
        ("['setosa'] * len(X)", "could not convert"),
        ("X[:, 0] * float('nan')", "not the numbers 0 to 2"),
        ("[[0.1, 0.9]] * len(X)", r"promised is float32 \(2, 3\)"),
        ("X[:1, 0] * 0", "1 answers to 2 rows"),
        ("X[:, :3] * float('nan')", "NaN"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_answers_that_are_no_classes_are_errors_in_words(strong, started, answer, words):
    code = f"class Model:\n    def predict(self, X):\n        return {answer}\n"
    with started(strong, archive(code)) as worker, pytest.raises(ModelError, match=words):
        worker.predict(np.ones((2, 4), np.float32))


def test_a_model_of_another_shape_is_refused(strong, started):
    with pytest.raises(ModelRefused, match=r"input_shape is \(4,\), the manifest says 5 numbers"):
        started(strong, archive(WITH), Signature("regression", 5, 1))


@pytest.mark.parametrize(
    "line",
    ["from learnware.model import BaseModel", "from learnware.model.base import BaseModel", "import learnware.model",
     "import learnware"],
)  # fmt: skip
def test_the_base_class_is_found_by_all_its_names(strong, started, line):
    base = "BaseModel" if line.startswith("from") else "learnware.model.BaseModel"
    code = f"""
{line}
class Model({base}):
    def __init__(self):
        super().__init__((4,), (1,))
    def predict(self, X):
        return X[:, 0]
"""
    with started(strong, archive(code), Signature("regression", 4, 1)) as worker:
        assert worker.predict(np.ones((1, 4), np.float32)).item() == 1.0


def test_what_the_package_has_beside_the_base_class_is_named_as_missing(strong, started):
    with pytest.raises(ModelRefused, match=r"No module named 'learnware\.reuse'"):
        started(strong, archive("from learnware.reuse import AveragingReuser\n"), Signature("regression", 4, 1))


def test_probabilities_stay_and_logits_become_some_row_by_row():
    answers = np.array([[0.2, 0.8], [2.0, 0.0], [-np.inf, 0.0], [1.0, 0.0]])
    found = probabilities(answers, 2)
    expected = [[0.2, 0.8], [np.exp(2) / (1 + np.exp(2)), 1 / (1 + np.exp(2))], [0.0, 1.0], [1.0, 0.0]]
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert found.dtype == np.float32


def test_a_learnware_of_too_many_bytes_is_not_run(tmp_path):
    path = tmp_path / "learnware"
    path.write_bytes(archive(WITH))
    box = Sandbox(Limits(file_bytes=100), rung=rung(), unpacked=Unpacked(tmp_path / "unpacked"))
    with pytest.raises(ModelRefused, match="at most 100 are run"):
        box.start(path, IRIS, trust="own")
    assert not (tmp_path / "unpacked").exists()
    box.close()


def test_a_pickled_learnware_is_still_a_pickle(tmp_path):
    assert detect(io.BytesIO(pickle.dumps([YAML]))) == "pickle"
