"""``serve``: the life of a node, from its start to its end in good order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from atoll.node import config as configs
from atoll.node import journal
from atoll.node.cli.connection import home_option
from atoll.node.cli.output import json_option, print_json
from atoll.node.client.endpoint import ENDPOINT, Endpoint
from atoll.node.errors import ConfigError

if TYPE_CHECKING:
    from atoll.node.app import Node

log = logging.getLogger("atoll")
RESTARTS = 5


@dataclass
class Signals:
    """``stop`` after the first SIGTERM or SIGINT, ``hurry`` after the second; a third ends the process as it is.
    ``reload`` is set by SIGHUP."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)

    def listen(self) -> None:
        """From now on; within a running loop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.end)
        loop.add_signal_handler(signal.SIGHUP, self.reload.set)

    def end(self) -> None:
        """Asked to end, or, for the second time, to end now."""
        if self.stop.is_set():
            self.hurry.set()
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().remove_signal_handler(number)
        self.stop.set()


@click.command()
@home_option
@click.option("--exit-with-stdin", is_flag=True, hidden=True, help="End when standard input closes.")
@json_option
def serve(home: Path, exit_with_stdin: bool, as_json: bool) -> None:
    """Run the node until Ctrl-C or SIGTERM: what is under way ends first; asked twice, it does not wait. SIGHUP reads
    the TLS certificate anew."""
    journal.configure(configs.load(home, os.environ).log)
    asyncio.run(_serve(home, exit_with_stdin, as_json))


async def _serve(home: Path, exit_with_stdin: bool, as_json: bool) -> None:
    journal.catch_strays()
    signals = Signals()
    signals.listen()
    if exit_with_stdin:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _on_stdin, signals)
    for _ in range(RESTARTS):
        if await _serve_once(home, signals, as_json):
            return
    raise ConfigError("the network side crashed again and again", hint="see the log above; please report it")


def _on_stdin(signals: Signals) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        signals.end()


async def _serve_once(home: Path, signals: Signals, as_json: bool) -> bool:
    """Whether it was asked to stop; False if the network side crashed and should be started again."""
    from atoll.node.api.server import serving
    from atoll.node.app import running
    from atoll.node.store.loading import set_aside

    async with running(home) as node, serving(node, signals.reload) as url:
        set_aside()
        _tell(home, node, url, as_json)
        _warn(node)
        stopped = asyncio.ensure_future(signals.stop.wait())
        failed = asyncio.ensure_future(node.network.wait_failed())
        done, _ = await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        for task in (stopped, failed):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if stopped in done:
            await _drain(node, signals.hurry)
        with suppress(OSError):
            (home / ENDPOINT).unlink()
        if failed in done and stopped not in done:
            log.error("the network side ended (%s); starting again", _kind(failed.result()))
        return stopped in done


async def _drain(node: Node, hurry: asyncio.Event) -> None:
    seconds, searcher, reuser = node.config.http.stop_seconds, node.searcher, node.reuser
    log.info("stopping: nothing new begins, what is under way has time to end", extra={"seconds": seconds})
    ended = await node.stopping.drain(lambda: searcher.under_way + reuser.states()["running"], seconds, hurry)
    await searcher.stop()
    await reuser.stop()
    await node.stopping.tell()
    log.info("stopped", extra={"all_ended": ended})


def _tell(home: Path, node: Node, url: str, as_json: bool) -> None:
    endpoint = _write_endpoint(home, node, url)
    if node.tls is not None:
        node.tls.on_change(partial(_renew_endpoint, home, node, url))
    if as_json:
        print_json(endpoint)
    else:
        click.echo(f"{node.config.node.name} serves {url}\npeers reach it at {', '.join(endpoint.addresses)}")


def _write_endpoint(home: Path, node: Node, url: str) -> Endpoint:
    """What programs beside it find it by."""
    certificate = node.tls.fingerprint if node.tls is not None else ""
    endpoint = Endpoint(url, node.identity.peer, node.network.addresses, certificate)
    beside = home / f".{ENDPOINT}"
    beside.write_bytes(msgspec.json.encode(endpoint))
    beside.replace(home / ENDPOINT)
    return endpoint


def _renew_endpoint(home: Path, node: Node, url: str) -> None:
    """Not once the node ends: nobody is to find it any more."""
    if not node.stopping.begun:
        _write_endpoint(home, node, url)


def _warn(node: Node) -> None:
    """Of what works, and is not what somebody would want who knew of it."""
    from atoll.node.api.proxies import loopback

    http = node.config.http
    if not loopback(http.host) and node.tls is None and not http.trusted_proxies:
        log.warning(
            "tokens and rows cross the network unencrypted: others can connect to %s, and there is neither "
            "http.tls_certificate nor a proxy in http.trusted_proxies", http.host,
        )  # fmt: skip


def _kind(error: BaseException | None) -> str:
    return journal.kind(error) if error is not None else "closed"
