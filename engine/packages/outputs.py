"""Looking at a model's answers: are they what such a model should give?"""

from __future__ import annotations

import numpy as np
from atoll.engine.errors import ModelError
from atoll.engine.runtime.signature import Signature
from numpy.typing import NDArray

SUM = 1e-3  # probabilities of a row may miss 1 by it
STEADY = 1e-4  # relative to the largest answer

UNUSABLE = "; nodes that reuse it will leave it out, unless it ends in a softmax or the like"

Answers = NDArray[np.float32]


def advice(answers: Answers, signature: Signature) -> str | None:
    """What is odd about finite answers (n, outputs), in words, or None."""
    if signature.task == "classification":
        if (answers < 0).any():
            return f"the outputs are scores, no probabilities: the least is {answers.min():.3g}{UNUSABLE}"
        if signature.outputs > 1 and (missed := float(np.abs(answers.sum(axis=1) - 1.0).max())) > SUM:
            return f"the outputs are scores, no probabilities: their sum misses 1 by up to {missed:.3g}"
        if answers.max() > 1.0 + SUM:
            return f"the outputs are scores, no probabilities: the largest is {answers.max():.3g}{UNUSABLE}"
    if (answers == answers[0]).all():
        return "the outputs are the same for every row"
    return None


def as_probabilities(answers: Answers) -> Answers:
    """A classifier's finite answers (n, classes) with rows that sum to 1, so that nobody has more of a say than its
    share: what one-vs-rest models give, which misses that, is divided by its sum. ModelError for what lies outside of
    0 to 1, or is 0 for every class."""
    low, high = float(answers.min(initial=0.0)), float(answers.max(initial=0.0))
    if low < -SUM or high > 1.0 + SUM:
        raise ModelError(f"the answers are scores, no probabilities: {low:.3g} to {high:.3g}")
    found = np.clip(answers, 0.0, 1.0)
    if found.shape[1] == 1:
        return found
    sums = found.sum(axis=1, keepdims=True)
    if not (sums > 0).all():
        raise ModelError("the answers are no probabilities: of some rows they are 0 for every class")
    return np.asarray(np.where(np.abs(sums - 1.0) > SUM, found / sums, found), np.float32)


def steadiness(first: Answers, again: Answers) -> str | None:
    """How two answers to the same rows differ, in words, or None; the second time they stood in another order."""
    apart = float(np.abs(first - again).max())
    if apart <= STEADY * max(1.0, float(np.abs(first).max())):
        return None
    return f"asked again in another order, the model answers otherwise, by up to {apart:.3g}"
