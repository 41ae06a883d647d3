"""Where the interpreter, its libraries and this package lie, so that a sandbox can be given these and nothing else.

A warm parent starts as ``python -I -S -B -u -c BOOTSTRAP``: no site, no .pth files, no environment; the package is
found by its folder, whether it was installed or is edited in place.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import site
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import NamedTuple

import atoll.engine
from atoll.engine.runtime.formats import Level

SANDBOX_PACKAGE, SANDBOX_ENVIRONMENT, SANDBOX_LEARNWARE = "/atoll", "/environment", "/learnware"
BOOTSTRAP = """
import importlib.util, sys
package, places = sys.argv[1], sys.argv[2].split(":")
sys.path += [place for place in places if place]
spec = importlib.util.spec_from_file_location("atoll", package + "/__init__.py", submodule_search_locations=[package])
sys.modules["atoll"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from atoll.engine.runtime.warm import main
main(sys.argv[3:])
"""
SYSTEM = ("/usr/lib", "/usr/lib64", "/lib", "/lib64")
DEVICES = ("/dev/null", "/dev/urandom", "/dev/random", "/dev/zero")


class Folders(NamedTuple):
    """What a warm parent may read beside the runtime: the packages of an environment, which are found before the node's
    own, and the files of a learnware; "" for none."""

    environment: str = ""
    learnware: str = ""

    def at(self, level: Level) -> Folders:
        """Where they are within a sandbox of this level: at the strong one in places of their own."""
        if level != "strong":
            return self
        return Folders(SANDBOX_ENVIRONMENT if self.environment else "", SANDBOX_LEARNWARE if self.learnware else "")


class Layout(NamedTuple):
    """Absolute paths. ``places`` go on sys.path, ``libraries`` are what has to be readable beside the system's."""

    interpreter: str
    package: str
    engine: str
    places: tuple[str, ...]
    libraries: tuple[str, ...]

    def command(self, package: str, environment: str, *arguments: str) -> list[str]:
        """``environment`` is a folder of packages within the sandbox, or ""."""
        options = ("-I", "-S", "-B", "-u", "-c", BOOTSTRAP)
        return [self.interpreter, *options, package, ":".join((environment, *self.places)), *arguments]


@cache
def layout() -> Layout:
    """Of the running interpreter."""
    paths = sysconfig.get_paths()
    places = [paths["purelib"], paths["platlib"], *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        places.append(site.getusersitepackages())
    places = [place for place in dict.fromkeys(places) if os.path.isdir(place)]
    libraries = [paths["stdlib"], paths["platstdlib"], *places, *_shared_libraries()]
    return Layout(
        os.path.realpath(sys.executable),
        os.path.dirname(os.path.abspath(atoll.__file__ or "")),
        os.path.realpath(os.path.dirname(atoll.engine.__file__ or "")),
        tuple(places),
        tuple(path for path in dict.fromkeys(libraries) if os.path.exists(path)),
    )


def _shared_libraries() -> list[str]:
    """Of an interpreter that is not one file."""
    found: list[str] = []
    for folder in {f"{sys.base_prefix}/lib", str(sysconfig.get_config_var("LIBDIR"))}:
        with contextlib.suppress(OSError):  # the one that was built into an interpreter which has been moved
            found += map(str, Path(folder).glob("libpython*.so*"))
    return sorted(found)


def readable(level: Level, folders: Folders = Folders()) -> tuple[str, ...]:  # noqa: B008 - immutable
    """All that a worker may read, for Landlock."""
    here = layout()
    strong = level == "strong"
    package = (SANDBOX_PACKAGE,) if strong else (here.engine, os.path.realpath(f"{here.package}/__init__.py"))
    return (*SYSTEM, *here.libraries, *package, *DEVICES, *filter(None, folders.at(level)))


def bubblewrap(here: Layout, inner: list[str], folders: Folders = Folders()) -> list[str]:  # noqa: B008 - immutable
    """``inner`` in every namespace of its own, under a read-only root that holds :func:`readable` and nothing else."""
    binary = shutil.which("bwrap") or "bwrap"
    binds: list[str] = []
    for path in SYSTEM:
        if os.path.islink(path):
            binds += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            binds += ["--ro-bind", path, path]
    for path in (here.interpreter, *here.libraries, "/etc/ld.so.cache"):
        if not path.startswith(("/usr/lib/", "/usr/lib64/")):
            binds += ["--ro-bind-try", path, path]
    for path in DEVICES:
        binds += ["--dev-bind", path, path]
    for outside, inside in zip(folders, folders.at("strong"), strict=True):
        if outside:
            binds += ["--ro-bind", outside, inside]
    return [
        binary, "--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL",
        "--uid", "65534", "--gid", "65534", "--hostname", "model",
        "--size", str(1 << 20), "--tmpfs", "/tmp", *binds,
        "--ro-bind", here.engine, f"{SANDBOX_PACKAGE}/engine",
        "--ro-bind", os.path.realpath(f"{here.package}/__init__.py"), f"{SANDBOX_PACKAGE}/__init__.py",
        "--remount-ro", "/", "--chdir", "/", "--", *inner,
    ]  # fmt: skip
