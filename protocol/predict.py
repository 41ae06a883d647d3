"""``/atoll/predict/1``: rows in, predictions out, at the owner, under its policy."""

from __future__ import annotations

from atoll.engine.encoding import Array
from atoll.protocol.messages import Message

PROTOCOL = "/atoll/predict/1"
MAX_ROWS = 100_000


class PredictRequest(Message, frozen=True):
    """``rows`` float32 (n, d), raw units, columns in the order of the island's feature names."""

    federation: bytes
    learnware_id: bytes
    island: bytes
    rows: Array
    user: str = ""


class Prediction(Message, frozen=True):
    """``values`` float32 (n, outputs): class probabilities or target values."""

    values: Array
    class_names: tuple[str, ...] = ()
