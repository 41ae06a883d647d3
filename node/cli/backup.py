"""``backup``, ``restore`` and ``verify``: a whole node as one file, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click
from atoll.node import config, lock
from atoll.node import identity as identities
from atoll.node.cli import saved
from atoll.node.cli.connection import home_option, token_option, url_option
from atoll.node.cli.output import json_option, print_json
from atoll.node.cli.progress import progress_bars
from atoll.node.client import AsyncClient
from atoll.node.client.endpoint import certificate_of, url_of
from atoll.node.clock import now_ms
from atoll.node.errors import ConfigError, HomeMissing
from atoll.node.store.backup_file import BLOB, KEY, Manifest, Progress

if TYPE_CHECKING:
    from atoll.node.store.verification import Report

backup_argument = click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
NEW_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", type=NEW_FILE)
@click.option("--without-key", is_flag=True, help="Leave the node's private key out.")
@home_option
@url_option
@token_option
@json_option
def backup(file: Path, without_key: bool, home: Path, url: str | None, token: str | None, as_json: bool) -> None:
    """Write all of a node into FILE: store, packages, configuration and key.

    Asks the running node (scope admin); where none runs on --home, reads the home itself.
    """
    with _bytes_bar("backup (MiB)") as progress:
        manifest = _taken(file, not without_key, home, url, token, progress)
    blobs = sum(BLOB.fullmatch(member.name) is not None for member in manifest.members)
    has_key = KEY in manifest.names
    if as_json:
        print_json({"file": str(file), "peer_id": manifest.peer_id, "created_at": manifest.created_at,
                    "bytes": manifest.length, "blobs": blobs, "key": has_key})  # fmt: skip
        return
    click.echo(f"{file}: {manifest.length} bytes, the store and {blobs} blobs of {manifest.peer_id}")
    if has_key:
        click.echo("It holds the node's private key: whoever reads it can be this node. --without-key leaves it out.")
    else:
        click.echo(f"It holds no key: keep {home / KEY} elsewhere, a restore needs it, or the recovery line.")


@click.command()
@backup_argument
@home_option
@click.option(
    "--identity", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Key, where the backup has none."
)
@click.option(
    "--recovery",
    type=click.File(),
    help="File with the recovery line (- is standard input): the key is lost or stolen.",
)
@json_option
def restore(file: Path, home: Path, identity: Path | None, recovery: TextIO | None, as_json: bool) -> None:
    """Make the home --home of the backup FILE; it must not exist, or be empty.

    With --recovery the home gets a new key, as by `atoll identity rotate`.
    """
    from atoll.node.rotation import rotate
    from atoll.node.store.restoring import restore as restored
    from atoll.protocol.succession import read_recovery

    now, rekey = now_ms(), None
    if recovery is not None:
        rekey = partial(rotate, now=now, recovery=read_recovery(recovery.read(4096)))
    with _bytes_bar("restore (MiB)") as progress:
        report = restored(file, home, now, identity=identity, progress=progress, rekey=rekey)
    if as_json:
        print_json({"home": str(home), "peer_id": report.peer_id, "tables": report.tables, "blobs": report.blobs})
        return
    _tell(report)
    click.echo(f"Restored into {home}. See that no other node runs with this key, then `atoll serve --home {home}`.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True), required=False)
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), help="A home in which no node runs.")
@json_option
def verify(file: Path | None, home: Path | None, as_json: bool) -> None:
    """Check FILE, or a home: a backup, a saved answer, a signed listing. Changes nothing, and needs no node.

    Of an answer that `atoll search --save` has written, or a page has given, and of one listing, every hit is checked
    against what its owner has signed. Of a backup and of a home every row and blob is read, and what is damaged is
    said.
    """
    from atoll.node.store import restoring
    from atoll.node.store.verification import verify_home

    if file is not None and home is not None:
        raise click.UsageError("give FILE or --home, not both")
    if file is not None and saved.is_answer(file):
        saved.verify(file, as_json=as_json)
        return
    if file is not None:
        with _bytes_bar("verifying (MiB)") as progress:
            report = restoring.verify(file, progress)
    else:
        place = home or config.default_home()
        with _stopped(place), progress_bars() as tell:
            report = verify_home(place, deep=True, progress=lambda done, total: tell("verifying blobs", done, total))
    print_json(report) if as_json else _tell(report)
    report.require_whole()


def _taken(file: Path, with_key: bool, home: Path, url: str | None, token: str | None, progress: Progress) -> Manifest:
    """From the node if one is named or runs, else from the home itself."""
    from atoll.node.store.backup import offline

    if url is None and (home / identities.FILE).exists():
        with lock.attempted(home) as held:
            if held:
                return offline(home, file, now_ms(), with_key=with_key, progress=progress)

    place = url or url_of(home)

    async def ask() -> Manifest:
        async with AsyncClient(place, token, certificate_of(home, place)) as client:
            return await client.backup(file, with_key=with_key, progress=progress)

    return asyncio.run(ask())


@contextmanager
def _stopped(home: Path) -> Iterator[None]:
    if not home.is_dir():
        raise HomeMissing(f"{home} is not an Atoll home", hint="name one with --home")
    with lock.attempted(home) as held:
        if not held:
            raise ConfigError(f"a node is running on {home}", hint="stop it first, or take a backup and verify that")
        yield


@contextmanager
def _bytes_bar(what: str) -> Iterator[Progress]:
    with progress_bars() as tell:
        yield lambda done, total: tell(what, done >> 20, total >> 20)


def _tell(report: Report) -> None:
    click.echo(f"Peer id   {report.peer_id}")
    for name, count in sorted(report.tables.items()):
        if count:
            click.echo(f"{name:<13} {count:>9} rows")
    click.echo(f"{'blobs':<13} {report.blobs:>9} files, {report.bytes} bytes")
    for words in report.damage:
        click.echo(f"damaged: {words}")
