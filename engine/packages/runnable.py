"""Which learnwares are not run here, and why: they are found, disclosed and downloaded, and never asked to predict."""

from __future__ import annotations

from atoll.engine.errors import ModelRefused
from atoll.engine.packages.manifest import Manifest

BEIMINGWU = "beimingwu"
TEXT, GENERATION = "Text", "Text Generation"


def why_not(manifest: Manifest) -> str:
    """In words; "" for what is run."""
    if manifest.model_format != BEIMINGWU:
        return ""
    if manifest.semantic.data == TEXT:
        return "models of texts in Beimingwu's format are not run here: they take texts, and rows are numbers"
    if manifest.semantic.task == GENERATION:
        return "models that generate texts are not run here: answers are numbers"
    return ""


def require_runnable(manifest: Manifest) -> None:
    """ModelRefused for what is not run here."""
    if reason := why_not(manifest):
        raise ModelRefused(reason, hint="download it, where its owner offers that, and run it yourself")
