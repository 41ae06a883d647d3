"""``atoll``: the command line, a thin client of the HTTP API."""

from __future__ import annotations

import asyncio
import sys

import atoll
import click
from atoll.engine.errors import AtollError
from atoll.node.cli import (
    acceptance,
    audit,
    backup,
    beimingwu,
    code,
    configuration,
    demo,
    doctor,
    federation,
    fetch,
    home,
    identity,
    learnware,
    network,
    peer,
    policy,
    predict,
    search,
    serving,
    spec,
)
from atoll.node.cli.output import fail


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(atoll.__version__)
def cli() -> None:
    """Atoll: a federated, peer-to-peer dock for learnwares (models with specifications)."""


for command in (
    home.init, serving.serve, configuration.config, doctor.doctor, demo.demo, spec.spec, learnware.learnware,
    policy.request, code.code, search.search, predict.predict, fetch.fetch,
    peer.peer, federation.federation, network.island, network.token, audit.audit,
    identity.identity, backup.backup, backup.restore, backup.verify, beimingwu.beimingwu,
):  # fmt: skip
    cli.add_command(command)
for command in (acceptance.add, acceptance.check, acceptance.submissions, policy.policy, policy.usage, policy.ask):
    learnware.learnware.add_command(command)


def main() -> None:
    """Entry point: exit codes come from the one table of errors."""
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.NoSuchOption as error:
        early = error.ctx is not None and error.ctx.command is cli
        later = click.UsageError(
            f"No option {error.option_name!r} comes before the command: put it after, as in `atoll init --home FOLDER`",
            error.ctx,
        )
        (later if early else error).show()
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
    except AtollError as error:
        fail(error)
