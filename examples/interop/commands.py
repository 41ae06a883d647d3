"""``atoll beimingwu import`` and ``export``: what comes in, what is refused, what the package says of what goes out."""

from __future__ import annotations

import io
import json
import secrets
import zipfile

import numpy as np
from atoll.engine.beimingwu.legacy import table_island
from atoll.engine.islands import Island
from atoll.engine.packages import open_package
from atoll.engine.packages.convert import from_estimator
from atoll.engine.packages.pack import pack
from atoll.engine.semantic import SemanticSpec
from atoll.engine.specs.rkme import Rkme, mmd2
from atoll.engine.tables import Table
from atoll.node.clock import now_ms
from atoll.protocol.listings import Offers
from bench import Bench
from calls import Made, member, rows_of
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

CLOSE, GAMMA = 1e-6, 0.1
COLUMNS = tuple(f"pixel {place}" for place in range(64))
AROUND = "my learnware/"
BAD = """\
model: {{class_name: Model}}
stat_specifications:
  - {{module_path: subprocess, class_name: Popen, file_name: rkme.json, kwargs: {{args: [touch, {0}]}}}}
"""


async def imports(bench: Bench, made: list[Made]) -> str:
    """A zip with one folder around, under an alias, listed at the third node, whose id this is; and one that names what
    is to be run."""
    digits = made[-1]
    around, semantic = bench.folder / "around.zip", bench.folder / "semantic.json"
    semantic.write_text(json.dumps(digits["semantic"] | {"Name": {"Type": "String", "Values": "Digits, imported"}}))
    with zipfile.ZipFile(digits["zip"]) as source, zipfile.ZipFile(around, "w") as target:
        for name in source.namelist():
            target.writestr(AROUND + name, source.read(name))
    code, report = await bench.atoll(
        "beimingwu", "import", around, "--semantic", semantic, "--alias", "digits-0042", "--add", "--federation",
        bench.federation, node=2,
    )  # fmt: skip
    bench.check("atoll beimingwu import --add --federation takes a zip with a folder around", code == 0, report)
    if code == 0:
        await bench.until(lambda known: report["learnware_id"] in known)
        told = await bench.call("semantic_of", learnware_id="digits-0042")
        bench.check("another node knows it by its alias", told["Name"]["Values"] == "Digits, imported", told)
        legacy = table_island(64).id
        bench.check("it is in the island of all such", report["islands"][0]["id"] == legacy, report["islands"])
        named = report["convertible"]
        bench.check("the model in it that could do without code is named", named == [AROUND + "model.pkl"], named)
    bad, touched = bench.folder / "bad.zip", bench.folder / "touched"
    with zipfile.ZipFile(bad, "w") as target:
        target.writestr("learnware.yaml", BAD.format(touched))
        target.writestr("__init__.py", f"import os\nos.system('touch {touched}')\n")
        target.writestr("rkme.json", '{"type": "Popen"}')
    code, said = await bench.atoll("beimingwu", "import", bad, "--semantic", semantic, "-o", bench.folder / "bad.out")
    bench.check(f"a zip whose yaml names subprocess is refused ({' '.join(str(said).split())[:100]})", code == 15, said)
    bench.check("and runs nothing", not touched.exists() and not (bench.folder / "bad.out").exists())
    return str(report["learnware_id"])


