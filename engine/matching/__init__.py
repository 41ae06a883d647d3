"""Finding learnwares: exact distances, sketch distances, mixtures, and the score shown to people."""

from atoll.engine.matching.candidates import mixture_candidates
from atoll.engine.matching.distances import RkmeIndex, gram_matrix
from atoll.engine.matching.folding import Specifications, faces, unchanged
from atoll.engine.matching.hubs import Neighbourhoods, neighbourhoods
from atoll.engine.matching.mixture import MAX_MEMBERS, MIN_GAIN, Method, solve_mixture
from atoll.engine.matching.norms import odd_norms
from atoll.engine.matching.represented import mixture_of_rkmes, mixture_of_sketches, mmd2_of_sketches
from atoll.engine.matching.scores import similarity
from atoll.engine.matching.sketches import ERROR_BAND, SketchIndex, at_least
from atoll.engine.matching.staged import nearest_in_stages
from atoll.engine.matching.support import needed, support
from atoll.engine.matching.weights import Mixture

__all__ = [
    "ERROR_BAND",
    "MAX_MEMBERS",
    "MIN_GAIN",
    "Method",
    "Mixture",
    "Neighbourhoods",
    "RkmeIndex",
    "SketchIndex",
    "Specifications",
    "at_least",
    "faces",
    "gram_matrix",
    "mixture_candidates",
    "mixture_of_rkmes",
    "mixture_of_sketches",
    "mmd2_of_sketches",
    "nearest_in_stages",
    "needed",
    "neighbourhoods",
    "odd_norms",
    "similarity",
    "solve_mixture",
    "support",
    "unchanged",
]
