"""Administration of the node: tokens, queue, audit log, quotas, storage."""

from __future__ import annotations

from atoll.node.web.page import Page

PAGES: tuple[Page, ...] = ()
