"""A check-up of a home and its machine: what is fine, what to look at, what is bad, and what to do about it."""

from atoll.node.checkup.examination import examine
from atoll.node.checkup.finding import Finding

__all__ = ["Finding", "examine"]
