"""``learnware policy|usage|ask`` and ``request list|grant|deny|revoke``: who may do what with a learnware."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

import click
import msgspec
from atoll.node.cli.connection import connected
from atoll.node.cli.output import json_option, print_json, print_table, short, when
from atoll.node.cli.referring import federation_of, learnware_of
from atoll.node.client import AsyncClient
from atoll.protocol.listings import Audience
from atoll.protocol.policy import ACTS, Policy, Rule

AUDIENCES = click.Choice(get_args(Audience))
ACT = click.Choice(ACTS)


@click.command()
@click.argument("learnware_id")
@click.option("--federation", required=True, help="Where the policy holds.")
@click.option(
    "--match", type=AUDIENCES, default="members", show_default=True, help="Who may have it compared with their data."
)
@click.option("--disclose", type=AUDIENCES, default="nobody", show_default=True, help="Give out the full RKME.")
@click.option("--predict", type=AUDIENCES, default="nobody", show_default=True, help="Predict here, for others.")
@click.option("--download", type=AUDIENCES, default="nobody", show_default=True, help="Cannot be recalled.")
@click.option(
    "--to", "named", metavar="ACT=PEER", multiple=True, help="Let one peer's users act, whatever the rest says."
)
@click.option("--quota", "quotas", metavar="ACT=N", multiple=True, help="A day (UTC), for each institution.")
@click.option("--user-quota", "user_quotas", metavar="ACT=N", multiple=True, help="A day (UTC), for each user.")
@click.option("--few-rows", is_flag=True, help="List it in an open federation although it stands on few rows.")
@click.option("--who-can", is_flag=True, help="Only show who could do what: change nothing.")
@json_option
@connected
async def policy(
    client: AsyncClient, learnware_id: str, federation: str, match: Any, disclose: Any, predict: Any, download: Any,
    named: tuple[str, ...], quotas: tuple[str, ...], user_quotas: tuple[str, ...], few_rows: bool, who_can: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """List a learnware in a federation, saying who may do what with it.

    nobody; ask: whom you have said yes to; members: signed-in users of member nodes; anyone: also anonymous users of
    member nodes. Quotas count queries (match), disclosures, rows (predict) and packages (download).
    """
    learnware_id, federation = await learnware_of(client, learnware_id), await federation_of(client, federation)
    made = _policy(dict(zip(ACTS, (match, disclose, predict, download), strict=True)), named, quotas, user_quotas)
    if who_can:
        found = await client.who_can(learnware_id, federation, made)
        rows = [
            (each.name, each.peer_id, ", ".join(each.acts) or "-", ", ".join(each.anonymous) or "-") for each in found
        ]
        if as_json:
            print_json(found)
        else:
            print_table("Nothing was changed", ["member", "peer", "its signed-in users", "its anonymous users"], rows)
        return
    listed = await client.publish(learnware_id, federation, made, few_rows=few_rows)
    if as_json:
        print_json(listed)
    else:
        click.echo(f"{listed.name}: " + ", ".join(f"{act} {made.rule(act).audience}" for act in ACTS))


@click.command()
@click.argument("learnware_id")
@json_option
@connected
async def usage(client: AsyncClient, learnware_id: str, as_json: bool) -> None:
    """Show what was done with a learnware of this node, by day and institution."""
    found = await client.usage(learnware_id)
    if as_json:
        print_json(found)
        return
    rows = [(when(each.day)[:10], short(each.peer_id), each.act, each.amount) for each in found]
    print_table("Use", ["day (UTC)", "peer", "act", "# amount"], rows)


@click.command()
@click.argument("learnware_id")
@click.option("--for", "acts", type=ACT, multiple=True, help="What to ask for; without it, how things stand is shown.")
@click.option("--words", default="", help="What the owner's people should know.")
@json_option
@connected
async def ask(client: AsyncClient, learnware_id: str, acts: tuple[Any, ...], words: str, as_json: bool) -> None:
    """Ask the owner of a learnware for what it grants on request."""
    states = await client.ask(learnware_id, acts, words)
    if as_json:
        print_json(states)
        return
    rows = [(each.act, each.state, when(each.until) if each.until else "") for each in states]
    print_table("As the owner says", ["act", "state", "until"], rows)


@click.group()
def request() -> None:
    """What others have asked for."""


@request.command("list")
@json_option
@connected
async def list_(client: AsyncClient, as_json: bool) -> None:
    """List the requests that have come, the newest first."""
    found = await client.requests()
    if as_json:
        print_json(found)
        return
    rows = [
        (each.id, each.state, each.peer_name or short(each.peer_id), each.act, each.name, each.words)
        for each in found
    ]  # fmt: skip
    print_table("Requests", ["id", "state", "peer", "act", "learnware", "words"], rows)


@request.command()
@click.argument("request_id")
@click.option("--days", default=30, show_default=True, help="After which the grant ends.")
@json_option
@connected
async def grant(client: AsyncClient, request_id: str, days: int, as_json: bool) -> None:
    """Grant a request."""
    _told(await client.grant(request_id, days), as_json)


@request.command()
@click.argument("request_id")
@json_option
@connected
async def deny(client: AsyncClient, request_id: str, as_json: bool) -> None:
    """Deny a request; it can be made again the day after."""
    _told(await client.deny(request_id), as_json)


@request.command()
@click.argument("request_id")
@json_option
@connected
async def revoke(client: AsyncClient, request_id: str, as_json: bool) -> None:
    """Take a grant back; what was downloaded meanwhile is not recalled by it."""
    _told(await client.revoke_grant(request_id), as_json)


def _told(view: Any, as_json: bool) -> None:
    if as_json:
        print_json(view)
    else:
        until = f" until {when(view.until)}" if view.until else ""
        click.echo(f"{view.peer_name or view.peer_id}: {view.act} {view.name} is {view.state}{until}")


def _policy(
    audiences: dict[str, Any], named: Iterable[str], quotas: Iterable[str], user_quotas: Iterable[str]
) -> Policy:
    rules = {act: Rule(audience) for act, audience in audiences.items()}
    for text in named:
        act, peer = _pair(text, "--to")
        rules[act] = msgspec.structs.replace(rules[act], peers=(*rules[act].peers, peer))
    for option, field, given in (("--quota", "per_peer", quotas), ("--user-quota", "per_user", user_quotas)):
        for text in given:
            act, number = _pair(text, option)
            if not number.isdecimal():
                raise click.BadParameter(f"{number!r} is not a number", param_hint=option)
            rules[act] = msgspec.structs.replace(rules[act], **{field: int(number)})
    return Policy(**rules)


def _pair(text: str, option: str) -> tuple[str, str]:
    act, _, value = text.partition("=")
    if act not in ACTS or not value:
        raise click.BadParameter(f"{text!r} is not ACT=..., with {', '.join(ACTS)}", param_hint=option)
    return act, value
