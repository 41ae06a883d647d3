"""Which learnwares are not run here, or not asked to predict, and why: these are found, disclosed and downloaded."""

from __future__ import annotations

from atoll.engine.errors import ModelRefused
from atoll.engine.packages.manifest import Manifest
from atoll.engine.runtime.formats import BEIMINGWU

TEXT, IMAGE, GENERATION = "Text", "Image", "Text Generation"


def why_not_run(manifest: Manifest) -> str:
    """In words; "" for what is run, when it is checked at least."""
    if manifest.model_format != BEIMINGWU:
        return ""
    if manifest.semantic.data == TEXT:
        return "models of texts in Beimingwu's format are not run here: they take texts, and rows are numbers"
    if manifest.semantic.task == GENERATION:
        return "models that generate texts are not run here: answers are numbers"
    return ""


def why_not(manifest: Manifest) -> str:
    """Why it is asked for no predictions, in words; "" for what is."""
    if reason := why_not_run(manifest):
        return reason
    if manifest.model_format == BEIMINGWU and manifest.semantic.data == IMAGE:
        return (
            "models of images in Beimingwu's format are not asked to predict: nobody can tell which rows are like the "
            "images that they were made for, since the basis of their specification is not shipped"
        )
    return ""


def require_runnable(manifest: Manifest) -> None:
    """ModelRefused for what is asked for no predictions."""
    if reason := why_not(manifest):
        raise ModelRefused(reason, hint="download it, where its owner offers that, and run it yourself")
