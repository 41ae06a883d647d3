"""Beimingwu's client in aiohttp, its forms as it sends them; and packages as its users make them, of irises."""

import hashlib
import io
import json
import zipfile

import aiohttp
import numpy as np
import pytest
from atoll.engine.beimingwu.legacy import table_island
from atoll.engine.beimingwu.specifications import write_specification
from atoll.engine.islands import Island
from atoll.engine.packages.convert import to_onnx
from atoll.engine.packages.pack import pack
from atoll.engine.runtime import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.engine.specs import fit_rkme
from atoll.engine.tables import Table
from atoll.node.clock import now_ms
from atoll.protocol.listings import Offers
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

COLUMNS = ("sepal length", "sepal width", "petal length", "petal width")
NAMES = ("setosa", "versicolor", "virginica")
CHUNK = 1 << 12
SHOWN = Offers(disclose="members", download="members")

YAML = """
model:
  class_name: Nearest
  module_path: __init__.py
  kwargs: {}
stat_specifications:
- module_path: learnware.specification
  class_name: RKMETableSpecification
  file_name: stat.json
  kwargs: {}
semantic_specification:
  file_name: semantic_specification.json
"""

CODE = '''
import json
import os

import numpy as np
from learnware.model import BaseModel


class Nearest(BaseModel):
    """To which centre a row is nearest."""

    def __init__(self):
        with open(os.path.join(os.path.dirname(__file__), "centres.json")) as file:
            self.centres = np.array(json.load(file))
        super().__init__(input_shape=(4,), output_shape=(len(self.centres),))

    def fit(self, X, y):
        pass

    def predict(self, X):
        return np.argmin(((X[:, None] - self.centres[None]) ** 2).sum(-1), axis=1)

    def finetune(self, X, y):
        pass
'''


class Irises:
    """Packages of models that tell ``classes`` apart, the specification that their makers give, and questions."""

    def __init__(self):
        self.values, self.labels = load_iris(return_X_y=True)

    def of(self, *classes):
        return self.values[np.isin(self.labels, classes)].astype(np.float32)

    def semantic(self, name, *classes, columns=COLUMNS, **more):
        described = {
            "Input": {"Dimension": 4, "Description": {str(place): name for place, name in enumerate(columns)}},
            "Output": {"Dimension": len(classes), "Description": {str(at): NAMES[c] for at, c in enumerate(classes)}},
        }
        return self.asking(name, "Classification", "Table") | described | more

    def asking(self, name="", task="", data=""):
        """As generate_semantic_spec makes them; what is "" is not asked for."""

        def group(value, kind="Class"):
            return {"Values": [value] if value else [], "Type": kind}

        described = f"Irises, by their leaves: {name}" if name else ""
        return {
            "Data": group(data),
            "Task": group(task),
            "Library": group("Scikit-learn" if name and task else ""),
            "Model": group("Others", "Optional"),
            "Scenario": group("Nature" if name and task else "", "Tag"),
            "License": group("MIT" if name and task else ""),
            "Name": {"Values": name, "Type": "String"},
            "Description": {"Values": described if task else "", "Type": "String"},
        }

    def statistical(self, *classes, columns=(0, 1, 2, 3)):
        rkme = fit_rkme(self.of(*classes)[:, list(columns)], gamma=0.1, size=20)
        return write_specification(rkme, table_island(4, 0.1))

    def zip(self, *classes, id_="", yaml=YAML, top="", semantic=None, code=CODE):
        centres = [self.of(each).mean(axis=0).tolist() for each in classes]
        words = semantic or self.semantic("unnamed", *classes)
        files = {
            "learnware.yaml": (f"id: '{id_}'\n" if id_ else "") + yaml,
            "__init__.py": code,
            "centres.json": json.dumps(centres),
            "stat.json": self.statistical(*classes),
            "semantic_specification.json": json.dumps(words),
        }
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(top + name, data)
        return target.getvalue()


