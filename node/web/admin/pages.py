"""Where the pages of this room are; each of its tabs has a module of its own."""

from __future__ import annotations

from atoll.node.web.admin import audit, code, configuration, queue, quotas, storage, summary, tokens
from atoll.node.web.page import Page

PAGES: tuple[Page, ...] = (
    *summary.PAGES,
    *tokens.PAGES,
    *queue.PAGES,
    *audit.PAGES,
    *quotas.PAGES,
    *storage.PAGES,
    *code.PAGES,
    *configuration.PAGES,
)
