"""Configuration: ``atoll.toml`` in the home, overridden by ``ATOLL__SECTION__KEY``. Unknown keys are errors.

The description of a field is what people read of it: in the documentation, in `atoll config show`, on the page.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
import platformdirs
from atoll.engine.runtime.signature import Limits
from atoll.node import given
from atoll.node.errors import ConfigError
from atoll.protocol.listings import Audience
from msgspec import Meta

FILE = "atoll.toml"
LIMITS = Limits()
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Bytes = Annotated[int, Meta(ge=1 << 20, le=1 << 44)]


class NodeSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who the node is."""

    name: Annotated[str, Meta(description="what peers are shown")] = "atoll"
    recovery: Annotated[
        str,
        Meta(pattern="^([0-9a-f]{64})?$", description="hash of the recovery key that `atoll init` has shown once"),
    ] = ""

    @property
    def recovery_hash(self) -> bytes | None:
        return bytes.fromhex(self.recovery) or None


class HttpSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the API and the pages are."""

    host: Annotated[str, Meta(description="address to listen on for HTTP")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="port to listen on for HTTP; 0 takes a free one")] = 8470
    max_upload_bytes: Annotated[int, Meta(ge=1, description="largest package that may be uploaded")] = 2 * 1024**3
    tls_certificate: Annotated[
        str, Meta(description="PEM file of the certificate and its chain, absolute or in the home; empty: no TLS")
    ] = ""
    tls_key: Annotated[str, Meta(description="PEM file of the certificate's private key, absolute or in the home")] = ""
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(description="addresses or networks of the proxies whose X-Forwarded-For, -Proto and -Host are believed"),
    ] = ()
    hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="names under which the node may be asked, beside IP addresses and localhost; empty: any name "
            "where others can connect, none where only this machine can"
        ),
    ] = ()
    metrics: Annotated[
        Literal["local", "token", "open"],
        Meta(description="who may read /metrics: this machine, and others with a token; only with a token; anybody"),
    ] = "local"
    requests_per_second: Annotated[
        float, Meta(gt=0, le=100_000, description="requests a second of one token, or of one address without a token")
    ] = 200.0
    burst: Annotated[int, Meta(ge=1, le=1_000_000, description="how many of these may come at once")] = 2000
    streams: Annotated[
        int, Meta(ge=1, le=10_000, description="answers that one of them may follow as they come, at a time")
    ] = 64
    connections: Annotated[
        int,
        Meta(
            ge=8,
            le=100_000,
            description="connections over HTTP at a time, a quarter of them from one address that is no trusted proxy",
        ),
    ] = 1024
    read_seconds: Annotated[
        Seconds, Meta(description="how long a client may send nothing of a request that it has begun")
    ] = 30.0
    stop_seconds: Annotated[
        float,
        Meta(ge=0, le=3600, description="how long what is under way may take when the node is stopped"),
    ] = 8.0

    def __post_init__(self) -> None:
        for each in self.trusted_proxies:
            try:
                ipaddress.ip_network(each, strict=False)
            except ValueError:
                raise ValueError(f"trusted_proxies: {each!r} is no address and no network") from None


class P2PSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the node is connected with its peers."""

    listen: Annotated[
        str, Meta(description="where peers connect, a TCP multiaddr; empty: nowhere")
    ] = "/ip4/0.0.0.0/tcp/8471"  # fmt: skip
    announce: Annotated[
        tuple[str, ...], Meta(description="what peers are told instead of the addresses listened on, multiaddrs")
    ] = ()
    bootstrap: Annotated[
        tuple[str, ...],
        Meta(description="addresses, ending in /p2p/<peer id>, to dial at start and whenever they are gone"),
    ] = ()
    sync_seconds: Annotated[float, Meta(gt=0, le=86_400, description="how often catalogues are compared")] = 10.0
    relay: Annotated[
        str, Meta(description="address of a member over which others reach this node, if they cannot otherwise")
    ] = ""
    relay_for_members: Annotated[bool, Meta(description="be such a relay, for members only")] = False
    mdns: Annotated[
        bool,
        Meta(description="tell the local network where this node listens (no federation is named), and hear of others"),
    ] = False
    gossip: Annotated[
        bool, Meta(description="news by gossip within seconds; without it, only by comparing catalogues")
    ] = True


class SearchSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Searches that are asked at this node."""

    deadline_ms: Annotated[
        int, Meta(ge=1, description="how long owners may take, in milliseconds, if the caller names no deadline")
    ] = 2000
    anonymous: Annotated[
        bool,
        Meta(
            description="anybody may search without a token, once in two seconds from one address (20 at once); "
            "they find only what is offered to `anyone`"
        ),
    ] = False


class ServingSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What searches of others may take here; whoever asks beyond that is told to come again."""

    match_workers: Annotated[int, Meta(ge=1, le=64, description="threads that answer searches of others")] = 2
    match_queue: Annotated[int, Meta(ge=0, le=10_000, description="how many searches of others may wait")] = 64
    match_per_second: Annotated[float, Meta(gt=0, le=10_000, description="how often a peer may ask")] = 25.0
    match_burst: Annotated[int, Meta(ge=1, le=10_000, description="how often a peer may ask at once")] = 100


class PrivacySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Differential privacy."""

    epsilon_limit: Annotated[
        float,
        Meta(ge=0, description="epsilon that may be spent on one data set, over all that is published of it"),
    ] = 4.0


class ReuseSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What users may have predicted, and what was downloaded for them."""

    max_rows: Annotated[int, Meta(ge=1, le=1_000_000_000, description="rows of one upload to predict")] = 1_000_000
    max_upload_bytes: Annotated[Bytes, Meta(description="bytes of one upload of rows to predict")] = 1 << 30
    cache_bytes: Annotated[
        Bytes,
        Meta(
            description="what downloaded packages may take on disk, each as a file and with its model taken out"
        ),
    ] = 20 << 30  # fmt: skip


class SandboxSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What models may use when they run."""

    max_models: Annotated[int, Meta(ge=1, le=1024, description="models that stay loaded")] = 8
    load_seconds: Annotated[Seconds, Meta(description="how long a model may take to load")] = LIMITS.load_seconds
    call_seconds: Annotated[Seconds, Meta(description="how long a model may take to answer")] = LIMITS.call_seconds
    memory_bytes: Annotated[Bytes, Meta(description="memory of a model beyond its runtime's")] = LIMITS.memory_bytes
    torch_memory_bytes: Annotated[
        Bytes, Meta(description="the same for torch and its models")
    ] = LIMITS.torch_memory_bytes  # fmt: skip
    model_bytes: Annotated[Bytes, Meta(description="largest model file that is run")] = LIMITS.file_bytes
    threads: Annotated[int, Meta(ge=1, le=1024, description="threads of a model")] = LIMITS.threads
    workers_per_core: Annotated[
        int, Meta(ge=1, le=64, description="workers that a core may have")
    ] = LIMITS.workers_per_core  # fmt: skip
    queue: Annotated[
        int, Meta(ge=0, le=100_000, description="calls that may wait for a worker; more are told to come again")
    ] = LIMITS.queue
    package_index: Annotated[
        str, Meta(description="URL where packages for environments of Python code come from; empty: as uv has it")
    ] = ""
    environment_seconds: Annotated[Seconds, Meta(description="how long building an environment may take")] = 1800.0

    @property
    def limits(self) -> Limits:
        return Limits(
            load_seconds=self.load_seconds, call_seconds=self.call_seconds, memory_bytes=self.memory_bytes,
            torch_memory_bytes=self.torch_memory_bytes, file_bytes=self.model_bytes, threads=self.threads,
            workers_per_core=self.workers_per_core, queue=self.queue,
        )  # fmt: skip


class BeimingwuSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For users of Beimingwu's client. Their packages hold their specifications, so whoever may download may have these
    disclosed."""

    federation: Annotated[
        str,
        Meta(
            description="where what they upload is listed, id or name; empty: the only private federation, else the "
            "only one"
        ),
    ] = ""
    disclose: Annotated[Audience, Meta(description="for whom the RKME of what they upload is disclosed")] = "nobody"
    predict: Annotated[Audience, Meta(description="for whom what they upload predicts")] = "nobody"
    download: Annotated[
        Audience, Meta(description="for whom it may be downloaded; for no more than `disclose`")
    ] = "nobody"  # fmt: skip
    deadline_ms: Annotated[
        int, Meta(ge=1, le=60_000, description="how long owners may take when that client searches, in milliseconds")
    ] = 5000

    def __post_init__(self) -> None:
        audiences = get_args(Audience)  # each takes in those before it
        if audiences.index(self.download) > audiences.index(self.disclose):
            raise ValueError("download cannot be for more than disclose is")


class LogSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is written on standard error while the node runs: what happens, never with whose data."""

    format: Annotated[
        Literal["auto", "json", "text"],
        Meta(description="a line of JSON for each event, or text for people; auto: text on a terminal, else JSON"),
    ] = "auto"
    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="the least that is worth a line")
    ] = "info"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration, with defaults for everything."""

    node: NodeSection = NodeSection()
    http: HttpSection = HttpSection()
    p2p: P2PSection = P2PSection()
    search: SearchSection = SearchSection()
    serving: ServingSection = ServingSection()
    privacy: PrivacySection = PrivacySection()
    sandbox: SandboxSection = SandboxSection()
    reuse: ReuseSection = ReuseSection()
    beimingwu: BeimingwuSection = BeimingwuSection()
    log: LogSection = LogSection()


def default_home() -> Path:
    """``$ATOLL_HOME``, else the platform's data directory."""
    return Path(os.environ.get("ATOLL_HOME") or platformdirs.user_data_dir("atoll"))


def load(home: Path, environ: Mapping[str, str]) -> Config:
    """The configuration of a home; ConfigError names the place, the cause and the nearest known key."""
    reading = given.read(Config, home / FILE, environ)
    if reading.faults:
        first, *others = reading.faults
        more = f" (and {len(others)} more: `atoll config check` names all)" if others else ""
        raise ConfigError(f"{first}{more}", hint=first.hint)
    return msgspec.convert(reading.tree, Config, strict=False)
