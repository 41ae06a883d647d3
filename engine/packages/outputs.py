"""Looking at a model's answers: are they what such a model should give?"""

from __future__ import annotations

import numpy as np
from atoll.engine.runtime.signature import Signature
from numpy.typing import NDArray

SUM = 1e-3  # probabilities of a row may miss 1 by it
STEADY = 1e-4  # relative to the largest answer

Answers = NDArray[np.float32]


def advice(answers: Answers, signature: Signature) -> str | None:
    """What is odd about finite answers (n, outputs), in words, or None."""
    if signature.task == "classification":
        if (answers < 0).any():
            return f"the outputs are scores, no probabilities: the least is {answers.min():.3g}"
        if signature.outputs > 1 and (missed := float(np.abs(answers.sum(axis=1) - 1.0).max())) > SUM:
            return f"the outputs are scores, no probabilities: their sum misses 1 by up to {missed:.3g}"
        if answers.max() > 1.0 + SUM:
            return f"the outputs are scores, no probabilities: the largest is {answers.max():.3g}"
    if (answers == answers[0]).all():
        return "the outputs are the same for every row"
    return None


def steadiness(first: Answers, again: Answers) -> str | None:
    """How two answers to the same rows differ, in words, or None; the second time they stood in another order."""
    apart = float(np.abs(first - again).max())
    if apart <= STEADY * max(1.0, float(np.abs(first).max())):
        return None
    return f"asked again in another order, the model answers otherwise, by up to {apart:.3g}"
