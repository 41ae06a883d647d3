"""Zip files of strangers, opened so that neither their table of contents nor a member is ever held whole in memory."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import IO

LIMIT = 2 * 1024**3  # bytes of an archive, and of all that is in it
PIECE = 1 << 20  # bytes that are in memory at a time
MAX_DIRECTORY = 2 << 20  # bytes of a table of contents: some 20,000 short names
UNREADABLE = (KeyError, zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, zlib.error)  # of a damaged one
EPOCH = (1980, 1, 1, 0, 0, 0)  # one timestamp for all: the same content gives the same archive
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others unpack a piece to any size at once


class _Bounded:
    """What zipfile sees of a file: no read is longer than the longest table of contents, which it reads at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, count: int = -1, /) -> bytes:
        if count > MAX_DIRECTORY:
            raise zipfile.BadZipFile(f"its table of contents is longer than {MAX_DIRECTORY} bytes")
        return self._file.read(count)


def open_zip(file: IO[bytes]) -> zipfile.ZipFile:
    """The archive in ``file``, which the caller closes after it; read members in pieces of less than MAX_DIRECTORY.

    Raises what zipfile raises: zipfile.BadZipFile above all, also for a table of contents that is too long and for a
    member that is neither stored nor deflated.
    """
    archive = zipfile.ZipFile(_Bounded(file))
    for info in archive.infolist():
        if info.compress_type not in METHODS:
            raise zipfile.BadZipFile(f"it is compressed by method {info.compress_type}")
    return archive


def length(file: IO[bytes]) -> int:
    """Bytes in ``file``; it stands at its beginning then."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size
