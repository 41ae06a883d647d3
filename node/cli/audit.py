"""``audit`` commands: read the node's audit log, and check that nobody has changed it."""

from __future__ import annotations

import json
import re

import click
from atoll.engine.errors import IntegrityError
from atoll.node.api.audit import MAX_PAGE, PAGE
from atoll.node.cli.connection import connected
from atoll.node.cli.output import json_option, print_json, print_table, short, when
from atoll.node.client import AsyncClient
from atoll.node.store.audit import AFTER_A_BREAK

SHOWN = 40


@click.group()
def audit() -> None:
    """Who changed what on the node."""


@audit.command("list")
@click.option("--limit", type=click.IntRange(1, MAX_PAGE), default=PAGE, show_default=True, help="How many rows.")
@json_option
@connected
async def list_rows(client: AsyncClient, limit: int, as_json: bool) -> None:
    """List the newest rows, oldest first."""
    page = await client.audit(limit=limit)
    if as_json:
        print_json(page.items)
        return
    rows = [(each.seq, when(each.at), each.actor, each.act, _words(each.subject), each.outcome) for each in page.items]
    print_table("Audit log", ["# seq", "at (UTC)", "actor", "act", "subject", "outcome"], rows)


@audit.command("verify")
@click.option("--witness", metavar="SEQ:HEX", help="What an earlier `verify` gave you to write down.")
@json_option
@connected
async def verify(client: AsyncClient, witness: str | None, as_json: bool) -> None:
    """Check that no row was changed, removed or inserted; with a witness, that none was cut off either."""
    found = await client.verify_audit(None if witness is None else _witness(witness))
    if as_json:
        print_json(found)
    if found.broken is not None:
        raise IntegrityError(
            f"the audit log is broken at row {found.broken}: {found.why}",
            hint=AFTER_A_BREAK,
        )
    if not as_json:
        click.echo(f"{found.seq} rows, unbroken. Write this down, and give it to --witness next time:")
        click.echo(f"{found.seq}:{found.digest}")


def _witness(text: str) -> tuple[int, str]:
    if not re.fullmatch(r"[0-9]{1,18}:[0-9a-fA-F]{64}", text):
        raise click.BadParameter("a number, a colon and 64 hex digits", param_hint="--witness")
    seq, _, digest = text.partition(":")
    return int(seq), digest


def _words(subject: dict[str, str]) -> str:
    """Ids are shortened; what is said in words is not, and is quoted, so that no word is taken for a field."""
    return ", ".join(f"{name}={_value(value)}" for name, value in subject.items())


def _value(value: str) -> str:
    if not re.fullmatch(r"[\w.:/-]*", value):
        return json.dumps(value, ensure_ascii=False)
    return short(value) if len(value) > SHOWN else value
