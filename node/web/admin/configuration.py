"""The configuration that the next start would take: each key with its value, where that comes from, and its meaning."""

from __future__ import annotations

import asyncio
import os
from itertools import groupby

import msgspec
from aiohttp import web
from atoll.node.settings import settings
from atoll.node.web.answers import html
from atoll.node.web.page import Page
from atoll.node.web.visit import Visit


async def show(visit: Visit) -> web.Response:
    found = await asyncio.to_thread(settings, visit.node.home, os.environ)
    sections = {name: list(keys) for name, keys in groupby(found, key=lambda each: each.key.partition(".")[0])}
    return await html(
        visit, "admin/configuration.html", tab="/admin/configuration", sections=sections, plain=_plain,
        changed=sum(each.value != each.default for each in found), home=str(visit.node.home),
    )  # fmt: skip


def _plain(value: object) -> str:
    """As it would be written into the file."""
    return msgspec.json.encode(value).decode()


PAGES = (Page("GET", "/admin/configuration", show, "admin"),)
