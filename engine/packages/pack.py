"""Making a package: model, words, and the specification fitted to the rows that the model is good on."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
from atoll.engine.islands import Island, positional_names
from atoll.engine.packages import archive
from atoll.engine.packages.manifest import Manifest, SpecEntry
from atoll.engine.runtime import requirements
from atoll.engine.runtime.environments import Needs
from atoll.engine.runtime.signature import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.engine.specs.dp import Budget, private_sketch
from atoll.engine.specs.fit import fit_rkme
from atoll.engine.specs.privacy import self_audit
from atoll.engine.specs.report import check_publication
from atoll.engine.tables import Table
from numpy.typing import NDArray

MODEL_PATH = "model.onnx"


def pack(
    target: IO[bytes] | Path, model: bytes | Path, rows: Any, island: Island, semantic: SemanticSpec,
    signature: Signature, *,
    owner: str, created_at: int, salt: bytes, class_names: tuple[str, ...] = (), size: int = 100, seed: int = 0,
    budget: Budget | None = None, model_format: str = "onnx", model_path: str = MODEL_PATH, needs: Needs | None = None,
) -> None:  # fmt: skip
    """Write a package to ``target``, a file open for writing and reading or its path. ``rows`` are in raw units,
    columns in the order that the model takes them. ``model`` is in ``model_format`` and is to be called ``model_path``
    in the package; from a path it is copied piece by piece. ``needs`` is what a model of code needs to run.

    Fits the RKME of ``rows`` in ``island`` and puts the privacy gate's report beside it; with a ``budget`` there is a
    noised sketch in its place. Raises the errors of either, or PackageError where words and shapes disagree or the
    model is too large; what stands in ``target`` then is no package.
    """
    table = Table.of(rows)
    assemble(
        target, model, table.columns or positional_names(table.values.shape[1]),
        specified(island.transform(table), island, salt=salt, size=size, seed=seed, budget=budget), semantic, signature,
        owner=owner, created_at=created_at, class_names=class_names, model_format=model_format, model_path=model_path,
        needs=needs,
    )  # fmt: skip


def specified(
    units: NDArray[np.float32], island: Island, *, salt: bytes, size: int = 100, seed: int = 0,
    budget: Budget | None = None,
) -> tuple[SpecEntry, bytes]:  # fmt: skip
    """The specification of rows (n, d) in the units of ``island``, as a package has it: its entry in the manifest, with
    the privacy gate's report or the budget, and its bytes. PrivacyRefusal where the gate keeps it in."""
    path = f"specifications/{island.id[:16]}"
    if budget is not None:
        noised = private_sketch([units], island, budget)
        return SpecEntry(island.id, f"{path}.sketch", salt.hex(), dp=noised.dp), noised.to_bytes()
    rkme = fit_rkme(units, size=size, gamma=island.gamma, seed=seed)
    report = self_audit(rkme, units, seed)
    check_publication(report, private=True)
    return SpecEntry(island.id, f"{path}.rkme", salt.hex(), report), rkme.to_bytes()


def assemble(
    target: IO[bytes] | Path, model: bytes | Path, columns: tuple[str, ...], specification: tuple[SpecEntry, bytes],
    semantic: SemanticSpec, signature: Signature, *,
    owner: str, created_at: int, class_names: tuple[str, ...] = (), model_format: str = "onnx",
    model_path: str = MODEL_PATH, needs: Needs | None = None, learnware_id: str | None = None,
) -> None:  # fmt: skip
    """Write a package of a specification that is made already, as :func:`pack` does; with a ``learnware_id`` (hex) it
    is a later revision of that learnware."""
    archive.require_size(model.stat().st_size if isinstance(model, Path) else len(model), archive.MODEL_LIMIT)
    entry, data = specification
    files: dict[str, bytes | Path] = {model_path: model, entry.path: data}
    if needs is not None:
        requirements.read(needs.name, needs.data)
        files[needs.name] = needs.data
    manifest = Manifest(
        owner=owner,
        created_at=created_at,
        semantic=semantic.check(),
        signature=signature,
        columns=columns,
        model=model_path,
        model_format=model_format,
        files=tuple(archive.entry_of(path, source) for path, source in files.items()),
        specifications=(entry,),
        class_names=class_names,
        environment=needs.name if needs else "",
        learnware_id=learnware_id,
    )
    archive.write(target, manifest.to_bytes(), files)
    archive.open_package(target).close()  # what we refuse from others we do not make
