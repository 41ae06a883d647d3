"""What a route says of itself beyond its JSON: fields of the query, headers, ids in the path, other media types.

All of it is types of msgspec, whose bounds and patterns are those of the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

BYTES, ZIP, TAR, FORM = "application/octet-stream", "application/zip", "application/x-tar", "multipart/form-data"
CSV, HTML, PLAIN = "text/csv", "text/html", "text/plain"
EVENTS, LINES = "text/event-stream", "application/x-ndjson"

Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$", description="a SHA-256 in lower-case hex")]
Peer = Annotated[
    str, msgspec.Meta(pattern="^[1-9A-HJ-NP-Za-km-z]{46,64}$", description="the id of a peer, in base58")
]  # fmt: skip
Short = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{12}$", description="a short id, in hex")]
Session = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$", description="the id of something under way, in hex")]
Yes = Literal["true", "false"]


@dataclass(frozen=True)
class Field:
    """One field of a query, a header or a form; ``type`` bytes is a file."""

    name: str
    type: Any
    words: str
    required: bool = False


OFFSET = Field("offset", Annotated[int, msgspec.Meta(ge=0)], "where the body begins; what stands there so far")
LAST_EVENT = Field(
    "Last-Event-ID", Annotated[int, msgspec.Meta(ge=0, lt=10**9)], "the events after this one; all of them without it"
)
RANGE = Field("Range", Annotated[str, msgspec.Meta(pattern="^bytes=[0-9]*-[0-9]*$")], "one range of bytes")
IF_RANGE = Field("If-Range", Annotated[str, msgspec.Meta(max_length=200)], "the ETag for which Range holds")
IF_NONE_MATCH = Field("If-None-Match", Annotated[str, msgspec.Meta(max_length=200)], "the ETag that is here already")
FILE_HEADERS = (RANGE, IF_RANGE, IF_NONE_MATCH)
FILE_STATUSES: Mapping[int, str] = {206: "the range", 304: "it is here already", 416: "no such range"}
"""Of answers by node.api.files."""


def parameters(path: str, ids: Any, query: tuple[Field, ...], headers: tuple[Field, ...]) -> list[tuple[str, Field]]:
    """(where, field) of all that a request names, those of the path first."""
    known = {"peer": Peer, "invite": Short}
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    within = [Field(name, ids if name == "id" else known.get(name, Digest), "", required=True) for name in names]
    found = [("path", within), ("query", query), ("header", headers)]
    return [(where, field) for where, fields in found for field in fields]
