"""Federations: invite, members, renewals, revocations, takedowns."""

from __future__ import annotations

from atoll.node.web.page import Page

PAGES: tuple[Page, ...] = ()
