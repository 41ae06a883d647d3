"""All calls of the package's client, against three nodes, with what they are to answer."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from atoll.engine.beimingwu.semantic import VOCABULARY
from bench import Bench
from cutting import cutting
from package_process import PackageFailedError
from sklearn.datasets import load_digits, load_iris

Made = Mapping[str, Any]
CHUNK = 1 << 20
LARGE = 5 * CHUNK // 2  # bytes, so that an upload has three chunks


async def sign_in(bench: Bench) -> None:
    for place, host in enumerate(bench.hosts):
        bench.check(f"is_connected to {bench.nodes[place].name}", await bench.package.call("is_connected", host=host))
        token = (await bench.nodes[place].client.create_token("client", ("read", "publish", "predict"), 1)).secret
        bench.check("login with a token of the node", await bench.call("login", place, token=token))
    refused = await raised(bench.package.call("login", host=bench.hosts[0] + "/", token="atoll_no"))
    bench.check("login with another token is refused", "login failed" in refused, refused)
    token = (await bench.nodes[0].client.create_token("client", ("read", "publish", "predict"), 1)).secret
    await bench.call("login", token=token)
    values = await bench.call("vocabulary")
    bench.check(
        "list_semantic_specification_values", values == {key: VOCABULARY[key]["Values"] for key in values}, values
    )


async def demo(bench: Bench, made: list[Made]) -> dict[str, str]:
    """Upload them to the three nodes in turn, and run upstream's two cases at the first; their ids by name."""
    ids = {}
    for place, each in enumerate(made):
        ids[each["name"]] = await bench.call("upload", place % 3, zip_path=each["zip"], semantic=each["semantic"])
    await bench.until(lambda known: {*ids.values()} <= known.keys())
    bench.check("upload_learnware, Iris and Digits at three nodes, known to all", len({*ids.values()}) == len(made))
    for node in range(3):
        here = {ids[each["name"]] for each in made[node::3]}
        listed = await bench.call("listed", node)
        bench.check("list_learnware names what this node holds", here <= {*listed}, listed)
    single = await bench.call("single")
    bench.check(
        f"demo, single: Iris finds its learnware, which predicts {single['accuracy']:.0%} right",
        single["names"][0] == "Iris of species 1 and 2" and single["accuracy"] > 0.9 and single["matching"][0] > 0.9,
        single,
    )
    multiple = await bench.call("multiple")
    right = multiple["accuracy"]
    told = ", ".join(f"{way} {share:.0%}" for way, share in right.items())
    bench.check(
        f"demo, multiple: Digits finds {' with '.join(multiple['names'])}, right: {told}",
        {*multiple["names"]} >= {"Digits 2 and 3", "Digits 6 and 7"}
        and right["job selector"] > max(0.8, right["best alone"]),
        multiple,
    )
    return ids


async def words(bench: Bench, made: list[Made], ids: Mapping[str, str]) -> None:
    """get_semantic_specification, and update_learnware with and without a zip."""
    digits = next(each for each in made if each["name"] == "Digits 2 and 3")
    id_, node = ids[digits["name"]], made.index(digits) % 3
    told = await bench.call("semantic_of", node, learnware_id=id_)
    bench.check("get_semantic_specification at its node is what was uploaded", _named(told) == digits["semantic"], told)
    elsewhere = await bench.call("semantic_of", (node + 1) % 3, learnware_id=id_)
    same = all(elsewhere[key] == told[key] for key in ("Name", "Description", "Data", "Task", "License", "Scenario"))
    bench.check("get_semantic_specification at another node is the same", same, elsewhere)
    changed = digits["semantic"] | {"Description": {"Type": "String", "Values": "Twos and threes, handwritten"}}
    await bench.call("update", node, learnware_id=id_, semantic=changed)
    told = await bench.call("semantic_of", node, learnware_id=id_)
    bench.check("update_learnware without a zip changes the words, not the id", _named(told) == changed, told)
    other = next(each for each in made if each["name"] == "Digits 4 and 5")
    await bench.call("update", node, learnware_id=id_, semantic=changed, zip_path=other["zip"])
    rows = np.load(rows_of(bench, "digits"))
    answer = await bench.call("loaded", node, learnware_id=id_, rows=rows_of(bench, "digits"))
    bench.check(
        "update_learnware with a zip changes the model, not the id",
        {each for (each,) in answer["predictions"]} == {4, 5} and len(answer["predictions"]) == len(rows), answer,
    )  # fmt: skip
    await bench.call("update", node, learnware_id=id_, semantic=digits["semantic"], zip_path=digits["zip"])


