"""Reuse on real data and real nodes: what each way of using other people's models comes to, beside the package's.

    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
    python reuse.py [--data images|flights] [--seeds 0,1,2] [--users 10] [--work FOLDER]
                    [--package-python PYTHON] [--selector-users 3]
    python reuse.py kill          an owner is killed in the middle of a prediction of 1e5 rows
    python reuse.py stranger      from nothing to predictions and a report with the commands of the documentation

Prints a table for each data set and what is asked of it, and exits with 1 if something is missed. ``--work`` keeps
trained models and the package's figures. Seeds from 100 on are for tuning. Needs lightgbm, pandas, and the data that
reuse_data.py names.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import reuse_kill
import reuse_package
import reuse_stranger
from atoll.engine.islands import Island
from reuse_market import Data, Market, market
from reuse_nodes import federated
from reuse_table import figures, table
from reuse_users import Losses, Timed, through_nodes, times, without_nodes
from search_figures import Figure

DATA: tuple[Data, ...] = ("images", "flights")
THOROUGH = 1  # users of the first seed on which the package's job selector is run as it comes, and timed


def measured(data: Data, asked: argparse.Namespace) -> tuple[str, list[Figure]]:
    """The table of a data set over all seeds, and its figures."""
    ours: Losses = defaultdict(list)
    theirs: Losses = defaultdict(list)
    timed: list[Timed] = []
    for seed in asked.seeds:
        made = market(data, seed, users=asked.users, work=asked.work)
        island = Island.mint(made.learnwares[0].rows)
        timed += times(made, island, 5)
        for found in (without_nodes(made), asyncio.run(_on_nodes(made))):
            _add(ours, found)
        _add(theirs, _package(made, island, asked, THOROUGH if seed == asked.seeds[0] else 0))
    return table(data, ours, theirs), figures(data, ours, theirs, timed)


async def _on_nodes(made: Market) -> Losses:
    async with federated(made) as nodes:
        return await through_nodes(made, nodes)


def _package(made: Market, island: Island, asked: argparse.Namespace, thorough: int) -> Losses:
    """The package's figures; from the folder ``work``, where the same code has left them."""
    run = partial(reuse_package.package_losses, made, island, thorough, asked.selector_users)
    if asked.work is None:
        return _listed(run())
    code = b"".join(Path(__file__).with_name(f"{name}.py").read_bytes() for name in ("package_reuse", "reuse_market"))
    told = (
        made.data,
        made.seed,
        len(made.users),
        thorough,
        asked.selector_users,
        hashlib.sha256(code).hexdigest()[:12],
    )
    kept = asked.work / f"package-{'-'.join(map(str, told))}.npz"
    if not kept.exists():
        losses = run()
        if not losses:
            return {}
        np.savez(kept, **losses)
    with np.load(kept) as file:
        return _listed(dict(file))


def _listed(losses: reuse_package.Losses) -> Losses:
    return {name: values.tolist() for name, values in losses.items()}


def _add(total: Losses, found: Losses) -> None:
    for name, values in found.items():
        total[name] += values


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=("figures", "kill", "stranger"), default="figures")
    parser.add_argument("--data", choices=DATA)
    parser.add_argument("--seeds", type=lambda text: [int(each) for each in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--users", type=int, default=10)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--package-python", help="interpreter with the reference package (or ATOLL_LEARNWARE_PYTHON)")
    parser.add_argument("--selector-users", type=int, default=3, help="of a seed, for the package's job selector")
    parser.add_argument("--install", action="store_true", help="stranger: pip install the checkout first")
    asked = parser.parse_args()
    if asked.package_python:
        os.environ["ATOLL_LEARNWARE_PYTHON"] = asked.package_python
    good = True
    for told, found in _parts(asked):
        print(told, *found, sep="\n", flush=True)
        good = good and all(figure.holds for figure in found)
    return 0 if good else 1


def _parts(asked: argparse.Namespace):
    if asked.part == "kill":
        yield "", asyncio.run(reuse_kill.measured(asked.work))
    elif asked.part == "stranger":
        yield "", asyncio.run(reuse_stranger.measured(asked.work, asked.install))
    else:
        for data in (asked.data,) if asked.data else DATA:
            yield measured(data, asked)


if __name__ == "__main__":
    sys.exit(main())
