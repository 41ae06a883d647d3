"""``federation`` commands: found, join, leave; and what its admins do."""

from __future__ import annotations

from typing import Any

import click
from atoll.node.administration import QUOTA
from atoll.node.api.federations import FederationView, InviteBody
from atoll.node.api.governance import GovernanceView
from atoll.node.cli.connection import connected
from atoll.node.cli.output import json_option, print_json, print_table, short, when
from atoll.node.cli.referring import federation_of, learnware_of
from atoll.node.client import AsyncClient

FEDERATION = click.argument("federation_id", metavar="FEDERATION")


@click.group()
def federation() -> None:
    """Federations of the node. FEDERATION is the id of one, the beginning of that, or its name."""


@federation.command()
@click.argument("name")
@click.option("--open", "open_", is_flag=True, help="Anybody may join, with a small quota; else by invite only.")
@json_option
@connected
async def create(client: AsyncClient, name: str, open_: bool, as_json: bool) -> None:
    """Found a federation with this node as its admin."""
    made = await client.create_federation(name, open=open_)
    if as_json:
        print_json(made)
    else:
        click.echo(f"{made.name}: {made.id}\nInvite others with `atoll federation invite {made.id}`")


@federation.command("list")
@json_option
@connected
async def list_(client: AsyncClient, as_json: bool) -> None:
    """List the federations the node is in."""
    found = await client.federations()
    if as_json:
        print_json(found)
        return
    rows = [
        (each.name, each.id, "open" if each.open else "private", _role(each), each.members,
         when(each.expires_at))
        for each in found
    ]  # fmt: skip
    print_table("Federations", ["name", "id", "kind", "role", "# members", "membership until"], rows)


def _role(found: FederationView) -> str:
    if not found.standing:
        return "none: revoked or expired"
    return "admin" if found.admin else ", ".join(found.roles)


@federation.command()
@FEDERATION
@click.option(
    "--role",
    type=click.Choice(["member", "reader"]),
    default="member",
    show_default=True,
    help="What the newcomer may do: a reader lists nothing.",
)
@click.option("--quota", default=QUOTA, show_default=True, help="Learnwares that the newcomer may list.")
@click.option("--hours", default=24, show_default=True, help="How long the invite holds.")
@json_option
@connected
async def invite(client: AsyncClient, federation_id: str, role: Any, quota: int, hours: int, as_json: bool) -> None:
    """Make a single-use invite; for an open federation, a line that anybody may use."""
    made = await client.invite(await federation_of(client, federation_id), InviteBody(role, quota, hours))
    print_json(made) if as_json else click.echo(made.invite)


@federation.command()
@FEDERATION
@json_option
@connected
async def invites(client: AsyncClient, federation_id: str, as_json: bool) -> None:
    """List the invites that were made at the node and have not expired; never the lines themselves."""
    found = await client.invites(await federation_of(client, federation_id))
    if as_json:
        print_json(found)
        return
    rows = [
        (each.id, each.role, each.max_listings, each.made_by, each.used_by_name or each.used_by or "nobody yet",
         when(each.expires_at))
        for each in found
    ]  # fmt: skip
    print_table("Invites", ["id", "role", "# listings", "made by", "used by", "until"], rows)


@federation.command()
@FEDERATION
@click.argument("invite_id")
@connected
async def uninvite(client: AsyncClient, federation_id: str, invite_id: str) -> None:
    """Take an invite back that nobody has used, by its id in `federation invites`."""
    await client.uninvite(await federation_of(client, federation_id), invite_id)
    click.echo("Taken back: it lets nobody in any more.")


@federation.command()
@click.argument("invite_line")
@json_option
@connected
async def join(client: AsyncClient, invite_line: str, as_json: bool) -> None:
    """Join a federation with the line that its admin gave you."""
    joined = await client.join(invite_line)
    print_json(joined) if as_json else click.echo(f"Joined {joined.name}: {joined.id}")


@federation.command()
@FEDERATION
@connected
async def leave(client: AsyncClient, federation_id: str) -> None:
    """Withdraw what this node lists in a federation, and forget the federation."""
    await client.leave(await federation_of(client, federation_id))
    click.echo("Left.")


