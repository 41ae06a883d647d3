"""Whether a search over the federation finds what the package's own searchers find on the same catalogue."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from atoll.engine.beimingwu.semantic import query, read_semantic
from atoll.engine.semantic import SemanticSpec
from bench import Bench
from package_process import run
from parity_market import market

ROUNDING = 1e-6
MODEL = """\
import numpy as np
from learnware.model import BaseModel


class Model(BaseModel):
    def __init__(self):
        super().__init__(input_shape=({inputs},), output_shape=(1,))

    def predict(self, X):
        return (np.asarray(X)[:, :1] > {limit}).astype(int)
"""
YAML = """\
id: "{id}"
model:
  class_name: Model
stat_specifications:
  - module_path: learnware.specification
    class_name: RKMETableSpecification
    file_name: rkme.json
    kwargs: {{}}
semantic_specification:
  file_name: semantic_specification.json
"""


def recorded(python: str, folder: Path) -> dict[str, Any]:
    """The market with what the package finds in it."""
    asked, found = folder / "market.json", folder / "results.json"
    made = market()
    asked.write_text(json.dumps(made))
    run(python, "parity_package.py", asked, found)
    results = json.loads(found.read_text())
    for kind in ("semantic", "statistical"):
        made[kind] = [{"asked": each, **more} for each, more in zip(made[kind], results[kind], strict=True)]
    return made


def write(known: Mapping[str, Any], path: Path) -> None:
    """One line an entry, as the tests read it."""
    parts = [
        f'"{key}": [\n' + ",\n".join(json.dumps(each, ensure_ascii=False) for each in entries) + "\n]"
        for key, entries in known.items()
    ]
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", "utf-8")


def zipped(learnware: Mapping[str, Any], folder: Path) -> Path:
    """A learnware of the market as a zip of Beimingwu's."""
    path = folder / f"{learnware['id']}.zip"
    inputs = learnware["semantic"]["Input"]["Dimension"]
    files = {
        "learnware.yaml": YAML.format(id=learnware["id"]),
        "__init__.py": MODEL.format(inputs=inputs, limit=int(learnware["id"]) / 10),
        "rkme.json": json.dumps(learnware["rkme"]),
        "semantic_specification.json": json.dumps(learnware["semantic"]),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


async def parity(bench: Bench, known: Mapping[str, Any]) -> dict[str, str]:
    """Upload the market to the three nodes, and ask the first; old ids by ours."""
    theirs: dict[str, str] = {}
    for place, each in enumerate(known["learnwares"]):
        path = str(zipped(each, bench.folder))
        ours = await bench.call("upload", place % 3, zip_path=path, semantic=each["semantic"])
        theirs[ours] = each["id"]
    await bench.until(lambda known: theirs.keys() <= known.keys())
    bench.check(f"{len(theirs)} learnwares are uploaded to three nodes, and known to all", len(theirs) == 48)
    await _words(bench, known, theirs)
    await _data(bench, known, theirs)
    return theirs


async def _words(bench: Bench, known: Mapping[str, Any], theirs: Mapping[str, str]) -> None:
    specs = {each["id"]: read_semantic(json.dumps(each["semantic"]).encode()).spec for each in known["learnwares"]}
    wrong = []
    for question in known["semantic"]:
        found = (await bench.call("search", semantic=question["asked"], size=100))["single"]["learnware_ids"]
        ids = [theirs[each] for each in found]
        if set(ids) != set(question["fuzzy"]) or not _best_first(question["asked"], [specs[each] for each in ids]):
            wrong.append((question["asked"], ids, question["fuzzy"]))
    count = len(known["semantic"])
    bench.check(f"{count} searches by words and tags find over three nodes what the package finds", not wrong, wrong)


def _best_first(asked: Mapping[str, Any], found: list[SemanticSpec]) -> bool:
    scores = query(json.dumps(asked).encode()).query.scores(found)
    return scores == sorted(scores, reverse=True)


async def _data(bench: Bench, known: Mapping[str, Any], theirs: Mapping[str, str]) -> None:
    wrong, mixtures = [], 0
    for place, question in enumerate(known["statistical"]):
        path = bench.folder / f"asked-{place}.json"
        path.write_text(json.dumps(question["asked"]))
        answer = await bench.call("search", rkme=str(path), size=100)
        mixtures += len(answer["multiple"]["learnware_ids"]) > 1
        ids = [theirs[each] for each in answer["single"]["learnware_ids"]]
        distances = dict(zip(question["order"], question["distances"], strict=True))
        in_order = [distances.get(each, 0.0) for each in ids]
        rising = all(near <= far + ROUNDING for near, far in pairwise(in_order))
        if sorted(ids) != sorted(question["order"]) or not rising:
            wrong.append((place, ids, question["order"]))
    count, their_mixtures = len(known["statistical"]), sum(bool(each["multiple"]) for each in known["statistical"])
    bench.check(f"{count} searches by data rank over three nodes as the package ranks", not wrong, wrong)
    bench.check(f"of them {mixtures} find a mixture (of the package's {their_mixtures})", mixtures > 0)
