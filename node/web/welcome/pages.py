"""The first visit: a real example on an empty node."""

from __future__ import annotations

from atoll.node.web.page import Page

PAGES: tuple[Page, ...] = ()