@federation.command()
@FEDERATION
@json_option
@connected
async def renew(client: AsyncClient, federation_id: str, as_json: bool) -> None:
    """Renew the membership now; the node does it by itself in time."""
    renewed = await client.renew_membership(await federation_of(client, federation_id))
    print_json(renewed) if as_json else click.echo(f"Member until {when(renewed.expires_at)}")


@federation.command()
@FEDERATION
@json_option
@connected
async def members(client: AsyncClient, federation_id: str, as_json: bool) -> None:
    """List the members this node knows of, and why some are not shown."""
    found = await client.members(await federation_of(client, federation_id))
    if as_json:
        print_json(found)
        return
    rows = [
        (each.name, each.peer_id, "admin" if each.admin else each.roles, f"{each.listings} of {each.max_listings}",
         when(each.expires_at), each.hidden)
        for each in found
    ]  # fmt: skip
    print_table("Members", ["name", "peer id", "role", "# listings", "until", "not shown because"], rows)


@federation.command()
@FEDERATION
@json_option
@connected
async def governance(client: AsyncClient, federation_id: str, as_json: bool) -> None:
    """Show what the admins have decided: admins, revocations, takedowns; and who is in quarantine."""
    _show(await client.governance(await federation_of(client, federation_id)), as_json)


@federation.command()
@FEDERATION
@click.argument("peer_id")
@json_option
@connected
async def revoke(client: AsyncClient, federation_id: str, peer_id: str, as_json: bool) -> None:
    """End a membership: nobody serves the member any more, and its listings leave. It may be invited again."""
    _show(await client.revoke(await federation_of(client, federation_id), peer_id), as_json)


@federation.command()
@FEDERATION
@click.argument("peer_id")
@json_option
@connected
async def appoint(client: AsyncClient, federation_id: str, peer_id: str, as_json: bool) -> None:
    """Make a member an admin: it may invite, revoke and take down."""
    _show(await client.appoint(await federation_of(client, federation_id), peer_id), as_json)


@federation.command()
@FEDERATION
@click.argument("peer_id")
@json_option
@connected
async def dismiss(client: AsyncClient, federation_id: str, peer_id: str, as_json: bool) -> None:
    """Take the office and the membership of an appointed admin."""
    _show(await client.dismiss(await federation_of(client, federation_id), peer_id), as_json)


@federation.command()
@FEDERATION
@click.argument("owner")
@click.argument("learnware_id")
@click.option("--back", is_flag=True, help="Take an own takedown back.")
@json_option
@connected
async def takedown(
    client: AsyncClient, federation_id: str, owner: str, learnware_id: str, back: bool, as_json: bool
) -> None:
    """Hide one learnware of OWNER (a peer id) from the whole federation."""
    act = client.put_back if back else client.take_down
    where, which = await federation_of(client, federation_id), await learnware_of(client, learnware_id)
    _show(await act(where, owner, which), as_json)


@federation.command()
@FEDERATION
@click.argument("peer_id")
@json_option
@connected
async def pardon(client: AsyncClient, federation_id: str, peer_id: str, as_json: bool) -> None:
    """Show the listings of an owner again that has signed two histories; at this node only."""
    _show(await client.pardon(await federation_of(client, federation_id), peer_id), as_json)


@federation.command()
@FEDERATION
@json_option
@connected
async def root(client: AsyncClient, federation_id: str, as_json: bool) -> None:
    """Show one hash over the whole catalogue of a federation: nodes that are level show the same."""
    found = await client.catalogue_root(await federation_of(client, federation_id))
    print_json(found) if as_json else click.echo(f"{found.root}  {found.listings} listings")


def _show(found: GovernanceView, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    rows = [(peer, "founder" if peer in found.founders else "appointed") for peer in found.admins]
    print_table("Admins", ["peer id", ""], rows)
    if found.revoked:
        print_table("Revoked", ["peer id", "at"], [(each.peer_id, when(each.until)) for each in found.revoked])
    if found.takedowns:
        print_table("Taken down", ["owner", "learnware"], [(short(t.owner), t.learnware_id) for t in found.takedowns])
    if found.quarantined:
        print_table("In quarantine: signed two histories", ["peer id"], [(peer,) for peer in found.quarantined])
