"""``identity show|rotate``: the key of a home, and a new one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO

import click
from atoll.node import config as configs
from atoll.node import identity as identities
from atoll.node.cli.connection import home_option
from atoll.node.cli.output import json_option, print_json
from atoll.node.clock import now_ms


@click.group()
def identity() -> None:
    """The key of a node: who it is to its peers."""


@identity.command("show")
@home_option
@json_option
def show(home: Path, as_json: bool) -> None:
    """Print the peer id, and whether a recovery key is named."""
    peer, recovery = identities.load(home).peer, configs.load(home, os.environ).node.recovery
    if as_json:
        print_json({"peer_id": peer, "recovery": recovery})
        return
    click.echo(f"Peer id   {peer}\nRecovery  {recovery or 'no key is named'}")


@identity.command("rotate")
@click.option(
    "--recovery", type=click.File(), help="File with the recovery line, - for standard input: the old key is not used."
)
@home_option
@json_option
def rotate(recovery: TextIO | None, home: Path, as_json: bool) -> None:
    """Give the node a new key, and hand its memberships over to it; the node must not run.

    With --recovery also where the old key is lost or stolen: then what the recovery key says counts, whatever the old
    key has signed.
    """
    from atoll.node import rotation
    from atoll.protocol.succession import read_recovery

    key = read_recovery(recovery.read(4096)) if recovery is not None else None
    made = rotation.rotate(home, now_ms(), key)
    if as_json:
        print_json(made)
        return
    click.echo(f"Was       {made.old}\nIs        {made.new}")
    for name in made.federations:
        click.echo(f"handed over in {name!r}")
    for name in made.left_out:
        click.echo(f"not handed over in {name!r}, which knows no such recovery key: join it anew by an invite")
    if made.federations:
        click.echo("Start the node: it shows its new key to members, and is one again once an admin has seen it.")
    click.echo(f"The old key is in {home / identities.PREVIOUS}; delete it when the new one works.")
