"""Beimingwu's own client, unmodified, told what to do; runs inside an environment that has ``learnware==0.4.0.post1``.

    python package_calls.py      one call a line on stdin, {"call", "arguments"}; {"result"} or {"error"} on stdout

Imports nothing of Atoll. One thread.
"""

import json
import os
import pickle
import sys
import traceback
import zipfile
from pathlib import Path

import numpy as np
import torch
from learnware.client import LearnwareClient
from learnware.client.learnware_client import SemanticSpecificationKey
from learnware.market import BaseUserInfo
from learnware.market.easy.checker import EasySemanticChecker, EasyStatChecker
from learnware.reuse import AveragingReuser, JobSelectorReuser
from learnware.specification import RKMETableSpecification, generate_rkme_table_spec, generate_semantic_spec
from learnware.tests.templates import LearnwareTemplate, PickleModelTemplate, StatSpecTemplate
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

TABLE = "RKMETableSpecification"
CLIENTS = {}
CALLS = {}
IRIS_PAIRS = ((0, 1), (1, 2), (0, 2))
DIGIT_PAIRS = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (0, 9))
IRIS_ASKED, DIGITS_ASKED = (1, 2), (2, 3, 6, 7)
HERDED = 100  # points that the job selector makes of what a mixture is of: with its 1000 it takes half an hour
DIGITS_SCALE = 8.0  # the package's kernel has one width; this brings images of digits into its reach
MODEL = """\
import os
import pickle

from learnware.model import BaseModel


class Model(BaseModel):
    def __init__(self):
        super().__init__(input_shape=({},), output_shape=(1,))
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "model.pkl"), "rb") as file:
            self.model = pickle.load(file)

    def predict(self, X):
        return self.model.predict(X).reshape(-1, 1)
"""
YAML = """\
model:
  class_name: Model
  weights_file_path: model.pkl
stat_specifications:
  - module_path: learnware.specification
    class_name: RKMETableSpecification
    file_name: rkme.json
    kwargs: {}
semantic_specification:
  file_name: semantic_specification.json
"""


def call(function):
    """Make ``function`` one that may be called by its name."""
    CALLS[function.__name__] = function
    return function


@call
def is_connected(host):
    return LearnwareClient(host=host).is_connected()


@call
def login(host, token):
    CLIENTS[host] = LearnwareClient(host=host, timeout=120)
    CLIENTS[host].login("somebody@example.org", token)
    return CLIENTS[host].is_login()


@call
def logout(host):
    """Whether what needs a login is refused then, by the client itself."""
    CLIENTS[host].logout()
    return _refused(CLIENTS[host].list_learnware)


@call
def vocabulary(host):
    return {key.value: CLIENTS[host].list_semantic_specification_values(key) for key in SemanticSpecificationKey}


@call
def upload(host, zip_path, semantic):
    return CLIENTS[host].upload_learnware(zip_path, semantic)


@call
def update(host, learnware_id, semantic, zip_path=None):
    CLIENTS[host].update_learnware(learnware_id, semantic, zip_path)


@call
def listed(host):
    return [each["learnware_id"] for each in CLIENTS[host].list_learnware()]


@call
def semantic_of(host, learnware_id):
    return CLIENTS[host].get_semantic_specification(learnware_id)


@call
def search(host, semantic=None, rkme=None, size=50, page=0):
    """``rkme``: JSON, as a file of the package's."""
    given = {TABLE: _rkme(rkme)} if rkme else {}
    return CLIENTS[host].search_learnware(BaseUserInfo(semantic_spec=semantic or {}, stat_info=given), size, page)


@call
def download(host, learnware_id, target):
    CLIENTS[host].download_learnware(learnware_id, target)


@call
def pretrained(host, learnware_id):
    return CLIENTS[host].get_pretrained_path(learnware_id)


@call
def delete(host, learnware_id):
    CLIENTS[host].delete_learnware(learnware_id)


@call
def loaded(host, rows, learnware_id=None, path=None):
    """What the client's learnware is, and what its model says of the rows (the path of a .npy); None if it cannot run
    here."""
    learnware = CLIENTS[host].load_learnware(learnware_id=learnware_id, learnware_path=path)
    asked = np.load(rows)
    try:
        predictions = np.asarray(learnware.predict(asked)).tolist()
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        predictions = None
    return {"semantic": learnware.get_specification().get_semantic_spec(), "predictions": predictions}


@call
def distances(host, path, rkme):
    """Of the specification in a zip: its dimensions, its own distance to itself, and to another one."""
    learnware = CLIENTS[host].load_learnware(learnware_path=path)
    own, other = learnware.get_specification().get_stat_spec_by_name(TABLE), _rkme(rkme)
    return {"dimensions": own.get_z().shape[1], "itself": own.dist(own), "other": own.dist(other)}


@call
def checked(host, path):
    """What the package's own checks of words and of model and specification say."""
    learnware = CLIENTS[host].load_learnware(learnware_path=path)
    words, why = EasySemanticChecker.check_semantic_spec(learnware.get_specification().get_semantic_spec())
    usable, more = EasyStatChecker()(learnware)
    passed = words != EasySemanticChecker.INVALID_LEARNWARE and usable == EasyStatChecker.USABLE_LEARNWARE
    return "" if passed else f"{why} {more}"


