"""``learnware.yaml``: what a Beimingwu package says of itself. Read as data; what it names is never imported here."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import yaml
from atoll.engine.beimingwu.contents import YAML, inside
from atoll.engine.errors import PackageError

MAX_BYTES = 64 << 10
MAX_EVENTS, MAX_DEPTH = 10_000, 12
MODULE = "__init__.py"
TUPLE = "tag:yaml.org,2002:python/tuple"  # the one tag that is taken: Beimingwu's own tools write shapes with it
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


class ModelConfig(msgspec.Struct, frozen=True):
    """The class that is the model: its name, the file of the package that defines it, and what it is made with.
    ``required`` are the ids of learnwares that it builds on."""

    class_name: str = "Model"
    module_path: str = MODULE
    kwargs: dict[str, Any] = {}
    required: tuple[str, ...] = ()


class StatEntry(msgspec.Struct, frozen=True):
    """A statistical specification: the name of its class, and its file."""

    class_name: str
    file_name: str


class Config(msgspec.Struct, frozen=True):
    """What learnware.yaml says; ``semantic_file`` is "" where it names none, and so are ``name`` and ``id``."""

    name: str
    id: str
    model: ModelConfig
    stat_specifications: tuple[StatEntry, ...] = ()
    semantic_file: str = ""


def read_config(data: bytes) -> Config:
    """The file's words; PackageError says what is wrong. Aliases, tags but that of tuples, and
    anything but plain values are refused."""
    root = _root(data)
    tree = _mapping(root, YAML)
    _built(root)  # all of it: an export writes it again
    model = _model(tree.get("model"))
    semantic = (
        _mapping(tree["semantic_specification"], "semantic_specification")
        if _given(tree, "semantic_specification")
        else {}
    )
    return Config(
        name=_text(tree, "name"),
        id=_text(tree, "id"),
        model=model,
        stat_specifications=_specifications(tree.get("stat_specifications")),
        semantic_file=_path(semantic, "file_name"),
    )


def _root(data: bytes) -> yaml.Node:
    if len(data) > MAX_BYTES:
        raise PackageError(f"{YAML} has {len(data)} bytes, at most {MAX_BYTES} are read")
    try:
        text = data.decode("utf-8-sig")
        _check_events(text)
        root = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise PackageError(f"{YAML} is no YAML: {' '.join(str(error).split())[:160]}") from None
    if root is None:
        raise PackageError(f"{YAML} is empty")
    return root


def _check_events(text: str) -> None:
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.BaseLoader)):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise PackageError(f"{YAML} has anchors or aliases", hint="write every value out")
        tag = getattr(event, "tag", None)
        if tag not in (None, "!") and not (tag == TUPLE and isinstance(event, yaml.SequenceStartEvent)):
            raise PackageError(f"{YAML} has a tag, {tag[:80]!r}", hint="plain values need none")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if count > MAX_EVENTS or depth > MAX_DEPTH:
            raise PackageError(f"{YAML} has more than {MAX_EVENTS} values, or they are nested deeper than {MAX_DEPTH}")


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Plain values only: what looks like a date stays text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor(TUPLE, lambda loader, node: tuple(loader.construct_sequence(node, deep=True)))


def plain_tree(data: bytes) -> dict[str, Any]:
    """All of the file as plain values; PackageError where :func:`read_config` refuses it."""
    return _built(_root(data))


def _built(root: yaml.Node) -> dict[str, Any]:
    loader = _Loader("")
    try:
        tree = loader.construct_document(root)
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, RecursionError) as error:
        raise PackageError(f"{YAML} holds no plain value: {' '.join(str(error).split())[:160]}") from None
    finally:
        loader.dispose()
    return tree if isinstance(tree, dict) else {}


def _mapping(node: yaml.Node, what: str) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode) or any(not isinstance(key, yaml.ScalarNode) for key, _ in node.value):
        raise PackageError(f"{YAML}: {what} is not a mapping of names to values")
    found = {key.value: value for key, value in node.value}
    if len(found) != len(node.value):
        raise PackageError(f"{YAML}: {what} names one thing twice")
    return found


def _items(node: yaml.Node, what: str) -> list[yaml.Node]:
    if not isinstance(node, yaml.SequenceNode):
        raise PackageError(f"{YAML}: {what} is not a list")
    return list(node.value)


def _given(tree: dict[str, yaml.Node], name: str) -> bool:
    return name in tree and tree[name].tag != "tag:yaml.org,2002:null"


def _text(tree: dict[str, yaml.Node], name: str) -> str:
    """The value as it is written, so that the id 00000123 keeps its zeros."""
    if not _given(tree, name):
        return ""
    node = tree[name]
    return _word(node, name)


def _word(node: yaml.Node, what: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise PackageError(f"{YAML}: {what} is not a text")
    text = str(node.value).strip()
    if not text.isprintable():
        raise PackageError(f"{YAML}: {what} has control characters")
    return text


def _path(tree: dict[str, yaml.Node], name: str) -> str:
    path = _text(tree, name)
    try:
        return inside(path) if path else ""
    except PackageError as error:
        raise PackageError(f"{YAML}: {name}: {error.message}") from None


def _model(node: yaml.Node | None) -> ModelConfig:
    tree = _mapping(node, "model") if node is not None and node.tag != "tag:yaml.org,2002:null" else {}
    name = _text(tree, "class_name") or "Model"
    if not _NAME.fullmatch(name):
        raise PackageError(f"{YAML}: {name[:80]!r} is no name of a class")
    path = _text(tree, "module_path") or MODULE
    if not path.endswith(".py"):
        raise PackageError(
            f"{YAML}: module_path is {path[:80]!r}, it must be a .py file inside the package",
            hint="nothing outside of a package is imported for it",
        )
    required = (
        _items(tree["required_learnware_ids"], "required_learnware_ids")
        if _given(tree, "required_learnware_ids")
        else []
    )
    ids = tuple(_word(each, "a required learnware")[:64] for each in required[:64])
    return ModelConfig(name, _path(tree, "module_path") or MODULE, _kwargs(tree), ids)


def _kwargs(tree: dict[str, yaml.Node]) -> dict[str, Any]:
    if not _given(tree, "kwargs"):
        return {}
    node = tree["kwargs"]
    names = _mapping(node, "kwargs")
    for name in names:
        if not _NAME.fullmatch(name):
            raise PackageError(f"{YAML}: {name[:80]!r} in kwargs is no name of an argument")
    loader = _Loader("")
    try:
        return {name: _plain(loader.construct_object(value, deep=True)) for name, value in names.items()}
    except (yaml.YAMLError, ValueError, OverflowError, TypeError) as error:
        raise PackageError(f"{YAML}: kwargs cannot be read: {' '.join(str(error).split())[:160]}") from None
    finally:
        loader.dispose()


def _plain(value: object) -> object:
    if isinstance(value, dict):
        if any(not isinstance(key, str) for key in value):
            raise PackageError(f"{YAML}: kwargs hold a mapping whose keys are no text")
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(each) for each in value)
    if value is None or isinstance(value, bool | float | str) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    raise PackageError(f"{YAML}: kwargs hold a {type(value).__name__}, only plain values are taken")


def _specifications(node: yaml.Node | None) -> tuple[StatEntry, ...]:
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return ()
    found = []
    for item in _items(node, "stat_specifications")[:64]:
        tree = _mapping(item, "a statistical specification")
        path = _path(tree, "file_name")
        if not path:
            raise PackageError(f"{YAML}: a statistical specification has no file_name")
        found.append(StatEntry(_text(tree, "class_name")[:100], path))
    return tuple(found)
