"""Answers of searches in files: written whole or not at all, and verified offline."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
import msgspec
from atoll.engine.encoding import unpack_json
from atoll.engine.errors import EncodingError, IntegrityError
from atoll.node.cli.found import judge
from atoll.node.cli.output import print_json
from atoll.node.client.proof import proofs, unproven
from atoll.node.search.query import SearchResult
from atoll.node.store.durable import replacing

LIMIT = 64 * 1024 * 1024


def write(answer: SearchResult, path: Path) -> None:
    """The whole answer, as JSON that people can read."""
    with replacing(path, 0o644) as file:
        file.write(msgspec.json.format(msgspec.json.encode(answer), indent=1) + b"\n")


def is_answer(path: Path) -> bool:
    """Whether a file holds JSON, as backups do not."""
    with path.open("rb") as file:
        return file.read(64).lstrip().startswith(b"{")


def verify(path: Path, *, as_json: bool) -> None:
    """Say of every hit whether it is what its owner has signed; IntegrityError names those that are not.

    Distances are not judged: what was searched by is not in the file.
    """
    with path.open("rb") as file:
        data = file.read(LIMIT + 1)
    try:
        answer = unpack_json(data, SearchResult, limit=LIMIT)
    except EncodingError as error:
        raise IntegrityError(f"{path} is not the answer of a search: {error.message}") from None
    found = proofs(answer)
    if as_json:
        print_json(found)
    judge(found, unproven(answer), partial(click.echo, err=as_json), measured=False)
