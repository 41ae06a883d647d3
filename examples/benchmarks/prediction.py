"""Predictions of one real node's model asked for by another over loopback: rows per second.

python prediction.py [--rows 10000] [--times 7]
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import secrets
import tempfile
from pathlib import Path
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from atoll.engine.islands import Island
from atoll.engine.packages.convert import to_onnx
from atoll.engine.packages.pack import pack
from atoll.engine.runtime import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.engine.tables import Table
from atoll.node.app import running
from atoll.node.clock import now_ms
from atoll.node.demo.processes import institution, make_home
from atoll.protocol.listings import Offers
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

COLUMNS = tuple(f"pixel_{place:02d}" for place in range(64))


async def measured(folder: Path, count: int, times: int) -> list[float]:
    """Seconds of each round; the first, which starts the model, is not among them."""
    values, labels = load_digits(return_X_y=True)
    island = Island.mint(Table(values, COLUMNS))
    model = LogisticRegression(max_iter=2000).fit(values, labels)
    await make_home("asker", folder / "asker")
    async with institution("owner", folder / "owner") as owner, running(folder / "asker") as asker:
        federation = (await owner.client.create_federation("measured")).id
        package = io.BytesIO()
        pack(
            package, to_onnx(model, 64), Table(values, COLUMNS), island, SemanticSpec("Digits"),
            Signature("classification", 64, 10), owner=owner.endpoint.peer_id, created_at=now_ms(),
            salt=secrets.token_bytes(16), class_names=tuple(map(str, range(10))),
        )  # fmt: skip
        await owner.client.add_island(island)
        added = await owner.client.add_learnware(package.getvalue())
        await owner.client.publish(added.learnware_id, federation, Offers(predict="members"))
        from atoll.protocol.membership import read_invite

        await asker.network.join(read_invite((await owner.client.invite(federation)).invite))
        async with asyncio.timeout(30):
            while not asker.catalogue.alive(now_ms()):
                await asyncio.sleep(0.05)
        (listing,) = asker.catalogue.alive(now_ms())
        rows = Table(np.resize(values, (count, 64)), COLUMNS)
        found = []
        for _ in range(times + 1):
            started = perf_counter()
            await asker.reuser.predict_with(listing, island, rows, "remote", "somebody", send=True)
            found.append(perf_counter() - started)
        return found[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="atoll-prediction-") as folder:
        seconds = asyncio.run(measured(Path(folder), options.rows, options.times))
    median = float(np.median(seconds))
    print(f"{options.rows} rows x 64 at their owner: {median:.3f} s (median of {options.times}), "
          f"{options.rows / median:,.0f} rows/s, at best {options.rows / min(seconds):,.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
