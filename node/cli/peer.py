"""``peer`` commands: who is there, and who may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from atoll.node.api.peer_rules import ChangeView
from atoll.node.api.peers import PeerView
from atoll.node.cli.connection import connected
from atoll.node.cli.output import json_option, print_json, print_table, short
from atoll.node.client import AsyncClient
from atoll.node.clock import now_ms


@click.group()
def peer() -> None:
    """Peers of the node."""


@peer.command("list")
@json_option
@connected
async def list_peers(client: AsyncClient, as_json: bool) -> None:
    """List known peers: their state, how far their catalogues lag behind, traffic, and what went wrong."""
    peers = await client.peers()
    if as_json:
        print_json(peers)
        return
    for each in peers:
        click.echo("\n".join(_lines(each, now_ms())))


@peer.command("add")
@click.argument("address")
@json_option
@connected
async def add_peer(client: AsyncClient, address: str, as_json: bool) -> None:
    """Dial ADDRESS (/ip4/.../tcp/.../p2p/...) and remember the peer."""
    added = await client.add_peer(address)
    print_json(added) if as_json else click.echo(f"{added.name or added.peer_id}: {added.state}")


@peer.command("rm")
@click.argument("peer_id")
@connected
async def remove_peer(client: AsyncClient, peer_id: str) -> None:
    """Forget a peer. It may come back by itself: to keep it out, deny it."""
    await client.remove_peer(peer_id)
    click.echo("Forgotten.")


@peer.command("rules")
@json_option
@connected
async def list_rules(client: AsyncClient, as_json: bool) -> None:
    """Show the allow and the deny list."""
    rules = await client.peer_rules()
    if as_json:
        print_json(rules)
        return
    print_table("Rules", ["rule", "name", "peer id"], [(each.kind, each.name, each.peer_id) for each in rules])
    only = any(each.kind == "allow" for each in rules)
    click.echo("Only peers on the allow list are admitted." if only else "Whoever is not denied is admitted.")


def _changing(command: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments of the four commands that change a list."""
    for decorate in (
        connected,
        json_option,
        click.option("--force", is_flag=True, help="Even if it locks out every admin of a federation."),
        click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing."),
        click.argument("peer_id"),
    ):
        command = decorate(command)
    return command


@peer.command("deny")
@_changing
async def deny(client: AsyncClient, peer_id: str, dry_run: bool, force: bool, as_json: bool) -> None:
    """Keep a peer out: it is cut off at once, not dialled, and nothing of it is accepted."""
    _report(await client.add_peer_rule("deny", peer_id, dry_run=dry_run, force=force), as_json)


@peer.command("undeny")
@_changing
async def undeny(client: AsyncClient, peer_id: str, dry_run: bool, force: bool, as_json: bool) -> None:
    """Take a peer off the deny list."""
    _report(await client.remove_peer_rule("deny", peer_id, dry_run=dry_run, force=force), as_json)


@peer.command("allow")
@_changing
async def allow(client: AsyncClient, peer_id: str, dry_run: bool, force: bool, as_json: bool) -> None:
    """Put a peer on the allow list. As soon as anybody is on it, nobody else is admitted."""
    _report(await client.add_peer_rule("allow", peer_id, dry_run=dry_run, force=force), as_json)


@peer.command("unallow")
@_changing
async def unallow(client: AsyncClient, peer_id: str, dry_run: bool, force: bool, as_json: bool) -> None:
    """Take a peer off the allow list. Once it is empty, whoever is not denied is admitted."""
    _report(await client.remove_peer_rule("allow", peer_id, dry_run=dry_run, force=force), as_json)


def _report(change: ChangeView, as_json: bool) -> None:
    if as_json:
        print_json(change)
        return
    cut, stranded = ("is", "has") if change.applied else ("would be", "would have")
    for each in change.dropped:
        click.echo(f"{each.name or each.peer_id} {cut} cut off; {each.listings} listings of the catalogue are its own")
    for federation in change.stranded:
        click.echo(f"federation {federation} {stranded} no admin left within reach")
    if change.objection:
        click.echo(f"{change.objection}: without --force this is refused")
    admitted = "is admitted" if change.admitted else "is not admitted"
    click.echo(f"Done: the peer {admitted}." if change.applied else f"Nothing was changed; then the peer {admitted}.")


def _lines(peer: PeerView, now: int) -> list[str]:
    """A peer as people read it: a line, its id as the other commands want it, and what else there is to say."""
    seen = f"seen {_duration(now - peer.last_seen)} ago" if peer.last_seen else "never seen"
    traffic = f"{_bytes(peer.bytes_in)} in, {_bytes(peer.bytes_out)} out"
    lines = [f"{peer.name or '(no name)'}: {peer.state}, {seen}, {traffic}", f"  {peer.peer_id}"]
    lines += [f"  federation {short(lag.federation)}: {lag.behind} behind, {lag.ahead} ahead" for lag in peer.lags]
    if peer.failures:
        lines.append(f"  {peer.failures} failures, next dial in {_duration(peer.next_dial - now)}")
    if peer.misbehaved:
        lines.append(f"  misbehaved {peer.misbehaved} times")
    return lines + ([f"  {peer.why}"] if peer.why else [])


def _duration(ms: int) -> str:
    seconds = max(ms, 0) // 1000
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
