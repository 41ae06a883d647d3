"""A Beimingwu package made a learnware of ours: the zip as it is, its words, and its specifications in our islands."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from atoll.engine.beimingwu.contents import Contents, open_contents
from atoll.engine.beimingwu.legacy import named_island
from atoll.engine.beimingwu.reading import Foreign, read_foreign
from atoll.engine.beimingwu.semantic import FILE, Words
from atoll.engine.encoding import pack
from atoll.engine.errors import PackageError, SpecificationError
from atoll.engine.islands import Island, positional_names
from atoll.engine.naming import ALIAS, ALIAS_IS
from atoll.engine.packages import archive
from atoll.engine.packages.manifest import Manifest, SpecEntry
from atoll.engine.runtime.formats import BEIMINGWU
from atoll.engine.runtime.signature import Signature
from atoll.engine.semantic import told_apart
from atoll.engine.specs.moving import moved, reachable
from atoll.engine.specs.rkme import Rkme
from atoll.engine.zips import PIECE

MODEL = "learnware.zip"
FURTHER = 3  # islands of ours beside the legacy one: a listing has four
MAX_CLASSES, MAX_CLASS_NAME = 32, 40  # of a listing; bytes of a name
LISTING, LISTED = 4096, 660  # bytes of a listing, and of one specification in it
AROUND = 640  # bytes of ids, times and offers in it
HINT = "say it in the semantic specification: --semantic FILE.json"
CLASSIFICATION, REGRESSION = "Classification", "Regression"


class Imported(NamedTuple):
    """What was written, the islands that a dock must know for it, and what people should know, in words."""

    manifest: Manifest
    islands: tuple[Island, ...]
    notes: tuple[str, ...]


def import_package(
    source: Path | IO[bytes], target: Path | IO[bytes], *,
    owner: str, created_at: int, salt: Callable[[], bytes], islands: Sequence[Island] = (),
    semantic: bytes | None = None, alias: str | None = None, learnware_id: str | None = None,
    scratch: Path | None = None,
) -> Imported:  # fmt: skip
    """Write to ``target``, a path or a file open for writing and reading, our package of the Beimingwu package in
    ``source``, a zip or the path of a folder.

    ``salt`` gives 16 fresh bytes for each specification's commitment; ``islands`` are those that are known, best first:
    a table specification is moved into as many as FURTHER of them that have its very columns. ``semantic`` stands in
    for the JSON in the zip, ``alias`` for its id; ``learnware_id`` (hex) makes it a revision of that learnware.
    ``scratch`` is a folder for a copy, which is made of a folder, of a zip with one around everything and of an open
    file; the system's own by default.
    Raises PackageError or SpecificationError (or a child) with what is refused and why; ``target`` is no package then.
    """
    with ExitStack() as stack:
        contents = stack.enter_context(open_contents(source))
        foreign = read_foreign(contents, semantic)
        given = foreign.alias if alias is None else alias
        if given and not ALIAS.fullmatch(given):
            raise PackageError(f"{given[:80]!r} is no alias", hint=ALIAS_IS)
        path = _kept(contents, source, stack, scratch)
        archive.require_size(path.stat().st_size, archive.MODEL_LIMIT)
        plan = _Plan.of(foreign)
        specified = list(_specified(foreign, plan, islands))
        files: dict[str, bytes | Path] = {MODEL: path, FILE: foreign.semantic}
        if foreign.needs is not None:
            files[foreign.needs.name] = foreign.needs.data
        entries = []
        for island, rkme in specified:
            entry = SpecEntry(island.id, f"specifications/{island.id[:16]}.rkme", salt().hex())
            files[entry.path] = rkme.to_bytes()
            entries.append(entry)
        manifest = Manifest(
            owner=owner, created_at=created_at, semantic=foreign.words.spec, signature=plan.signature,
            columns=plan.columns, model=MODEL, model_format=BEIMINGWU, specifications=tuple(entries),
            files=tuple(archive.entry_of(name, data) for name, data in files.items()), class_names=plan.class_names,
            learnware_id=learnware_id, environment=foreign.needs.name if foreign.needs else "", alias=given,
        )  # fmt: skip
        archive.write(target, manifest.to_bytes(), files)
        archive.open_package(target).close()  # what we refuse from others we do not make
    return Imported(manifest, tuple(island for island, _ in specified), (*foreign.notes, *plan.notes))


class _Plan(NamedTuple):
    """What the manifest says of the model, and notes on it."""

    signature: Signature
    columns: tuple[str, ...]
    class_names: tuple[str, ...]
    notes: tuple[str, ...]
    kind: str

    @classmethod
    def of(cls, foreign: Foreign) -> _Plan:
        notes: list[str] = []
        kind = _kind(foreign)
        inputs = _inputs(foreign, kind, notes)
        outputs = _outputs(foreign, notes)
        classifies = foreign.words.spec.task == CLASSIFICATION
        names = _class_names(foreign.words, outputs, notes) if classifies else ()
        columns = _columns(foreign.words, inputs, notes) if kind == "table" else positional_names(inputs)
        signature = Signature("classification" if names else "regression", inputs, outputs)
        return cls(signature, ("text",) if kind == "text" else columns, names, tuple(notes), kind)


def _columns(words: Words, inputs: int, notes: list[str]) -> tuple[str, ...]:
    """The names of the inputs, where each has one; else, and where these are the numbers of others, their numbers."""
    numbered = positional_names(inputs)
    if len(words.input_names) != inputs:
        return numbered
    if words.input_names != numbered and set(words.input_names) == set(numbered):
        notes.append(f"the inputs are named by each other's numbers ({words.input_names[0]} is the first): not taken")
        return numbered
    return words.input_names


def _kept(contents: Contents, source: Path | IO[bytes], stack: ExitStack, scratch: Path | None) -> Path:
    """The path of the zip that goes into the package: the original where it may stay as it is."""
    if contents.original and isinstance(source, Path):
        return source
    path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="atoll-", dir=scratch))) / MODEL
    if contents.original and not isinstance(source, Path):
        source.seek(0)
        with path.open("wb") as file:
            while piece := source.read(PIECE):
                file.write(piece)
    else:
        contents.write(path)
    return path


def _kind(foreign: Foreign) -> str:
    """Of which kind the model's rows are: as the words say, where there is such a specification, else as that is."""
    said = foreign.words.spec.data.lower()
    kinds = [each.island.kind for each in foreign.given]
    return said if said in kinds or not kinds else kinds[0]


