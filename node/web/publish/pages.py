"""Publishing a learnware, step by step."""

from __future__ import annotations

from atoll.node.web.page import Page

PAGES: tuple[Page, ...] = ()
