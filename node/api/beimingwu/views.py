"""Learnwares as Beimingwu describes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from atoll.engine.beimingwu.semantic import write_semantic
from atoll.engine.islands import positional_names
from atoll.engine.packages import Manifest
from atoll.engine.semantic import SemanticSpec
from atoll.node.clock import utc
from atoll.protocol.listings import Listing

T = TypeVar("T")
MAX_PAGE = 1000
WITH_OUTPUTS = ("Classification", "Regression")  # tasks whose outputs Beimingwu describes


class Entry(msgspec.Struct, frozen=True):
    """One learnware. ``matching`` is our similarity, from 0 to 1, None where nothing was compared; ``last_modify`` in
    ISO 8601, UTC."""

    learnware_id: str
    semantic_specification: dict[str, Any]
    matching: float | None
    username: str
    last_modify: str
    alias: str
    owner: str


def of_listing(listing: Listing, owner: str, owner_name: str, matching: float | None = None) -> Entry:
    """As far as the listing says: a description has 280 characters there, and inputs no names (their order is not
    told)."""
    return Entry(
        listing.learnware_id.hex(),
        _semantic(listing.semantic, listing.inputs, (), listing.outputs, listing.class_names),
        matching, owner_name or owner, when(listing.issued_at), listing.alias, owner,
    )  # fmt: skip


def of_manifest(
    manifest: Manifest, learnware_id: bytes, owner: str, owner_name: str, matching: float | None = None
) -> Entry:
    """In full."""
    signature = manifest.signature
    return Entry(
        learnware_id.hex(),
        _semantic(manifest.semantic, signature.inputs, manifest.columns, signature.outputs, manifest.class_names),
        matching, owner_name or owner, when(manifest.created_at), manifest.alias, owner,
    )  # fmt: skip


def when(ms: int) -> str:
    return utc(ms).isoformat(timespec="seconds")


def page_of(items: Sequence[T], page: int, limit: int) -> Sequence[T]:
    """Pages are counted from 0."""
    return items[page * limit : (page + 1) * limit]


def pages(count: int, limit: int) -> int:
    return -(-count // limit)


def _semantic(
    spec: SemanticSpec, inputs: int, columns: tuple[str, ...], outputs: int, classes: tuple[str, ...]
) -> dict[str, Any]:
    if columns == positional_names(len(columns)):  # names that only tell the place are none
        columns = ()
    classes = tuple("" if name == str(place) else name for place, name in enumerate(classes))
    table, told = spec.data == "Table", spec.task in WITH_OUTPUTS
    return write_semantic(
        spec, inputs=inputs if table and inputs else None, input_names=columns if table else (),
        outputs=outputs if told and outputs else None, output_names=classes if told else (),
    )  # fmt: skip
