"""``peer``, ``federation``, ``island`` and ``token`` commands."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
from atoll.engine.islands import Island
from atoll.engine.tables import Table
from atoll.node.cli.connection import connected
from atoll.node.cli.output import json_option, print_json, print_table, short
from atoll.node.client import Client
from atoll.node.store.tokens import SCOPES


@click.group()
def peer() -> None:
    """Peers of the node."""


@peer.command("list")
@json_option
@connected
async def list_peers(client: Client, as_json: bool) -> None:
    """List known peers and their state."""
    peers = await client.peers()
    if as_json:
        print_json(peers)
    else:
        rows = [(each.name, each.peer_id, each.state, each.federations, each.why) for each in peers]
        print_table("Peers", ["name", "peer id", "state", "# federations", "why"], rows)


@peer.command("add")
@click.argument("address")
@json_option
@connected
async def add_peer(client: Client, address: str, as_json: bool) -> None:
    """Dial ADDRESS (/ip4/.../tcp/.../p2p/...) and remember the peer."""
    added = await client.add_peer(address)
    print_json(added) if as_json else click.echo(f"{added.name or added.peer_id}: {added.state}")


@peer.command("rm")
@click.argument("peer_id")
@connected
async def remove_peer(client: Client, peer_id: str) -> None:
    """Forget a peer."""
    await client.remove_peer(peer_id)
    click.echo("Forgotten.")


@click.group()
def federation() -> None:
    """Federations of the node."""


@federation.command("create")
@click.argument("name")
@json_option
@connected
async def create(client: Client, name: str, as_json: bool) -> None:
    """Found a private federation with this node as its admin."""
    made = await client.create_federation(name)
    if as_json:
        print_json(made)
    else:
        click.echo(f"{made.name}: {made.id}\nInvite others with `atoll federation invite {made.id}`")


@federation.command("list")
@json_option
@connected
async def list_federations(client: Client, as_json: bool) -> None:
    """List the federations the node is in."""
    found = await client.federations()
    if as_json:
        print_json(found)
    else:
        print_table("Federations", ["name", "id", "roles", "# members"],
                    [(each.name, each.id, each.roles, each.members) for each in found])  # fmt: skip


@federation.command("invite")
@click.argument("federation_id")
@json_option
@connected
async def invite(client: Client, federation_id: str, as_json: bool) -> None:
    """Make a single-use invite, valid for a day."""
    made = await client.invite(federation_id)
    print_json(made) if as_json else click.echo(made.invite)


@federation.command("join")
@click.argument("invite_line")
@json_option
@connected
async def join(client: Client, invite_line: str, as_json: bool) -> None:
    """Join a federation with the line that its admin gave you."""
    joined = await client.join(invite_line)
    print_json(joined) if as_json else click.echo(f"Joined {joined.name}: {joined.id}")


@federation.command("members")
@click.argument("federation_id")
@json_option
@connected
async def members(client: Client, federation_id: str, as_json: bool) -> None:
    """List the members this node knows of."""
    found = await client.members(federation_id)
    if as_json:
        print_json(found)
    else:
        print_table("Members", ["name", "peer id", "roles"], [(each.name, each.peer_id, each.roles) for each in found])


@click.group()
def island() -> None:
    """Specification islands."""


@island.command("list")
@json_option
@connected
async def list_islands(client: Client, as_json: bool) -> None:
    """List the islands the node knows."""
    found = await client.islands()
    if as_json:
        print_json([{"id": each.id, "kind": each.kind, "features": each.names} for each in found])
    else:
        rows = [(each.id, each.kind, each.dimension, ", ".join(each.names[:4]) + " ...") for each in found]
        print_table("Islands", ["id", "kind", "# dimension", "features"], rows)


@island.command("mint")
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True, help="Rows (CSV, .npy).")
@json_option
@connected
async def mint(client: Client, data: Path, as_json: bool) -> None:
    """Make an island from robust statistics of DATA, where none has its features."""
    rows = await asyncio.to_thread(Table.read, data)
    minted = Island.mint(rows)
    await client.add_island(minted)
    print_json({"id": minted.id}) if as_json else click.echo(f"Minted {minted.id}")


@click.group()
def token() -> None:
    """Access tokens of the node."""


@token.command("create")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), default=("read",), show_default=True)
@click.option("--days", default=90, show_default=True, help="Lifetime; 0 never expires.")
@json_option
@connected
async def create_token(client: Client, name: str, scopes: Any, days: int, as_json: bool) -> None:
    """Make a token; its secret is shown this once."""
    made = await client.create_token(name, tuple(scopes), days or None)
    print_json(made) if as_json else click.echo(made.secret)


@token.command("list")
@json_option
@connected
async def list_tokens(client: Client, as_json: bool) -> None:
    """List tokens, without their secrets."""
    found = await client.tokens()
    if as_json:
        print_json(found)
    else:
        print_table("Tokens", ["id", "name", "scopes"], [(short(each.id), each.name, each.scopes) for each in found])


@token.command("revoke")
@click.argument("token_id")
@connected
async def revoke_token(client: Client, token_id: str) -> None:
    """Revoke a token by its id."""
    await client.revoke_token(token_id)
    click.echo("Revoked.")
