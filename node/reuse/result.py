"""What a prediction answers."""

from __future__ import annotations

from typing import Literal

import msgspec

Place = Literal["local", "remote"]


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
