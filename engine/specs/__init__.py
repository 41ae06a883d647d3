"""Statistical specifications. ``fit_rkme`` loads torch on first use; everything else here is light."""

from typing import TYPE_CHECKING, Any

from atoll.engine.specs.rkme import Rkme, inner, mmd2
from atoll.engine.specs.sketch import Sketch, sketch

if TYPE_CHECKING:
    from atoll.engine.specs.fit import fit_rkme

__all__ = ["Rkme", "Sketch", "fit_rkme", "inner", "mmd2", "sketch"]


def __getattr__(name: str) -> Any:
    if name == "fit_rkme":
        from atoll.engine.specs.fit import fit_rkme

        return fit_rkme
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
