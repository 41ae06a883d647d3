"""The table of the specification engine: ours beside the reference package in one run.

    python engine.py [--quick]      (--quick leaves out the million sketches)

Name the package's interpreter in ATOLL_LEARNWARE_PYTHON (learnware==0.4.0.post1 with numpy>=2, torch,
fast_pytorch_kmeans); without it our figures stand alone. Process CPU time, one thread each, medians of 5.
"""

from __future__ import annotations

import os
import sys

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # before numpy is imported


def main(quick: bool) -> None:
    import fits
    import images
    import matching
    import privacy

    for row in fits.table():
        print(row, flush=True)
    for row in (*images.specification(), *matching.exact_and_staged_search(), *matching.mixture_search()):
        print(row, flush=True)
    if not quick:
        for row in matching.sketch_search():
            print(row, flush=True)
    for line in privacy.table():
        print(line, flush=True)


if __name__ == "__main__":
    main("--quick" in sys.argv[1:])
