"""The table of one data set, and what is asked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from reuse_package import LABEL_FREE
from reuse_users import LABELLED, SKETCHES, Timed
from search_figures import Figure

SOFT = "soft routing, RKMEs"
ROWS = (
    "mean in market", "best in market", "top-1", "job selector", "averaging", SOFT, SKETCHES,
    *(f"{name} {count}" for count in LABELLED for name in ("pruning", "augmentation", "auto", "self-trained")),
)  # fmt: skip
SHARES = {"images": ((SOFT, 0.60), (SKETCHES, 0.70))}  # of the package's best label-free loss
Found = Mapping[str, Sequence[float]]


def table(data: str, ours: Found, package: Found) -> str:
    """Means and standard errors over users and seeds, the package's beside ours where it has such a thing."""
    loss = "error rate" if data == "images" else "mean squared error, target in standard units"
    lines = [f"{data}: {loss}, {len(ours[ROWS[0]])} users x seeds", f"{'':26} {'nodes':>17}       {'package':>17}"]
    lines += [f"{name:26} {_cell(ours.get(name))} {_cell(package.get(name))}" for name in ROWS]
    if "voting" in package:
        lines.append(f"{'voting by label':26} {_cell(None)} {_cell(package['voting'])}")
    chosen = [f"{name[8:]} labels: {len(times)}" for name, times in sorted(ours.items()) if name.startswith("chosen")]
    return "\n".join([*lines, f"auto has chosen {', '.join(chosen)}"])


def figures(data: str, ours: Found, package: Found, times: Sequence[Timed]) -> list[Figure]:
    """What "Done when" asks of a data set, and times."""
    mean = {name: float(np.mean(values)) for name, values in ours.items()}
    found = [Figure(f"{data}: one session, 1000 rows through 10 members, wall", 1000 * mean["seconds"], "ms")]
    for name, most in SHARES.get(data, ((SOFT, None), (SKETCHES, None))) if package else ():
        shares = {theirs: _share(ours[name], package[theirs]) for theirs in LABEL_FREE}
        best = max(shares, key=lambda theirs: np.nan_to_num(shares[theirs]))
        found.append(
            Figure(f"{data}: {name}, of the package's best without labels", shares[best], "x", most, note=best)
        )
    of_best = 1.0 if data == "flights" else None
    found.append(
        Figure(f"{data}: {SOFT}, of the best single in the market", mean[SOFT] / mean["best in market"], "x", of_best)
    )
    found += [
        Figure(f"{data}: auto with 100 labels, of {name}", mean["auto 100"] / mean[name], "x", 1.0)
        for name in (SOFT, "self-trained 100")
    ]
    return found + _speed(data, package, times)


def _speed(data: str, package: Found, times: Sequence[Timed]) -> list[Figure]:
    soft, selector = (float(np.median(column)) for column in zip(*times, strict=True))
    found = [
        Figure(f"{data}: soft routing fitted and applied, 1000 rows, CPU", soft, "ms"),
        Figure(f"{data}: our job selector, CPU", selector, "ms"),
    ]
    if package:
        theirs = 1000.0 * float(np.nanmedian(package["selecting"]))
        found += [
            Figure(f"{data}: the package's job selector, CPU", theirs, "ms"),
            Figure(f"{data}: soft routing is faster than that", theirs / soft, "x", 50.0, least=True),
            Figure(f"{data}: our job selector is faster than that", theirs / selector, "x", 50.0, least=True),
        ]
    return found


def _share(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Of mean losses, over the users for whom theirs was run; NaN where there are none."""
    run = np.isfinite(theirs)
    return float(np.mean(np.array(ours)[run]) / np.mean(np.array(theirs)[run])) if run.any() else float("nan")


def _cell(values: Sequence[float] | None) -> str:
    """Mean and standard error, and of how many where that is not all of them."""
    known = np.array([] if values is None else values, np.float64)
    run = known[np.isfinite(known)]
    if not len(run):
        return f"{'':23}"
    error = np.std(run, ddof=1) / np.sqrt(len(run)) if len(run) > 1 else np.nan
    return f"{np.mean(run):9.4f} ±{error:.4f} {'' if len(run) == len(known) else f'({len(run)})':5}"