async def exports(bench: Bench) -> None:
    """A learnware of ours, ONNX and a table, as the package sees it."""
    id_, island, rkme = await _published(bench, 1)
    zipped, other = bench.folder / "ours.zip", bench.folder / "other.json"
    code, report = await bench.atoll("beimingwu", "export", id_, "-o", zipped, node=1)
    bench.check("atoll beimingwu export of an ONNX learnware of ours", code == 0, report)
    if code:
        return
    rows, weights = _rows()[:40].astype(np.float32), np.full(40, 1 / 40, np.float32)
    user = Rkme(rows, weights, GAMMA, 40)
    tree = {"z": rows.tolist(), "beta": weights.tolist(), "gamma": GAMMA, "type": "RKMETableSpecification"}
    other.write_text(json.dumps(tree))
    expected = mmd2(_raw(island, rkme), user)
    answer = await bench.call("distances", path=str(zipped), rkme=str(other))
    apart = abs(answer["other"] - expected)
    bench.check(f"the package loads it; its distance, {answer['other']:.6f}, is ours to {apart:.1e}", apart <= CLOSE)
    bench.check("it is nowhere from itself", abs(answer["itself"]) <= CLOSE, answer)
    said = (await bench.nodes[1].client.predict_with(id_, Table(_rows(), COLUMNS))).values
    answer = await bench.call("loaded", path=str(zipped), rows=rows_of(bench, "digits"))
    if answer["predictions"] is None:
        bench.check("the package predicts with it as we do (not run: no onnxruntime there)", True)
    else:
        bench.check("the package predicts with it as we do", np.allclose(answer["predictions"], said, atol=1e-5))
        why = await bench.call("checked", path=str(zipped))
        bench.check("it passes the package's own checks", not why, why)
    await bench.call("download", learnware_id=id_, target=str(bench.folder / "ours-too.zip"))
    answer = await bench.call("distances", path=str(bench.folder / "ours-too.zip"), rkme=str(other))
    bench.check("download_learnware of it through another node: the same", abs(answer["other"] - expected) <= CLOSE)


async def back(bench: Bench, id_: str) -> None:
    """What was imported at the third node, out of another one: denied, until its owner offers it."""
    asked = ("beimingwu", "export", "digits-0042", "-o", bench.folder / "back.zip")
    code, said = await bench.atoll(*asked, node=1)
    bench.check("what its owner does not offer is not exported elsewhere", code == 12, said)
    offered = ("--federation", bench.federation, "--disclose", "members", "--download", "members")
    code, said = await bench.atoll("learnware", "policy", id_, *offered, node=2)
    bench.check("atoll learnware policy offers it", code == 0, said)
    await bench.until(lambda known: known[id_].offers.download == "members")
    code, said = await bench.atoll(*asked, node=1)
    bench.check("atoll beimingwu export by alias, through another node", code == 0, said)
    came = member(bench.folder / "around.zip", AROUND + "model.pkl")
    bench.check("what was imported comes out", member(bench.folder / "back.zip", "model.pkl") == came)


async def _published(bench: Bench, node: int) -> tuple[str, Island, Rkme]:
    """An ONNX classifier of digits, whose columns are in another order than their names sort, offered to members."""
    rows, truth = _rows(), load_digits().target
    table, at = Table(rows, COLUMNS), bench.nodes[node]
    island = Island.mint(table)
    await at.client.add_island(island)
    model = from_estimator(LogisticRegression(max_iter=3000).fit(rows, truth), table)
    with io.BytesIO() as file:
        pack(
            file, model.data, table, island, SemanticSpec("Digits of ours"), model.signature,
            owner=at.endpoint.peer_id, created_at=now_ms(), salt=secrets.token_bytes(16),
            class_names=model.class_names, size=40,
        )  # fmt: skip
        package = file.getvalue()
    with open_package(io.BytesIO(package)) as opened:
        ((rkme, _),) = opened.specifications().values()
    id_ = (await at.client.add_learnware(package)).learnware_id
    await at.client.publish(id_, bench.federation, Offers(disclose="members", predict="members", download="members"))
    await bench.until(lambda known: id_ in known)
    assert isinstance(rkme, Rkme)
    return id_, island, rkme


def _raw(island: Island, rkme: Rkme) -> Rkme:
    """In raw units and the order of COLUMNS, under the package's kernel: worked out from the island's definition."""
    raw = {each.name: rkme.points[:, place] * each.scale + each.loc for place, each in enumerate(island.features)}
    return Rkme(np.array([raw[name] for name in COLUMNS], np.float32).T, rkme.weights, GAMMA, rkme.count)


def _rows() -> np.ndarray:
    return load_digits().data / 8.0
