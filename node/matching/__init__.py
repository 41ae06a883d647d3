"""The owner's side of search: an index of the own specifications, kept current, and its bounded use by others."""

from atoll.node.matching.desk import Desk
from atoll.node.matching.matcher import Matcher

__all__ = ["Desk", "Matcher"]