@call
def make(folder):
    """The demo's learnwares: {"name", "zip", "semantic"} of each; one is written by the package's own template."""
    rows, truth = load_iris(return_X_y=True)
    names = dict(enumerate(load_iris().feature_names))
    made = []
    for pair in IRIS_PAIRS:
        taken = np.isin(truth, pair) & _trained(truth)
        model = LogisticRegression(max_iter=2000).fit(rows[taken], truth[taken])
        described = {"Dimension": 4, "Description": {str(place): name for place, name in names.items()}}
        made.append(_made(folder, f"Iris of species {pair[0]} and {pair[1]}", rows[taken], model, 3, described,
                          template=pair == IRIS_PAIRS[-1]))  # fmt: skip
    rows, truth = _digits()
    for pair in DIGIT_PAIRS:
        taken = np.isin(truth, pair) & _trained(truth)
        model = SVC().fit(rows[taken], truth[taken])
        described = {"Dimension": 64, "Description": {}}
        made.append(_made(folder, f"Digits {pair[0]} and {pair[1]}", rows[taken], model, 10, described))
    return made


@call
def single(host):
    """Upstream's first case, on Iris: search by a specification and words, load the best, predict."""
    rows, truth = _asked(load_iris(return_X_y=True), IRIS_ASKED)
    found = _searched(host, rows, "iris")["single"]
    learnware = CLIENTS[host].load_learnware(learnware_id=found["learnware_ids"][0])
    right = float(np.mean(np.asarray(learnware.predict(rows)).reshape(-1) == truth))
    return {"names": _names(found), "matching": found["matching"], "accuracy": right}


@call
def multiple(host):
    """Upstream's second case, on Digits: search, load the whole mixture, reuse it."""
    rows, truth = _asked(_digits(), DIGITS_ASKED)
    answer = _searched(host, rows, "digits")
    found, best = answer["multiple"], answer["single"]["learnware_ids"][0]
    learnwares = CLIENTS[host].load_learnware(learnware_id=found["learnware_ids"])
    alone = CLIENTS[host].load_learnware(learnware_id=best).predict(rows)
    ways = {
        "job selector": JobSelectorReuser(learnwares, HERDED),
        "averaging": AveragingReuser(learnwares, "vote_by_label"),
    }
    right = {way: float(np.mean(np.asarray(reuser.predict(rows)).reshape(-1) == truth)) for way, reuser in ways.items()}
    right["best alone"] = float(np.mean(np.asarray(alone).reshape(-1) == truth))
    return {"names": _names(found), "ids": found["learnware_ids"], "matching": found["matching"], "accuracy": right}


def _searched(host, rows, words):
    specification = generate_rkme_table_spec(X=rows, gamma=0.1, cuda_idx=-1)
    semantic = generate_semantic_spec(
        name=words, data_type="Table", task_type="Classification", library_type="Scikit-learn"
    )
    user = BaseUserInfo(semantic_spec=semantic, stat_info={specification.type: specification})
    return CLIENTS[host].search_learnware(user)


def _names(found):
    return [each["Name"]["Values"] for each in found["semantic_specifications"]]


def _made(folder, name, rows, model, classes, described, template=False):
    """A zip as markets hold them, or as the package's template writes it: without words, and with a tuple in its
    learnware.yaml, which its own client does not load."""
    path = Path(folder, name.replace(" ", "-"))
    pickled, rkme, zipped = path.with_suffix(".pkl"), path.with_suffix(".json"), path.with_suffix(".zip")
    pickled.write_bytes(pickle.dumps(model))
    generate_rkme_table_spec(X=rows, gamma=0.1, cuda_idx=-1).save(str(rkme))
    semantic = generate_semantic_spec(
        name, f"{name}, told by a model of scikit-learn", "Table", "Classification", "Others", "Scikit-learn",
        ["Education"], "MIT", described, {"Dimension": classes, "Description": {}},
    )  # fmt: skip
    if template:
        shapes = {"input_shape": (rows.shape[1],), "output_shape": (1,)}
        pickles = PickleModelTemplate(shapes, str(pickled))
        LearnwareTemplate.generate_learnware_zipfile(str(zipped), pickles, StatSpecTemplate(str(rkme)))
    else:
        files = {"__init__.py": MODEL.format(rows.shape[1]), "learnware.yaml": YAML, "rkme.json": rkme.read_text(),
                 "semantic_specification.json": json.dumps(semantic), "model.pkl": pickled.read_bytes()}  # fmt: skip
        with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
            for file_name, content in files.items():
                archive.writestr(file_name, content)
    return {"name": name, "zip": str(zipped), "semantic": semantic}


def _digits():
    rows, truth = load_digits(return_X_y=True)
    return rows / DIGITS_SCALE, truth


def _trained(truth):
    return np.arange(len(truth)) % 2 == 0


def _asked(data, classes):
    """The other half of the rows of these classes."""
    rows, truth = data
    taken = np.isin(truth, classes) & ~_trained(truth)
    return rows[taken], truth[taken]


def _rkme(path):
    rkme = RKMETableSpecification(cuda_idx=-1)
    rkme.load(path)
    return rkme


def _refused(function):
    try:
        function()
    except Exception as error:
        return str(error)
    return ""


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the package prints is for the log
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"result": CALLS[asked["call"]](**asked["arguments"])}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
