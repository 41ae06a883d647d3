"""What a learnware of Python code needs: a ``requirements.txt`` or a conda ``environment.yaml``, read as names and
versions and nothing else. Options, paths and addresses are refused: a list must not say where packages come from.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from atoll.engine.errors import ModelRefused
from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

TEXT, CONDA = "requirements.txt", ("environment.yaml", "environment.yml")
NAMES = (TEXT, *CONDA)
MAX_BYTES, MAX_PACKAGES = 64 << 10, 400
_CONDA = re.compile(r"(?:[\w.\-/]+::)?(?P<name>[A-Za-z0-9_][\w.\-]*)\s*(?P<rest>.*)")
_WRITTEN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._\-]*(\[[A-Za-z0-9._,\-]+\])?[A-Za-z0-9.*+!<>=~,_\-]*")
_VERSION = re.compile(r"[\w.*<>=!~,+\- ]*")
_HASH = re.compile(r"\s--hash=\S+")


@dataclass(frozen=True)
class Requirements:
    """``wanted`` by PEP 508. ``native`` are those that conda names: some are no Python packages but libraries of the
    system. ``python``: which versions of it will do (PEP 440), "" for any. Nothing in it but letters, digits and what
    versions are written with: it is handed to a program."""

    wanted: tuple[str, ...]
    native: tuple[str, ...] = ()
    python: str = ""

    def check_python(self) -> None:
        """ModelRefused unless the running interpreter is such a Python."""
        running = ".".join(map(str, sys.version_info[:3]))
        if self.python and not SpecifierSet(self.python).contains(running):
            asked = self.python.removeprefix("==").removesuffix(".*")
            raise ModelRefused(
                f"Python {asked} cannot be had: this node runs on {running}",
                hint="run the node on that Python, or convert the model to ONNX",
            )


def read(name: str, data: bytes) -> Requirements:
    """The list in a file called ``name``, one of NAMES; ModelRefused names the line that is none."""
    if name not in NAMES or len(data) > MAX_BYTES:
        raise ModelRefused(f"a list of requirements is called {' or '.join(NAMES)} and has at most {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ModelRefused(f"{name} is no text") from None
    found = Requirements(_wanted(_lines(text))) if name == TEXT else _conda(text)
    if len(found.wanted) + len(found.native) > MAX_PACKAGES:
        raise ModelRefused(f"{name} names more than {MAX_PACKAGES} packages")
    return found


def _lines(text: str) -> Iterator[str]:
    for line in text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        words = _HASH.sub("", f" {line.split(' #')[0]}").strip()
        if words and not words.startswith("#"):
            yield words


def _wanted(lines: Iterable[str]) -> tuple[str, ...]:
    """Those that this interpreter and machine need, without the conditions (markers), which are judged here."""
    return tuple(filter(None, map(_python, lines)))


def _python(line: str) -> str:
    try:
        requirement = Requirement(line)
        needed = requirement.marker is None or requirement.marker.evaluate()
    except (InvalidRequirement, UndefinedEnvironmentName, UndefinedComparison, ValueError, RecursionError):
        raise ModelRefused(
            f"{line[:80]!r} is no requirement", hint="one package and its version a line: scikit-learn==1.6.1"
        ) from None
    if requirement.url:
        raise ModelRefused(f"{requirement.name} is asked for by an address", hint="name a released version")
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return _plain(f"{requirement.name}{extras}{requirement.specifier}") if needed else ""


def _plain(words: str) -> str:
    if not _WRITTEN.fullmatch(words):
        raise ModelRefused(f"{words[:80]!r} is no requirement", hint="one package and its version: scikit-learn==1.6.1")
    return words


def _conda(text: str) -> Requirements:
    entries = _dependencies(text)
    if not isinstance(entries, list) or len(entries) > MAX_PACKAGES:
        raise ModelRefused(f"the environment file lists no dependencies, or more than {MAX_PACKAGES}")
    wanted: list[str] = []
    native, python = [], ""
    for entry in entries:
        if isinstance(entry, dict) and set(entry) == {"pip"} and isinstance(entry["pip"], list):
            wanted += map(_word, entry["pip"][:MAX_PACKAGES])
            continue
        name, version = _matched(_word(entry))
        if name == "python":
            python = _series(version)
        else:
            native.append(_plain(name + version))  # perhaps no name that a Python package may have
    try:
        SpecifierSet(python)
    except InvalidSpecifier:
        raise ModelRefused(f"{python[:80]!r} is no version of Python") from None
    return Requirements(_wanted(wanted), tuple(native), python)


def _dependencies(text: str) -> Any:
    """What the file lists, of texts, lists and mappings only. Aliases, which make much of little, are refused."""
    try:
        for event in yaml.parse(text, Loader=yaml.BaseLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise ModelRefused("the environment file has anchors or aliases")
        tree = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        raise ModelRefused("the environment file is no YAML") from None
    return tree.get("dependencies") if isinstance(tree, dict) else None


def _word(entry: object) -> str:
    if not isinstance(entry, str):
        raise ModelRefused("the environment file lists something that is no package")
    return entry


def _series(version: str) -> str:
    """Of an exact Python (conda names them to the patch) its series: 3.11 for 3.11.4."""
    if not version.startswith("=="):
        return version
    return f"=={'.'.join(version.removeprefix('==').removesuffix('.*').split('.')[:2])}.*"


def _matched(entry: str) -> tuple[str, str]:
    """(name, version by PEP 440) of conda's ``name=version=build`` and its kin; the build is left out."""
    match = _CONDA.fullmatch(entry.split("#")[0].strip())
    if match is None:
        raise ModelRefused(f"{entry[:80]!r} is no dependency")
    name, rest = match["name"], match["rest"].strip()
    if not _VERSION.fullmatch(rest):
        raise ModelRefused(f"{entry[:80]!r} is no dependency")
    if not rest or rest == "*":
        return name, ""
    if rest[0] in "<>!~":
        return name, rest.replace(" ", "")
    exact = rest.startswith("==")
    version, *build = re.split(r"[=\s]+", rest.lstrip("= "))
    return name, f"=={version}" if exact or build or version.endswith("*") else f"=={version}.*"
