"""A learnware of ours as a Beimingwu package: what came from there as it came, a table model of ours with a class
around it and its RKME in raw units."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import yaml
from atoll.engine.beimingwu import models
from atoll.engine.beimingwu.config import MAX_BYTES as MAX_CONFIG
from atoll.engine.beimingwu.config import plain_tree, read_config
from atoll.engine.beimingwu.contents import YAML, Contents, open_contents
from atoll.engine.beimingwu.legacy import GAMMA, table_island
from atoll.engine.beimingwu.semantic import FILE, dumps, read_semantic, write_semantic
from atoll.engine.beimingwu.specifications import TABLE, write_specification
from atoll.engine.errors import SpecificationError
from atoll.engine.islands import Island
from atoll.engine.packages.archive import Package, pieces_of_file
from atoll.engine.packages.manifest import Manifest, SpecEntry
from atoll.engine.packages.samples import LARGEST
from atoll.engine.runtime.environments import Needs
from atoll.engine.runtime.formats import BEIMINGWU
from atoll.engine.runtime.requirements import TEXT
from atoll.engine.specs.rkme import Rkme
from atoll.engine.zips import EPOCH

STAT = "stat.json"


class Exported(NamedTuple):
    """What people should know of the zip that was written, in words."""

    notes: tuple[str, ...]


def export_package(
    package: Package, islands: Mapping[str, Island], target: Path | IO[bytes], *, scratch: Path | None = None
) -> Exported:
    """Write to ``target`` the Beimingwu package of a learnware. One that came from there is its zip, byte for byte; but
    words that were changed since are put into it, and a note says so. ``islands`` are by id in hex: the first table
    specification that the package holds, and whose island is among them, goes into the zip, for everybody to read.
    ``scratch`` is a folder for copies, which are made of what came from there where ``target`` is no path, or where
    words are put in; the system's own by default. PackageError or SpecificationError says what cannot be exported and
    why.
    """
    if package.manifest.model_format == BEIMINGWU:
        return _original(package, target, scratch)
    return _ours(package, islands, target)


def raw_rkme(rkme: Rkme, island: Island, columns: tuple[str, ...]) -> Rkme:
    """An RKME of a table island with its columns in a model's order, in raw units, under Beimingwu's gamma or, where
    it is raw already, its own: what is written into a package is compared there as this is here."""
    places = island.places(columns)
    gamma = rkme.gamma if island.raw.all() else GAMMA
    points = np.clip(island.restore(rkme.points)[:, places], -LARGEST, LARGEST).astype(np.float32)
    return Rkme(points, rkme.weights, gamma, rkme.count)


def _original(package: Package, target: Path | IO[bytes], scratch: Path | None) -> Exported:
    manifest = package.manifest
    words = package.read(FILE)
    changed = read_semantic(words).spec != manifest.semantic
    with tempfile.TemporaryDirectory(prefix="atoll-", dir=scratch) as folder:
        came = target if isinstance(target, Path) else Path(folder) / "came.zip"
        _pour(package.pieces(manifest.model), came)
        with open_contents(came) as contents:
            if not changed and read_config(contents.read(YAML, MAX_CONFIG)).semantic_file in contents.sizes:
                if came != target:
                    _pour(pieces_of_file(came), target)
                return Exported(())
            again = Path(folder) / "again.zip"
            contents.write(again, _with_words(contents, _changed(words, manifest) if changed else words))
        _pour(pieces_of_file(again), target)
    unnamed = f"its {YAML} named no words, without which it does not load"
    why = "its words were changed since it came" if changed else unnamed
    return Exported((f"{why}: the zip is the one that came, with its words in it",))


def _pour(pieces: Iterable[bytes], target: Path | IO[bytes]) -> None:
    if isinstance(target, Path):
        with target.open("wb") as file:
            return _pour(pieces, file)
    for piece in pieces:
        target.write(piece)
    return None


def _changed(words: bytes, manifest: Manifest) -> bytes:
    """The JSON that came, with our words in it; the kind of model, a group that is not ours, stays."""
    ours = write_semantic(manifest.semantic)
    del ours["Model"]
    return dumps(json.loads(words) | ours)


def _with_words(contents: Contents, words: bytes) -> dict[str, bytes]:
    """The files that differ: the words, and learnware.yaml where it does not name them yet."""
    data = contents.read(YAML, MAX_CONFIG)
    config = read_config(data)
    taken = {each.file_name for each in config.stat_specifications}
    if config.semantic_file.endswith(".json") and config.semantic_file not in taken:
        return {config.semantic_file: words}
    tree = plain_tree(data) | {"semantic_specification": {"file_name": FILE}}
    return {FILE: words, YAML: _yaml(tree | ({"id": config.id} if config.id else {}))}


def _ours(package: Package, islands: Mapping[str, Island], target: Path | IO[bytes]) -> Exported:
    manifest = package.manifest
    program = models.program(manifest.model_format)
    entry, island = _specification(package, islands)
    rkme = raw_rkme(Rkme.from_bytes(package.read(entry.path)), island, manifest.columns)
    needs = package.needs or Needs(TEXT, "".join(f"{line}\n" for line in program.requirements).encode())
    words = write_semantic(
        manifest.semantic, inputs=manifest.signature.inputs, input_names=manifest.columns,
        outputs=manifest.signature.outputs, output_names=manifest.class_names,
    )  # fmt: skip
    files: dict[str, Iterable[bytes]] = {
        YAML: [_config(manifest, manifest.alias or package.learnware_id.hex())],
        "__init__.py": [models.code(manifest.model_format, manifest.signature)],
        STAT: [write_specification(rkme, table_island(rkme.dimension, rkme.gamma))],
        FILE: [dumps(words)],
        needs.name: [needs.data],
        program.file: package.pieces(manifest.model),
    }
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, pieces in sorted(files.items()):
            with archive.open(zipfile.ZipInfo(name, EPOCH), "w", force_zip64=name == program.file) as member:
                for piece in pieces:
                    member.write(piece)
    points = f"the zip holds the specification's {len(rkme.weights)} points: whoever has it, has them"
    unscaled = "" if island.raw.all() else f"they are in raw units and of gamma {GAMMA:g}, as Beimingwu compares them"
    return Exported(tuple(filter(None, (points, unscaled))))


def _config(manifest: Manifest, id_: str) -> bytes:
    return _yaml({
        "name": manifest.semantic.name,
        "id": id_,
        "model": {"class_name": "Model", "module_path": "__init__.py", "kwargs": {}},
        "stat_specifications": [
            {"module_path": "learnware.specification", "class_name": TABLE, "file_name": STAT, "kwargs": {}}
        ],
        "semantic_specification": {"file_name": FILE},
    })  # fmt: skip


def _yaml(tree: dict[str, Any]) -> bytes:
    """Plain values; tuples become lists, for Beimingwu's client does not read the tag that its templates write."""
    return str(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)).encode()


def _specification(package: Package, islands: Mapping[str, Island]) -> tuple[SpecEntry, Island]:
    """The one to export: one in raw units already, else the first."""
    known = [(each, islands[each.island]) for each in package.manifest.specifications if each.island in islands]
    fit = [(each, island) for each, island in known if each.dp is None and package.has(each.path)]
    tables = sorted((each for each in fit if each[1].kind == "table"), key=lambda each: not each[1].raw.all())
    if not tables:
        why = "they are of images or texts" if fit else "none of them is at hand, or all are noised sketches"
        raise SpecificationError(
            f"no specification can be exported: {why}", hint="a package there needs the points of a table, undisguised"
        )
    return tables[0]
