"""A later revision of one's own package in which only the words and tags are others."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import msgspec
from atoll.engine.errors import PackageError
from atoll.engine.packages import archive
from atoll.engine.packages.manifest import Manifest
from atoll.engine.semantic import SemanticSpec


def revise(source: IO[bytes] | Path, target: IO[bytes] | Path, *, semantic: SemanticSpec) -> None:
    """Write to ``target`` (as pack does) the package in ``source`` with ``semantic`` in place of its words: the
    learnware keeps its id, every file its bytes, which are copied piece by piece.

    Model and specification were checked before and are the same, so nothing needs to be checked anew but the words:
    SpecificationError for those outside the vocabulary. PackageError where nothing would change.
    """
    with archive.open_package(source) as old:
        manifest = old.manifest
        if semantic.check() == manifest.semantic:
            raise PackageError("the words are those that the package has already")
        changed = msgspec.structs.replace(manifest, semantic=semantic, learnware_id=old.learnware_id.hex())
        archive.write(target, changed.to_bytes(), {entry.path: old for entry in manifest.files})
    archive.open_package(target).close()


def reworded(
    source: IO[bytes] | Path, target: IO[bytes] | Path, *, semantic: SemanticSpec, learnware_id: str | None
) -> None:
    """Write to ``target`` the package in ``source``, which no dock has taken in, with other words; with a
    ``learnware_id`` (hex) it is a later revision of that learnware, with None a first one."""
    with archive.open_package(source) as old:
        changed = msgspec.structs.replace(old.manifest, semantic=semantic.check(), learnware_id=learnware_id)
        archive.write(target, changed.to_bytes(), {entry.path: old for entry in changed.files})
    archive.open_package(target).close()


def only_words_differ(old: Manifest, new: Manifest) -> bool:
    """Whether ``new`` is such a revision of ``old``: the same files, shapes and owner. For a dock that decides whether
    to check a revision anew."""
    ids = {"semantic": old.semantic, "learnware_id": old.learnware_id}
    return msgspec.structs.replace(new, **ids) == old
