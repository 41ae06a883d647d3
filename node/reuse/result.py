"""What a reuse session answers, and what it tells on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from atoll.node.reuse.query import Form, Method, Place

State = Literal["planned", "running", "done", "failed"]
BINS = 20  # of the histograms
ROUNDING = 1e-12  # between losses


class MemberReport(msgspec.Struct, frozen=True):
    """What one member did. ``weight`` is its mean share of the rows; ``failed`` says why it was left out, if it was;
    ``quality`` what its owner has signed of it, in words; ``revision`` the very version that answered. Of the rows that
    it was asked about, and has answered, so many were labelled ones."""

    learnware_id: str
    owner: str
    owner_name: str
    name: str
    license: str
    place: Place
    weight: float
    rows_asked: int
    rows_answered: int
    seconds: float
    failed: str
    quality: str
    revision: str = ""
    labelled_asked: int = 0
    labelled_answered: int = 0


class ReuseReport(msgspec.Struct, frozen=True):
    """The whole session, after its end. ``rows_local`` and ``rows_remote`` count (row, member) pairs, labelled rows
    among them: what was answered here, and what was sent to owners. ``validation`` holds mean loss and standard error
    by method, where there were labels, and ``baseline`` the loss of always saying their commonest class or mean;
    ``explained`` is as in the plan; ``expected`` the quality to be expected, in words. ``histogram`` is edges and
    counts of predicted values (None for classes); ``class_counts`` begins with the commonest; ``confidence`` counts
    rows by their largest probability, in 20 bins over [0, 1]."""

    reuse_id: str
    search_id: str
    method: Method
    chosen_because: str
    form: Form | None
    task: Literal["classification", "regression"]
    class_names: tuple[str, ...]
    rows: int
    rows_local: int
    rows_remote: int
    abstained: int
    labelled: int
    uncovered: float
    members: tuple[MemberReport, ...]
    leaves: tuple[str, ...]
    validation: dict[str, tuple[float, float]]
    expected: str
    warnings: tuple[str, ...]
    class_counts: dict[str, int]
    histogram: tuple[tuple[float, ...], tuple[int, ...]] | None
    confidence: tuple[int, ...]
    elapsed_ms: int
    baseline: float | None = None
    explained: float | None = None


class Downloading(msgspec.Struct, frozen=True):
    """Event ``download``: so much of a package is here; ``size`` is 0 while it is not known."""

    learnware_id: str
    done: int
    size: int


class Progress(msgspec.Struct, frozen=True):
    """Event ``progress``: (row, member) pairs that are answered, of those that are to be."""

    done: int
    total: int


class MemberFailed(msgspec.Struct, frozen=True):
    """Event ``member_failed``: it is left out from here on."""

    learnware_id: str
    owner: str
    why: str
    rows_answered: int


class Chosen(msgspec.Struct, frozen=True):
    """Event ``chosen``: the method, and the loss of each that was tried (mean, standard error)."""

    method: Method
    validation: dict[str, tuple[float, float]]


def tied(losses: Sequence[float]) -> bool:
    """Whether there are several, and none is less than another by more than rounding."""
    return len(losses) > 1 and max(losses) - min(losses) <= ROUNDING


class PredictionResult(msgspec.Struct, frozen=True):
    """``values`` are class probabilities over ``class_names`` or target values; ``labels`` the likeliest classes.

    ``rows_local`` and ``rows_remote`` count (row, member) pairs; ``skipped`` names members that offer neither.
    """

    class_names: tuple[str, ...]
    labels: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    rows_local: int
    rows_remote: int
    places: dict[str, Place]
    skipped: dict[str, str]
