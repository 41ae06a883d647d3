"""Configuration: ``atoll.toml`` in the home, overridden by ``ATOLL__SECTION__KEY``. Unknown keys are errors."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec
import platformdirs
from atoll.engine.runtime.signature import Limits
from atoll.node.errors import ConfigError
from atoll.protocol.listings import Audience
from rapidfuzz import process

FILE = "atoll.toml"
PREFIX = "ATOLL__"
LIMITS = Limits()
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Bytes = Annotated[int, msgspec.Meta(ge=1 << 20, le=1 << 44)]


class NodeSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``name`` is shown to peers; ``recovery`` is the hash of the recovery key that `atoll init` has shown."""

    name: str = "atoll"
    recovery: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")] = ""

    @property
    def recovery_hash(self) -> bytes | None:
        return bytes.fromhex(self.recovery) or None


class HttpSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the HTTP API listens; port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 8470
    max_upload_bytes: int = 2 * 1024**3


class P2PSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where peers connect (multiaddr, TCP; empty: nowhere), whom to dial at start, and how often to compare catalogues.

    ``relay`` is the address of a member over which others reach this node, ``relay_for_members`` offers them the same;
    ``mdns`` tells the local network of this node.
    """

    listen: str = "/ip4/0.0.0.0/tcp/8471"
    announce: tuple[str, ...] = ()
    bootstrap: tuple[str, ...] = ()
    sync_seconds: float = 10.0
    relay: str = ""
    relay_for_members: bool = False
    mdns: bool = False
    gossip: bool = True


class SearchSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deadline of a search in milliseconds, if the caller names none; and whether anybody may search without a token,
    at the rate of node.api.visitors."""

    deadline_ms: int = 2000
    anonymous: bool = False


class ServingSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What searches of others may take here: threads, how many may wait, and how many a second and at once each peer
    may ask; whoever asks beyond that is told to come again."""

    match_workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    match_queue: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 64
    match_per_second: Annotated[float, msgspec.Meta(gt=0, le=10_000)] = 25.0
    match_burst: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100


class PrivacySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much epsilon may be spent on one data set, over all that is published of it."""

    epsilon_limit: float = 4.0


class ReuseSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What users may have predicted at once: rows, and bytes of them; and what packages that were downloaded may take
    on disk."""

    max_rows: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 1_000_000
    max_upload_bytes: Bytes = 1 << 30
    cache_bytes: Bytes = 20 << 30


class SandboxSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many models stay loaded, and what each may use: seconds, bytes of memory (of torch and its models: more),
    threads. ``package_index`` is where environments of Python code come from ("": as uv is configured), within
    ``environment_seconds``."""

    max_models: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 8
    load_seconds: Seconds = LIMITS.load_seconds
    call_seconds: Seconds = LIMITS.call_seconds
    memory_bytes: Bytes = LIMITS.memory_bytes
    torch_memory_bytes: Bytes = LIMITS.torch_memory_bytes
    model_bytes: Bytes = LIMITS.file_bytes
    threads: Annotated[int, msgspec.Meta(ge=1, le=1024)] = LIMITS.threads
    workers_per_core: Annotated[int, msgspec.Meta(ge=1, le=64)] = LIMITS.workers_per_core
    queue: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = LIMITS.queue
    package_index: str = ""
    environment_seconds: Seconds = 1800.0

    @property
    def limits(self) -> Limits:
        return Limits(
            load_seconds=self.load_seconds, call_seconds=self.call_seconds, memory_bytes=self.memory_bytes,
            torch_memory_bytes=self.torch_memory_bytes, file_bytes=self.model_bytes, threads=self.threads,
            workers_per_core=self.workers_per_core, queue=self.queue,
        )  # fmt: skip


class BeimingwuSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For users of Beimingwu's client: where what they upload is listed (the id or the name of a federation; "": the
    only private one, else the only one), for whom it may be more than matched there, and the deadline of their searches
    in milliseconds. Their packages hold their specifications, so whoever may download may have these disclosed."""

    federation: str = ""
    disclose: Audience = "nobody"
    predict: Audience = "nobody"
    download: Audience = "nobody"
    deadline_ms: Annotated[int, msgspec.Meta(ge=1, le=60_000)] = 5000

    def __post_init__(self) -> None:
        audiences = get_args(Audience)  # each takes in those before it
        if audiences.index(self.download) > audiences.index(self.disclose):
            raise ValueError("download cannot be for more than disclose is")


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


def default_home() -> Path:
    """``$ATOLL_HOME``, else the platform's data directory."""
    return Path(os.environ.get("ATOLL_HOME") or platformdirs.user_data_dir("atoll"))


def load(home: Path, environ: Mapping[str, str]) -> Config:
    """The configuration of a home; ConfigError names the key, the cause and the nearest known key."""
    path = home / FILE
    try:
        tree: dict[str, Any] = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    _check_keys(tree, Config, str(path))
    for name, value in environ.items():
        if name.startswith(PREFIX):
            _override(tree, name, value)
    try:
        return msgspec.convert(tree, Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from None


def _override(tree: dict[str, Any], name: str, value: str) -> None:
    section, _, key = name.removeprefix(PREFIX).lower().partition("__")
    _check_keys({section: {key: value}}, Config, name)
    kind = next(field.type for field in msgspec.structs.fields(Config) if field.name == section)
    target = next(field.type for field in msgspec.structs.fields(kind) if field.name == key)
    tree.setdefault(section, {})[key] = value.split(",") if "tuple" in str(target) else value


def _check_keys(tree: dict[str, Any], type_: Any, where: str) -> None:
    known = {field.name: field.type for field in msgspec.structs.fields(type_)}
    for key, value in tree.items():
        if key not in known:
            nearest = process.extractOne(key, list(known))
            hint = f"did you mean {nearest[0]!r}?" if nearest and nearest[1] > 60 else f"known: {', '.join(known)}"
            raise ConfigError(f"{where}: unknown key {key!r}", hint=hint)
        if isinstance(value, dict) and isinstance(known[key], type):
            _check_keys(value, known[key], f"{where} [{key}]")
