"""Federated search on real nodes: as exact as a central dock, as fast as its peers, as private as the user wants.

    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
    python search.py [PART ...] [--package-python PYTHON] [--json]

Prints each figure beside its target and exits with 1 if one misses it. Parts: certainty (of what 40 simulated owners
say), identity (with a central node that holds all), sketches (nothing else disclosed), speed (10 nodes of 1 000
learnwares, and the reference package on the same ones), faults (3 of 10 peers lie, are slow, or are dead),
attackers (who poison the catalogue).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import attackers
import search_certainty
import search_faults
import search_identity
import search_sketches
import search_speed
from search_figures import Figure

PARTS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
    "certainty": search_certainty.measured,
    "identity": search_identity.measured,
    "sketches": search_sketches.measured,
    "speed": search_speed.measured,
    "faults": search_faults.measured,
    "attackers": attackers.measured,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all of them if none is named")
    parser.add_argument("--package-python", help="interpreter with the reference package (or ATOLL_LEARNWARE_PYTHON)")
    parser.add_argument("--json", action="store_true", help="one line of JSON for every figure")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if asked.package_python:
        os.environ["ATOLL_LEARNWARE_PYTHON"] = asked.package_python
    good = True
    for part in asked.parts or PARTS:
        for figure in asyncio.run(PARTS[part]()):
            print(json.dumps({"part": part, **figure.plain()}) if asked.json else figure, flush=True)
            good = good and figure.holds
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
