"""Packages: manifest and archive of a learnware. ``pack`` and ``convert`` load heavier libraries on their own."""

from atoll.engine.packages.archive import Package, open_package
from atoll.engine.packages.manifest import Manifest, commitment, revision_of

__all__ = ["Manifest", "Package", "commitment", "open_package", "revision_of"]
