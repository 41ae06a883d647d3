"""What a learnware of Python code needs: a ``requirements.txt`` or a conda ``environment.yaml``, read as names and
versions and nothing else. Options, paths and addresses are refused: a list must not say where packages come from.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from atoll.engine.errors import ModelRefused
from packaging.requirements import InvalidRequirement, Requirement

TEXT, CONDA = "requirements.txt", ("environment.yaml", "environment.yml")
NAMES = (TEXT, *CONDA)
MAX_BYTES, MAX_PACKAGES = 64 << 10, 400
_CONDA = re.compile(r"(?:[\w.\-/]+::)?(?P<name>[A-Za-z0-9_][\w.\-]*)\s*(?P<rest>.*)")
_VERSION = re.compile(r"[\w.*<>=!~,+\- ]*")
_HASH = re.compile(r"\s--hash=\S+")


@dataclass(frozen=True)
class Requirements:
    """``wanted`` by PEP 508. ``native`` are those that conda names: some are no Python packages but libraries of the
    system. ``python``: the version that is asked for, "" for any."""

    wanted: tuple[str, ...]
    native: tuple[str, ...] = ()
    python: str = ""

    def check_python(self) -> None:
        """ModelRefused unless the running interpreter is such a Python."""
        running = ".".join(map(str, sys.version_info[:3]))
        asked = self.python.removesuffix(".*")
        if asked and not f"{running}.".startswith(f"{asked}."):
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
    found = Requirements(tuple(map(_python, _lines(text)))) if name == TEXT else _conda(text)
    if len(found.wanted) + len(found.native) > MAX_PACKAGES:
        raise ModelRefused(f"{name} names more than {MAX_PACKAGES} packages")
    return found


def _lines(text: str) -> Iterator[str]:
    for line in text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        words = _HASH.sub("", f" {line.split(' #')[0]}").strip()
        if words and not words.startswith("#"):
            yield words


def _python(line: str) -> str:
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        raise ModelRefused(
            f"{line[:80]!r} is no requirement", hint="one package and its version a line: scikit-learn==1.6.1"
        ) from None
    if requirement.url:
        raise ModelRefused(f"{requirement.name} is asked for by an address", hint="name a released version")
    return str(requirement)


def _conda(text: str) -> Requirements:
    try:
        tree: Any = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        raise ModelRefused("the environment file is no YAML") from None
    entries = tree.get("dependencies") if isinstance(tree, dict) else None
    if not isinstance(entries, list) or len(entries) > MAX_PACKAGES:
        raise ModelRefused(f"the environment file lists no dependencies, or more than {MAX_PACKAGES}")
    wanted, native, python = [], [], ""
    for entry in entries:
        if isinstance(entry, dict) and set(entry) == {"pip"} and isinstance(entry["pip"], list):
            wanted += [_python(str(each)) for each in entry["pip"][:MAX_PACKAGES]]
        elif isinstance(entry, str):
            name, version = _matched(entry)
            if name == "python":
                python = version.lstrip("=").strip() if "," not in version and version[:1] not in "<>!~" else ""
            else:
                native.append(name + version)  # perhaps no name that a Python package may have
        else:
            raise ModelRefused(f"{str(entry)[:80]!r} is no dependency")
    return Requirements(tuple(wanted), tuple(native), python)


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
