"""What ``atoll demo --json`` prints."""

from __future__ import annotations

import msgspec


class NodeReport(msgspec.Struct, frozen=True):
    peer_id: str
    url: str
    learnwares: int


class HitReport(msgspec.Struct, frozen=True):
    learnware_id: str
    owner: str
    name: str
    similarity: float | None
    mmd2: float | None
    estimated: bool


class MemberReport(msgspec.Struct, frozen=True):
    learnware_id: str
    owner: str
    weight: float


class MixtureReport(msgspec.Struct, frozen=True):
    members: tuple[MemberReport, ...]
    mmd2: float
    uncovered: float


class SearchReport(msgspec.Struct, frozen=True):
    hits: tuple[HitReport, ...]
    mixture: MixtureReport
    peers_asked: tuple[str, ...]
    peers_answered: tuple[str, ...]
    complete: bool
    elapsed_ms: int


class Accuracy(msgspec.Struct, frozen=True):
    """On the first user's rows; ``best_single`` is the highest true accuracy in the market."""

    mixture: float
    best_single: float
    mean_single: float


class ReuseReport(msgspec.Struct, frozen=True):
    """``rows_*`` count (row, member) pairs."""

    accuracy: Accuracy
    rows_local: int
    rows_remote: int


class OtherUser(msgspec.Struct, frozen=True):
    """``chosen`` names the learnwares of the mixture, None if the user was told that nobody serves."""

    user: str
    chosen: str | None
    accuracy: float | None
    uncovered: float


class Report(msgspec.Struct, frozen=True):
    nodes: tuple[NodeReport, ...]
    search: SearchReport
    reuse: ReuseReport
    others: tuple[OtherUser, ...]
