"""An island's definition in a file: JSON to read and pass on, or the canonical bytes that nodes exchange."""

from __future__ import annotations

from pathlib import Path

import msgspec
from atoll.engine.encoding import unpack_json
from atoll.engine.errors import EncodingError, IslandError
from atoll.engine.islands import MAX_DEFINITION, Island

LIMIT = 4 * MAX_DEFINITION  # JSON is longer than the canonical bytes


class _Claim(msgspec.Struct):
    id: str = ""


def read_island(path: Path) -> Island:
    """The island that a file defines; IslandError names the file and what is wrong."""
    with path.open("rb") as file:
        data = file.read(LIMIT + 1)
    try:
        return _from_json(data) if data.lstrip().startswith(b"{") else Island.from_definition(data)
    except EncodingError as error:
        raise IslandError(f"{path} is not an island definition: {error.message}") from None
    except IslandError as error:
        raise IslandError(f"{path}: {error.message}", hint=error.hint) from None


def write_island(island: Island, path: Path) -> None:
    """Write the definition as JSON, with its id."""
    tree = {"id": island.id, **msgspec.structs.asdict(island)}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(tree), indent=1) + b"\n")


def _from_json(data: bytes) -> Island:
    island = unpack_json(data, Island, limit=LIMIT)
    if unpack_json(data, _Claim, limit=LIMIT).id not in ("", island.id):
        raise IslandError("the island does not hash to the id it claims")
    return island
