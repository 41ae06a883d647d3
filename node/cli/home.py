"""``init``: makes the home of a node."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from atoll.node import config as configs
from atoll.node.cli.connection import home_option
from atoll.node.cli.output import json_option, print_json
from atoll.node.clock import now_ms

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


def _toml(text: str) -> str:
    """A TOML basic string: JSON's escapes are a subset of TOML's."""
    return msgspec.json.encode(text).decode()