def _inputs(foreign: Foreign, kind: str, notes: list[str]) -> int:
    """How many numbers a row is; of a text one, for there are no rows of texts here."""
    if kind == "text":
        return 1
    own = [each for each in foreign.given if each.island.kind == kind]
    dimension, said = own[0].island.dimension, foreign.words.inputs
    if kind == "table":
        shape = foreign.shapes.inputs
        if said is not None and said != dimension:
            raise SpecificationError(
                f"the specification has {dimension} dimensions, the semantic specification says {said} inputs",
                hint="both, and the model's input_shape, must be of the same columns",
            )
        if shape and math.prod(shape) != dimension:
            raise SpecificationError(f"the specification is of {dimension} dimensions, the model's input_shape {shape}")
        return dimension
    shape = foreign.shapes.inputs
    inputs = math.prod(shape) if shape else said or dimension
    if not shape:
        notes.append(f"the model's input_shape is not told in plain numbers: {inputs} numbers a row are taken")
    if not 1 <= inputs <= 100_000:
        raise SpecificationError(f"the model takes {inputs} numbers a row, 1 to 100000 are taken")
    return inputs


def _outputs(foreign: Foreign, notes: list[str]) -> int:
    words, shape = foreign.words, foreign.shapes.outputs
    if words.spec.task == CLASSIFICATION and (words.outputs or 0) < 2:
        raise SpecificationError(
            "a classification of less than two classes: Output.Dimension is their number", hint=HINT
        )
    if words.outputs is not None:
        return words.outputs
    if shape and 1 <= math.prod(shape) <= 10_000:
        return math.prod(shape)
    if words.spec.task == REGRESSION:
        raise SpecificationError("a regression without Output.Dimension, the number of its values", hint=HINT)
    if foreign.given and foreign.words.spec.data != "Text":
        notes.append("nothing says how many numbers the model gives for a row: 1 is taken; Output.Dimension can say it")
    return 1


def _class_names(words: Words, count: int, notes: list[str]) -> tuple[str, ...]:
    """As many, told apart, and short enough for a listing."""
    given = [name or str(place) for place, name in enumerate((*words.output_names, *[""] * count)[:count])]
    if len(given) > MAX_CLASSES:
        notes.append(f"it has {count} classes: a listing names at most {MAX_CLASSES}, so it can be kept but not listed")
    plain = ["".join(each if each.isprintable() else " " for each in name) for name in given]
    names = [_short(name, MAX_CLASS_NAME) for name in plain]
    if not told_apart(names):
        names = [_short(name, MAX_CLASS_NAME - 6) + f" ({place})" for place, name in enumerate(plain)]
    if names != given:
        notes.append(f"the names of classes are cut to {MAX_CLASS_NAME} bytes, or numbered: no two may be alike")
    return tuple(names)


def _short(name: str, size: int) -> str:
    data = name.encode()
    return name if len(data) <= size else data[: size - 3].decode(errors="ignore") + "…"


def _specified(foreign: Foreign, plan: _Plan, islands: Sequence[Island]) -> Iterator[tuple[Island, Rkme]]:
    """The specification as it came, in its legacy island; and moved into islands of the same columns by name."""
    own = [each for each in foreign.given if each.island.kind == plan.kind][:1]
    for island, rkme, *_ in own:
        yield island, rkme
        if island.kind == "table":
            yield from _moved(island, rkme, plan, islands, min(FURTHER, _room(foreign, plan)))


def _moved(
    island: Island, rkme: Rkme, plan: _Plan, islands: Sequence[Island], most: int
) -> Iterator[tuple[Island, Rkme]]:
    """By name first; into islands of nameless columns, whose names are positions, as well."""
    sources = [(island, rkme)]
    if any(set(each.names) == set(plan.columns) for each in islands):  # else long names need not fit into an island
        order = sorted(range(len(plan.columns)), key=plan.columns.__getitem__)
        points = Rkme(np.ascontiguousarray(rkme.points[:, order]), rkme.weights, rkme.gamma, rkme.count)
        sources.insert(0, (named_island(plan.columns, rkme.gamma), points))
    done = {island.digest}
    for source, points in sources:
        near = [each for each in islands if each.digest == source.digest]
        for target in (*near, *reachable(source, islands)):
            if len(done) <= most and target.digest not in done:
                done.add(target.digest)
                yield target, moved(points, source, target)


def _room(foreign: Foreign, plan: _Plan) -> int:
    """For how many more specifications there is room in a listing."""
    words = len(pack(foreign.words.spec.summary())) + sum(2 + len(name.encode()) for name in plan.class_names)
    return max(0, (LISTING - AROUND - words) // LISTED - 1)
