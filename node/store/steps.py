"""The way from the first schema of the store to this version's, step by step.

A step was true of the stores that were there when it was released, and stays as it was: it spells out what it needs,
and imports nothing that may change under it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import lmdb

Tables = Callable[[str], Any]


class Step(NamedTuple):
    """``run(txn, tables)`` makes a store of the schema before it one of the schema ``to``; ``tables(name)`` is the
    handle of a table, made where there is none. It is a pure function of the store: no clock, no file, no network."""

    to: int
    words: str
    run: Callable[[lmdb.Transaction, Tables], None]


def _invites_by_digest(txn: lmdb.Transaction, tables: Tables) -> None:
    """The key was the invite's token, with which whoever read it could join."""
    invites = tables("invites")
    rows = [(bytes(token), bytes(row)) for token, row in txn.cursor(db=invites)]
    txn.drop(invites, delete=False)
    for token, row in rows:
        txn.put(hashlib.sha256(b"atoll/invite/1\0" + token).digest(), row, db=invites)


STEPS: tuple[Step, ...] = (Step(2, "invites are kept by digests of their tokens", _invites_by_digest),)
"""From schema 1, the first, up to environment.SCHEMA, in order. A step is never changed once it was released."""
