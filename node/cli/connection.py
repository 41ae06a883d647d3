"""Which node a command talks to, and with which token."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click
from atoll.node import config
from atoll.node.client import AsyncClient
from atoll.node.client.endpoint import certificate_of, url_of

home_option = click.option(
    "--home", type=click.Path(path_type=Path, file_okay=False), default=config.default_home,
    help="The node's home directory.  [default: $ATOLL_HOME, else the platform's data directory]",
)  # fmt: skip


url_option = click.option("--url", envvar="ATOLL_URL", help="The node's URL.  [default: that of the node of --home]")
token_option = click.option(
    "--token", envvar="ATOLL_TOKEN", help="Bearer token; better in $ATOLL_TOKEN than on the line."
)


def connected(command: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Give an async command a ``client`` and the options that choose it."""

    @home_option
    @url_option
    @token_option
    @functools.wraps(command)
    def run(home: Path, url: str | None, token: str | None, **arguments: Any) -> None:
        async def session() -> None:
            place = url or url_of(home)
            async with AsyncClient(place, token, certificate_of(home, place)) as client:
                await command(client, **arguments)

        asyncio.run(session())

    return run
