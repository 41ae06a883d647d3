"""What was found, one thing at a time; and what all of the check-up asks the home and its node for, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
from atoll.engine.errors import AtollError
from atoll.node import config as configs
from atoll.node.api.federations import FederationView
from atoll.node.api.information import NodeView
from atoll.node.api.peers import PeerView
from atoll.node.client import AsyncClient
from atoll.node.client.endpoint import certificate_of, url_of
from atoll.node.identity import Identity
from atoll.node.identity import load as load_identity
from atoll.node.store.glance import Glance, glance

State = Literal["fine", "look", "bad"]
T = TypeVar("T")


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was looked at; ``todo`` is what to do next, empty where all is well."""

    what: str
    state: State
    words: str
    todo: str = ""


@dataclass(frozen=True)
class Running:
    """What the node of the home says. ``peers`` and ``federations`` are None without a token that may read;
    ``foreign``: another node answers there."""

    url: str
    node: NodeView
    foreign: bool
    peers: tuple[PeerView, ...] | None
    federations: tuple[FederationView, ...] | None


@dataclass(frozen=True)
class Patient:
    """A home; its configuration and its key are None where they cannot be read, ``running`` where no node answers."""

    home: Path
    environ: Mapping[str, str]
    config: configs.Config | None
    identity: Identity | None
    running: Running | None
    silence: str

    @cached_property
    def glance(self) -> Glance | AtollError:
        """A few rows of its store, or why they cannot be had."""
        try:
            return glance(self.home / "store")
        except AtollError as error:
            return error

    @property
    def served(self) -> bool:
        """Whether the node of this home runs."""
        return self.running is not None and not self.running.foreign


def admit(home: Path, environ: Mapping[str, str]) -> Patient:
    """Read what can be read, and ask the node if one answers."""
    config = _tried(lambda: configs.load(home, environ))
    identity = _tried(lambda: load_identity(home))
    url = environ.get("ATOLL_URL") or url_of(home)
    try:
        running, silence = asyncio.run(_ask(url, environ.get("ATOLL_TOKEN"), certificate_of(home, url), identity)), ""
    except AtollError as error:
        running, silence = None, error.message
    return Patient(home, environ, config, identity, running, silence)


async def _ask(url: str, token: str | None, certificate: str, identity: Identity | None) -> Running:
    async with AsyncClient(url, token, certificate) as client:
        node = await client.node()
        foreign = identity is None or node.peer_id != identity.peer
        if token is None or foreign:
            return Running(url, node, foreign, None, None)
        try:
            peers, federations = tuple(await client.peers()), tuple(await client.federations())
        except AtollError:  # a token of another node, or without the scope
            return Running(url, node, foreign, None, None)
        return Running(url, node, foreign, peers, federations)


def _tried(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except (AtollError, OSError):
        return None
