"""Acceptance: a package that was uploaded waits, is checked, and is then in the dock or refused, with a log."""

from atoll.node.acceptance.queue import AcceptanceQueue

__all__ = ["AcceptanceQueue"]
