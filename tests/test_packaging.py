"""The package list of pyproject is the tree."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_package_list_is_the_tree():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {path.parent for top in ("engine", "protocol", "node") for path in (ROOT / top).rglob("__init__.py")}
    found = {"atoll", *(".".join(("atoll", *folder.relative_to(ROOT).parts)) for folder in folders)}
    assert listed == found
