"""Learnwares in Beimingwu's format, unpacked: their files in a folder each, made once and never changed.

The archive is read with distrust (engine/beimingwu/contents.py) and its ``learnware.yaml`` as data; nothing in it is
imported or run. Only a sandboxed worker does that, which sees the folder read-only.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from atoll.engine.beimingwu.config import MAX_BYTES, read_config
from atoll.engine.beimingwu.contents import YAML, Contents, open_contents
from atoll.engine.encoding import pack
from atoll.engine.errors import ModelRefused, PackageError
from atoll.engine.folders import fsync_folder, keep_only
from atoll.engine.runtime.beimingwu_model import MAX_ENTRY, Entry
from atoll.engine.zips import PIECE

FILES, ENTRY, NEW = "files", "entry", "new-"
EXPANSION = 4  # an archive may unpack to so many times the largest that is run


class Place(NamedTuple):
    """The folder of the files, and the file that says what to make of them (a packed Entry)."""

    files: Path
    entry: Path


class Unpacked:
    """Thread-safe. They lie in ``root``, a folder each, named by the SHA-256 of the archive (hex)."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._making = tuple(threading.Lock() for _ in range(16))  # by the first digit of the digest

    @contextmanager
    def holding(self, archive: IO[bytes], largest: int) -> Iterator[Place]:
        """Where the archive is unpacked, now if it is not yet, and stays within the block; ``largest`` is how many
        bytes a model may have. ModelRefused says what is wrong with it. Unpacked is what is on the disk, after fsync.
        """
        digest = _digest(archive)
        folder = self._root / digest
        place = Place(folder / FILES, folder / ENTRY)
        with self._lock:
            self._held[digest] += 1
        try:
            with self._making[int(digest[0], 16)]:
                if not place.entry.is_file():
                    self._unpack(archive, folder, EXPANSION * largest)
            yield place
        finally:
            with self._lock:
                self._held -= Counter((digest,))

    def keep_only(self, digests: Iterable[str], in_use: Callable[[], Iterable[str]] = tuple) -> None:
        """Delete the others, and what an interruption has left, but for those that are held or ``in_use``: whoever
        needs one for longer than he holds it is there before he lets it go."""
        with self._lock:
            held = {name for digest in self._held for name in (digest, NEW + digest)}
            keep_only(self._root, {*digests, *held, *in_use()})

    def _unpack(self, archive: IO[bytes], folder: Path, most: int) -> None:
        work = self._root / (NEW + folder.name)
        try:
            self._fill(archive, work, most)
            shutil.rmtree(folder, ignore_errors=True)  # one that somebody has damaged
            os.rename(work, folder)
            fsync_folder(self._root)
        except PackageError as error:
            raise ModelRefused(f"the learnware cannot be unpacked: {error.message}", hint=error.hint) from None
        except OSError as error:  # no room, or a name that this disk does not take
            raise ModelRefused(f"the learnware cannot be unpacked: {error.strerror}") from None
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _fill(self, archive: IO[bytes], work: Path, most: int) -> None:
        with open_contents(archive) as contents:
            entry = _entry(contents)
            if (size := sum(contents.sizes.values())) > most:
                raise ModelRefused(
                    f"the learnware unpacks to {size} bytes, at most {most} are run",
                    hint="its owner can set sandbox.model_bytes in atoll.toml",
                )
            shutil.rmtree(work, ignore_errors=True)
            for name in contents.names:
                _write(contents.pieces(name), work / FILES / name)
            for each in (work / FILES, *(path for path in (work / FILES).rglob("*") if path.is_dir())):
                fsync_folder(each)
            _write((entry,), work / ENTRY)
            fsync_folder(work)


def _digest(archive: IO[bytes]) -> str:
    hashed = hashlib.sha256()
    archive.seek(0)
    while piece := archive.read(PIECE):
        hashed.update(piece)
    return hashed.hexdigest()


def _entry(contents: Contents) -> bytes:
    """The packed Entry; PackageError or ModelRefused where there is no such class to be had."""
    model = read_config(contents.read(YAML, MAX_BYTES)).model
    if model.module_path not in contents.names:
        raise PackageError(f"{YAML} names {model.module_path}, which it does not hold")
    if model.required:
        raise ModelRefused("the learnware builds on others, which are not part of it", hint="put all into one")
    packed = pack(Entry(model.class_name, model.module_path, repr(model.kwargs)))
    if len(packed) > MAX_ENTRY or not _finite(model.kwargs):
        raise PackageError(f"the kwargs in {YAML} are more than {MAX_ENTRY} bytes, or hold infinite numbers")
    return packed


def _finite(value: object) -> bool:
    if isinstance(value, dict | list | tuple):
        return all(map(_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def _write(pieces: Iterable[bytes], path: Path) -> None:
    """A new plain file, on the disk."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("xb")
    except (FileExistsError, NotADirectoryError):
        raise PackageError(f"{path.name[:80]!r} is a file and a folder, or is there twice") from None
    with file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())
