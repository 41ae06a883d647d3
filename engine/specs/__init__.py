"""Statistical specifications: fitted (``fit_rkme``), compared (``mmd2``, ``inner``), sketched, audited."""

from typing import TYPE_CHECKING, Any

from atoll.engine.specs.rkme import Rkme, inner, mmd2
from atoll.engine.specs.sketch import Sketch, sketch

if TYPE_CHECKING:
    from atoll.engine.specs.fit import fit_rkme

__all__ = ["Rkme", "Sketch", "fit_rkme", "inner", "mmd2", "sketch"]


def __getattr__(name: str) -> Any:
    if name == "fit_rkme":  # loads scikit-learn, which what only lists and matches does not need
        from atoll.engine.specs.fit import fit_rkme

        return fit_rkme
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
