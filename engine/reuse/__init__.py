"""Reusing found learnwares together: routing, selecting, averaging, pruning, augmenting; labels aligned by name."""

from atoll.engine.reuse.augmentation import Augmentation
from atoll.engine.reuse.averaging import Averaging
from atoll.engine.reuse.choosing import Choice, Loss, choose
from atoll.engine.reuse.labels import aligned, spread, union
from atoll.engine.reuse.pruning import Pruning
from atoll.engine.reuse.reuser import Form, Method, Reuser, Task
from atoll.engine.reuse.routing import Routing, sparse
from atoll.engine.reuse.selector import JobSelector
from atoll.engine.reuse.single import Single

__all__ = [
    "Augmentation",
    "Averaging",
    "Choice",
    "Form",
    "JobSelector",
    "Loss",
    "Method",
    "Pruning",
    "Reuser",
    "Routing",
    "Single",
    "Task",
    "aligned",
    "choose",
    "sparse",
    "spread",
    "union",
]