class Client:
    """What ``learnware.client.LearnwareClient`` sends; its methods give the answer, as JSON."""

    def __init__(self, session, url, token):
        self.session, self.url, self.token = session, f"{url}/beimingwu", token
        self.headers = {"Authorization": f"Bearer {token}"}

    async def post(self, path, **arguments):
        async with self.session.post(self.url + path, headers=self.headers, **arguments) as response:
            assert response.status == 200
            return await response.json()

    async def get(self, path, **arguments):
        async with self.session.get(self.url + path, headers=self.headers, **arguments) as response:
            assert response.status == 200
            return await response.json()

    async def chunk(self, md5, begin, data):
        form = aiohttp.FormData(default_to_multipart=True)
        form.add_field("file_hash", md5)
        form.add_field("chunk_begin", str(begin))
        form.add_field("chunk_file", data, filename="chunk_file")
        return await self.post("/user/chunked_upload", data=form)

    async def send(self, package, size=CHUNK):
        md5 = hashlib.md5(package).hexdigest()
        for begin in range(0, len(package), size):
            answer = await self.chunk(md5, begin, package[begin : begin + size])
            assert answer["code"] == 0, answer
        return md5

    async def add(self, md5, semantic):
        body = {"file_hash": md5, "semantic_specification": json.dumps(semantic)}
        return await self.post("/user/add_learnware_uploaded", json=body)

    async def upload(self, package, semantic):
        answer = await self.add(await self.send(package), semantic)
        assert answer["code"] == 0, answer
        return answer["data"]["learnware_id"]

    async def update(self, learnware_id, semantic, package=None):
        form = aiohttp.FormData(default_to_multipart=True)
        form.add_field("learnware_id", learnware_id)
        form.add_field("semantic_specification", json.dumps(semantic))
        if package is not None:
            form.add_field("learnware_file", package, filename="mine.zip")
        return await self.post("/user/update_learnware", data=form)

    async def search(self, semantic, statistical=None, limit=10, page=0):
        fields = {"semantic_specification": json.dumps(semantic), "limit": str(limit), "page": str(page)}
        form = aiohttp.FormData(fields, default_to_multipart=statistical is not None)
        if statistical is not None:
            form.add_field("statistical_specification", statistical, filename="learnware_stat_x.json")
        return await self.post("/engine/search_learnware", data=form)

    async def info(self, learnware_id):
        return await self.get("/engine/learnware_info", params={"learnware_id": learnware_id})

    async def list(self):
        return (await self.post("/user/list_learnware", json={"page": 0, "limit": 10000}))["data"]["learnware_list"]

    async def download(self, learnware_id):
        """(status, headers, bytes)"""
        url, query = f"{self.url}/engine/download_learnware", {"learnware_id": learnware_id}
        async with self.session.get(url, headers=self.headers, params=query) as response:
            return response.status, response.headers, await response.read()


@pytest.fixture(scope="session")
def irises():
    return Irises()


@pytest.fixture
async def client():
    """``client(node, token)`` of a running node; without ``token`` that of its administrator."""
    async with aiohttp.ClientSession() as session:
        yield lambda running, token=None: Client(session, running.url, token or running.token)


@pytest.fixture
def open_offers(monkeypatch):
    """What is uploaded is offered to members: set before nodes start."""
    for act in ("disclose", "predict", "download"):
        monkeypatch.setenv(f"ATOLL__BEIMINGWU__{act.upper()}", "members")


@pytest.fixture
def ours(irises):
    """``await ours(node, federation, offers)``: an ONNX model of irises in an island of scaled columns; its id."""

    async def publish(running, federation, offers=SHOWN):
        island = Island.mint(Table(irises.values, COLUMNS))
        await running.client.add_island(island)
        rows, labels = irises.of(0, 1), irises.labels[np.isin(irises.labels, (0, 1))]
        model, target = LogisticRegression().fit(rows, labels), io.BytesIO()
        pack(
            target, to_onnx(model, 4), Table(rows.astype(np.float64), COLUMNS), island, SemanticSpec("Our irises"),
            Signature("classification", 4, 2), owner=running.node.identity.peer, created_at=now_ms(), salt=bytes(16),
            class_names=NAMES[:2], size=20,
        )  # fmt: skip
        added = await running.client.add_learnware(target.getvalue())
        await running.client.publish(added.learnware_id, federation, offers)
        return added.learnware_id

    return publish
