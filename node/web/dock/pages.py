"""What this node hosts: its learnwares, their policies, and what others ask for."""

from __future__ import annotations

from atoll.node.web.page import Page

PAGES: tuple[Page, ...] = ()
