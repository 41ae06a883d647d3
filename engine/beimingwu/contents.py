"""What a Beimingwu package holds, in a zip or a folder, read with distrust: by name, in pieces, nothing extracted.

One folder around everything is looked through. Refused: paths that lead outside, symbolic links, one name twice,
encrypted members, and archives that unpack to far more than they are.
"""

from __future__ import annotations

import os
import stat
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from atoll.engine.errors import PackageError
from atoll.engine.zips import EPOCH, LIMIT, PIECE, UNREADABLE, length, open_zip

YAML = "learnware.yaml"
MAX_ENTRIES = 4096
MAX_NAME, MAX_DEPTH = 240, 16
EXPANSION, ALWAYS = 20, 64 << 20  # an archive may unpack to so many times its size; so many bytes in any case
LITTER = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")  # what systems leave in archives
CACHED = "__pycache__"  # of a folder: not what its owner wrote
ENCRYPTED = 0x1
MAGIC = b"PK\x03\x04"  # with which a zip begins that has nothing before it


class Contents:
    """``names`` of the files, sorted, without the folder around everything, which is ``top`` or ""; ``sizes`` in bytes
    by name. ``original`` says whether the source is a zip that may be kept as it is: nothing around, no litter.
    ``hidden`` counts what a folder has under names that begin with a dot, which is left out: it may be secret."""

    def __init__(self, source: _Zip | _Folder, held: ExitStack) -> None:
        self._source = source
        self._held = held
        self.top = _top(source.sizes)
        prefix = f"{self.top}/" if self.top else ""
        self.sizes = {name.removeprefix(prefix): size for name, size in sorted(source.sizes.items())}
        self._prefix = prefix
        self.hidden = source.hidden
        self.original = isinstance(source, _Zip) and source.plain and not self.top and not source.litter

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.sizes)

    def pieces(self, name: str) -> Iterator[bytes]:
        """The bytes of a file, at most PIECE at a time; PackageError where there is none, or it cannot be read."""
        if name not in self.sizes:
            raise PackageError(f"the package holds no file {name[:80]!r}")
        left = self.sizes[name]
        try:
            with self._source.open(self._prefix + name) as file:
                while piece := file.read(min(PIECE, left + 1)):
                    left -= len(piece)
                    if left < 0:
                        break
                    yield piece
        except UNREADABLE as error:
            raise PackageError(f"{name} cannot be read: {error}") from None
        if left:
            raise PackageError(f"{name} has another size than the package says")

    def read(self, name: str, limit: int) -> bytes:
        """The bytes of a file; PackageError where it has more than ``limit``."""
        if self.sizes.get(name, 0) > limit:
            raise PackageError(f"{name} has {self.sizes[name]} bytes, at most {limit} are read")
        return b"".join(self.pieces(name))

    def write(self, target: IO[bytes] | Path, instead: dict[str, bytes] | None = None) -> None:
        """Write a zip of the same files without a folder around, those of ``instead`` with these bytes; the same
        contents give the same bytes. Members stay stored or deflated as they were; of a folder they are stored."""
        instead = instead or {}
        with zipfile.ZipFile(target, "w") as archive:
            for name in sorted({*self.names, *instead}):
                info = zipfile.ZipInfo(name, EPOCH)
                info.compress_type = self._source.compression(self._prefix + name)
                info.file_size = len(instead[name]) if name in instead else self.sizes[name]
                with archive.open(info, "w") as member:
                    for piece in [instead[name]] if name in instead else self.pieces(name):
                        member.write(piece)

    def close(self) -> None:
        self._held.close()

    def __enter__(self) -> Contents:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Zip:
    def __init__(self, archive: zipfile.ZipFile, size: int, plain: bool) -> None:
        self._archive = archive
        self.plain = plain
        infos = archive.infolist()
        if len(infos) > MAX_ENTRIES:
            raise PackageError(f"the archive has more than {MAX_ENTRIES} entries")
        self.sizes: dict[str, int] = {}
        folders: set[str] = set()
        self.litter, self.hidden = False, 0
        for info in infos:
            name = _checked(info.filename.removesuffix("/"))
            _check_kind(info)
            if _is_litter(name):
                self.litter = True
            elif info.is_dir():
                folders.add(name)
            elif name in self.sizes:
                raise PackageError(f"the archive names {name[:80]!r} twice")
            else:
                self.sizes[name] = info.file_size
        _check_tree(self.sizes, folders)
        if sum(info.file_size for info in infos) > min(LIMIT, max(EXPANSION * size, ALWAYS)):
            raise PackageError("the archive unpacks to far more than its size")

    def open(self, name: str) -> IO[bytes]:
        return self._archive.open(name)

    def compression(self, name: str) -> int:
        return self._archive.getinfo(name).compress_type if name in self.sizes else zipfile.ZIP_STORED


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root
        self.sizes: dict[str, int] = {}
        self.hidden = 0
        self._walk(root, "", MAX_DEPTH)
        if sum(self.sizes.values()) > LIMIT:
            raise PackageError(f"the folder holds more than {LIMIT} bytes")

    def _walk(self, folder: Path, prefix: str, depth: int) -> None:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    self.hidden += entry.name not in LITTER
                    continue
                name = _checked(prefix + entry.name)
                if entry.is_dir(follow_symlinks=False):
                    if depth == 0:
                        raise PackageError(f"{name[:80]!r} lies too deep")
                    if entry.name not in (CACHED, *LITTER):
                        self._walk(Path(entry.path), f"{name}/", depth - 1)
                elif not entry.is_file(follow_symlinks=False):
                    raise PackageError(f"{name[:80]!r} is a link or no plain file", hint="put the file itself there")
                elif not _is_litter(name):
                    self.sizes[name] = entry.stat(follow_symlinks=False).st_size
                if len(self.sizes) > MAX_ENTRIES:
                    raise PackageError(f"the folder holds more than {MAX_ENTRIES} files")

    def open(self, name: str) -> IO[bytes]:
        descriptor = os.open(self._root / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        return os.fdopen(descriptor, "rb")

    def compression(self, name: str) -> int:
        return zipfile.ZIP_STORED


def open_contents(source: Path | IO[bytes]) -> Contents:
    """Open a zip, or a folder by its path; PackageError says what is wrong with it. A context manager; a file that was
    given stays open after it."""
    with ExitStack() as stack:
        if isinstance(source, Path) and source.is_dir():
            return Contents(_Folder(source), stack.pop_all())
        try:
            file = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
            size = length(file)
            if size > LIMIT:
                raise PackageError(f"{size} bytes, where at most {LIMIT} are allowed")
            plain = file.read(len(MAGIC)) == MAGIC
            archive = stack.enter_context(open_zip(file))
        except UNREADABLE as error:
            raise PackageError(f"not a zip: {error}", hint="give the zip, or the folder, of a learnware") from None
        return Contents(_Zip(archive, size, plain), stack.pop_all())


def inside(path: str) -> str:
    """A path as packages write it (./ and the like left out); PackageError unless it stays inside the package."""
    parts = [part for part in path.split("/") if part != "."]
    return _checked("/".join(parts))


def _checked(name: str) -> str:
    parts = name.split("/")
    bad = any(part in ("", ".", "..") for part in parts) or any(not each.isprintable() for each in name)
    if bad or "\\" in name or ":" in parts[0] or len(name) > MAX_NAME or len(parts) > MAX_DEPTH:
        raise PackageError(f"{name[:80]!r} is no plain path inside the package")
    return name


def _check_kind(info: zipfile.ZipInfo) -> None:
    if info.flag_bits & ENCRYPTED:
        raise PackageError(f"{info.filename[:80]!r} is encrypted", hint="make the zip without a password")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise PackageError(f"{info.filename[:80]!r} is a symbolic link", hint="put the file itself there")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise PackageError(f"{info.filename[:80]!r} is no plain file")


def _check_tree(sizes: dict[str, int], folders: set[str]) -> None:
    """That no file is a folder as well, and that no two differ in case, or in how an accent is encoded, alone: some
    disks take these for one."""
    above = {"/".join(name.split("/")[:depth]) for name in sizes for depth in range(1, name.count("/") + 1)}
    if clash := (above | folders) & set(sizes):
        raise PackageError(f"{min(clash)[:80]!r} is a file and a folder")
    if len({unicodedata.normalize("NFC", name).casefold() for name in sizes}) != len(sizes):
        raise PackageError("two files differ in nothing but upper and lower case, or in how accents are encoded")


def _is_litter(name: str) -> bool:
    parts = name.split("/")
    return parts[0] == LITTER[0] or parts[-1] in LITTER


def _top(sizes: dict[str, int]) -> str:
    """The folder around everything, where the package's table of contents lies in it and in no other place."""
    tops = {name.partition("/")[0] for name in sizes}
    (top,) = tops if len(tops) == 1 else ("",)
    return top if top and f"{top}/{YAML}" in sizes else ""
