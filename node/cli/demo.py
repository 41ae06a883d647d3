"""``demo``: three institutions on this machine, on real data."""

from __future__ import annotations

import asyncio

import click
from atoll.node.cli.output import json_option


@click.command()
@click.option("--keep", is_flag=True, help="Leave the nodes running and print their URLs and tokens; Ctrl-C ends.")
@json_option
def demo(keep: bool, as_json: bool) -> None:
    """Run three nodes, publish, search and reuse: the whole of Atoll in half a minute."""
    from atoll.node.demo.story import run
    from atoll.node.demo.telling import Quiet, Storyteller

    asyncio.run(run(Quiet() if as_json else Storyteller(), keep=keep))
