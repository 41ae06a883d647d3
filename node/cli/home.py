"""``init`` and ``serve``: the home of a node and its life."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import click
import msgspec
import structlog
from atoll.node import config as configs
from atoll.node.cli.connection import home_option
from atoll.node.cli.output import json_option, print_json
from atoll.node.client.endpoint import ENDPOINT, Endpoint
from atoll.node.clock import now_ms
from atoll.node.errors import ConfigError

RESTARTS = 5
TEMPLATE = """\
# Every key may also be given as ATOLL__SECTION__KEY. `atoll config show` prints all of them.
[node]
name = {name}
recovery = "{recovery}"

[http]
host = "127.0.0.1"
port = {http_port}

[p2p]
listen = {listen}
"""


@click.command()
@home_option
@click.option("--name", default="atoll", show_default=True, help="What peers are shown.")
@click.option("--http-port", default=8470, show_default=True, help="Port of the HTTP API; 0 takes a free one.")
@click.option("--listen", default="/ip4/0.0.0.0/tcp/8471", show_default=True, help="Multiaddr for peers.")
@json_option
def init(home: Path, name: str, http_port: int, listen: str, as_json: bool) -> None:
    """Make a home: key, configuration, store, and the first admin token and a recovery key (shown once)."""
    from atoll.node import identity
    from atoll.node.store.environment import Store
    from atoll.node.store.tokens import Tokens
    from atoll.protocol.succession import recovery_hash, recovery_line
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = identity.create(home)
    recovery = Ed25519PrivateKey.generate()
    named = recovery_hash(recovery.public_key().public_bytes_raw()).hex()
    text = TEMPLATE.format(name=_toml(name), recovery=named, http_port=http_port, listen=_toml(listen))
    (home / configs.FILE).write_text(text, "utf-8")
    store = Store(home / "store")
    secret, _ = Tokens(store).create("first admin", ("admin",), now_ms(), None)
    store.close()
    if as_json:
        print_json({"home": str(home), "peer_id": made.peer, "token": secret,
                    "recovery": recovery_line(recovery)})  # fmt: skip
        return
    click.echo(f"Home      {home}\nPeer id   {made.peer}\nToken     {secret}\nRecovery  {recovery_line(recovery)}\n")
    click.echo(
        "Both are shown this once. Keep the token in $ATOLL_TOKEN, and the recovery line off this machine: with it"
    )
    click.echo("the node can get a new key if this one is lost or stolen. Start the node with `atoll serve`.")


@click.command()
@home_option
@click.option("--exit-with-stdin", is_flag=True, hidden=True, help="End when standard input closes.")
@json_option
def serve(home: Path, exit_with_stdin: bool, as_json: bool) -> None:
    """Run the node until Ctrl-C or SIGTERM."""
    _configure_logging()
    asyncio.run(_serve(home, exit_with_stdin, as_json))


async def _serve(home: Path, exit_with_stdin: bool, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if exit_with_stdin:
        loop.add_reader(sys.stdin.fileno(), _on_stdin, loop, stop)
    for _ in range(RESTARTS):
        if await _serve_once(home, stop, as_json):
            return
    raise ConfigError("the network side crashed again and again", hint="see the log above; please report it")


def _on_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        stop.set()


async def _serve_once(home: Path, stop: asyncio.Event, as_json: bool) -> bool:
    """Whether it was asked to stop; False if the network side crashed and should be started again."""
    from atoll.node.api.server import serving
    from atoll.node.app import running
    from atoll.node.store.loading import set_aside

    async with running(home) as node, serving(node) as url:
        _quieten_libp2p()
        set_aside()
        endpoint = Endpoint(url, node.identity.peer, node.network.addresses)
        (home / ENDPOINT).write_bytes(msgspec.json.encode(endpoint))
        if as_json:
            print_json(endpoint)
        else:
            click.echo(f"{node.config.node.name} serves {url}\npeers reach it at {', '.join(endpoint.addresses)}")
        stopped = asyncio.ensure_future(stop.wait())
        failed = asyncio.ensure_future(node.network.wait_failed())
        done, _ = await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        for task in (stopped, failed):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        with suppress(OSError):
            (home / ENDPOINT).unlink()
        if failed in done and stopped not in done:
            logging.getLogger("atoll").error("the network side ended (%r); starting again", failed.result())
        return stopped in done


def _toml(text: str) -> str:
    """A TOML basic string: JSON's escapes are a subset of TOML's."""
    return msgspec.json.encode(text).decode()


def _configure_logging() -> None:
    """Log lines on standard error, with the fields that were logged beside the message."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso"),
        ],
        processor=structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _quieten_libp2p() -> None:
    """What a peer does wrong is logged by us, once; libp2p would print a stack trace for each."""
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