async def downloads(bench: Bench, made: list[Made], ids: Mapping[str, str]) -> None:
    """download_learnware and load_learnware, from the node that holds it and through another."""
    iris = next(each for each in made if each["name"] == "Iris of species 1 and 2")
    node = made.index(iris) % 3
    for place in (node, (node + 1) % 3):
        target = bench.folder / f"iris-{place}.zip"
        await bench.call("download", place, learnware_id=ids[iris["name"]], target=str(target))
        own = "from its own node" if place == node else "through another node"
        bench.check(f"download_learnware {own} is byte-identical", digest(target) == digest(Path(iris["zip"])))
    for way in ({"path": str(target)}, {"learnware_id": ids[iris["name"]]}):
        answer = await bench.call("loaded", rows=rows_of(bench, "iris"), **way)
        right = np.mean(np.ravel(answer["predictions"]) == load_iris().target[50:])
        bench.check(f"load_learnware by {next(iter(way))}, and predict", right > 0.9, answer)
    kept = await bench.call("pretrained", learnware_id=ids[iris["name"]])
    bench.check("get_pretrained_path", Path(kept).read_bytes() == member(iris["zip"], "model.pkl"), kept)
    template = next(each for each in made if each["name"] == "Iris of species 0 and 2")
    target = bench.folder / "template.zip"
    await bench.call("download", learnware_id=ids[template["name"]], target=str(target))
    same = member(target, "model.pkl") == member(template["zip"], "model.pkl")
    bench.check("the package's own template is taken, and comes back with its words", same and "semantic" in str(
        zipfile.ZipFile(target).namelist()))  # fmt: skip


async def cut(bench: Bench, made: list[Made]) -> str:
    """An upload that is cut and tried again; the id of what was uploaded."""
    iris = made[0]
    large = bench.folder / "large.zip"
    with zipfile.ZipFile(iris["zip"]) as source, zipfile.ZipFile(large, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
        target.writestr("weights.bin", os.urandom(LARGE))
    semantic = iris["semantic"] | {"Name": {"Type": "String", "Values": "Iris, large"}}
    async with cutting(bench.hosts[0], CHUNK * 3 // 2) as way:
        token = (await bench.nodes[0].client.create_token("cut", ("read", "publish", "predict"), 1)).secret
        await bench.package.call("login", host=way.url, token=token)
        error = await raised(bench.package.call("upload", host=way.url, zip_path=str(large), semantic=semantic))
        bench.check("an upload that is cut fails in the client", error and way.has_cut, error)
        id_: str = await bench.package.call("upload", host=way.url, zip_path=str(large), semantic=semantic)
    await bench.until(lambda known: id_ in known)
    await bench.call("download", 1, learnware_id=id_, target=str(bench.folder / "back.zip"))
    bench.check("tried again it ends byte-identical", digest(bench.folder / "back.zip") == digest(large))
    return id_


async def leave(bench: Bench, id_: str, owner: int) -> None:
    """delete_learnware and logout."""
    await bench.call("delete", owner, learnware_id=id_)
    await bench.until(lambda known: id_ not in known)
    found = await bench.call("search", 1, semantic={})
    bench.check("delete_learnware takes it out of every search", id_ not in found["single"]["learnware_ids"])
    error = await raised(bench.call("download", 1, learnware_id=id_, target=str(bench.folder / "gone.zip")))
    bench.check("and it cannot be downloaded any more", "download failed" in error, error)
    other = (await bench.call("listed", 1))[0]
    error = await raised(bench.call("delete", learnware_id=other))
    bench.check("nobody deletes what another node holds", "delete failed" in error, error)
    said = await bench.call("logout")
    bench.check("logout", "login first" in said, said)


def _named(semantic: Made) -> Made:
    """Without the names of classes that are their numbers: what is not named is called so here."""
    described = {place: name for place, name in semantic["Output"]["Description"].items() if place != name}
    return {**semantic, "Output": semantic["Output"] | {"Description": described}}


def rows_of(bench: Bench, name: str) -> str:
    """The path of rows as a .npy: of iris those of the species 1 and 2, of digits all, scaled."""
    path = bench.folder / f"{name}.npy"
    np.save(path, load_iris().data[50:] if name == "iris" else load_digits().data / 8.0)
    return str(path)


async def raised(coroutine: Any) -> str:
    """What the package raises, in words; "" if it does not."""
    try:
        await coroutine
    except PackageFailedError as error:
        return str(error)
    return ""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def member(path: Path | str, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)
