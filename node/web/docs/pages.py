"""The documentation, on every node."""

from __future__ import annotations

from atoll.node.web.page import Page

PAGES: tuple[Page, ...] = ()
