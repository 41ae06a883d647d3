"""Finding learnwares: exact distances, sketch distances, mixtures, and the score shown to people."""

from atoll.engine.matching.distances import RkmeIndex, gram_matrix
from atoll.engine.matching.mixture import Mixture, solve_mixture
from atoll.engine.matching.scores import similarity
from atoll.engine.matching.sketches import ERROR_BAND, SketchIndex, sketch_gram

__all__ = [
    "ERROR_BAND",
    "Mixture",
    "RkmeIndex",
    "SketchIndex",
    "gram_matrix",
    "similarity",
    "sketch_gram",
    "solve_mixture",
]
