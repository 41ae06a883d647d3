"""Learnwares, of this dock and of the catalogue: what they are, and how to use them."""

from __future__ import annotations

from atoll.node.web.page import Page

PAGES: tuple[Page, ...] = ()
