"""A million rows, in memory that does not grow with them."""

import asyncio
import io
import tracemalloc

import numpy as np
import pytest
from atoll.engine.islands import Island
from atoll.engine.packages.convert import to_onnx
from atoll.engine.packages.pack import pack
from atoll.engine.runtime import Signature
from atoll.engine.semantic import SemanticSpec
from atoll.engine.tables import Table
from atoll.node.clock import now_ms
from atoll.node.reuse.query import ReuseQuery
from atoll.node.reuse.rows import Rows
from atoll.protocol.listings import Offers
from sklearn.linear_model import LinearRegression

ROWS, COLUMNS = 1_000_000, tuple(f"x{place:02d}" for place in range(15))
PEAK = 100 << 20  # bytes; rows in float64, shares and outputs of both members would be 150 MiB


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_million_rows_are_predicted_in_bounded_memory(start, tmp_path):
    (running,) = await start("here")
    federation = (await running.client.create_federation("test")).id
    few = np.random.default_rng(0).normal(size=(2000, 15))
    island = Island.mint(Table(few, COLUMNS))
    await running.client.add_island(island)
    for sign in (-1, 1):
        mine = few[few[:, 0] * sign > 0]
        model = LinearRegression().fit(mine, mine.sum(axis=1))
        package = io.BytesIO()
        pack(
            package, to_onnx(model, 15), Table(mine, COLUMNS), island, SemanticSpec(f"Sums {sign}", task="Regression"),
            Signature("regression", 15, 1), owner=running.node.identity.peer, created_at=now_ms(), salt=bytes(16),
        )  # fmt: skip
        added = await running.client.add_learnware(package.getvalue())
        await running.client.publish(added.learnware_id, federation, Offers(predict="members"))
    path = tmp_path / "rows.npy"
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(ROWS, 15))
    for start_ in range(0, ROWS, 50_000):
        array[start_ : start_ + 50_000] = np.random.default_rng(start_).normal(size=(50_000, 15))
    del array
    search_id = (await running.client.search_rows(Table(few, COLUMNS))).search_id
    token = next(iter(running.node.searcher._searches.values())).query.user
    rows = await asyncio.to_thread(Rows.open, path, COLUMNS, ROWS)

    tracemalloc.start()
    reusing = await running.node.reuser.plan(ReuseQuery(search_id, user=token), rows)
    report = await running.node.reuser.start(reusing.id, token, send=False).result()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    print(f"peak {peak / 1e6:.0f} MB, {report.elapsed_ms} ms")
    assert peak < PEAK
    assert report.rows == ROWS
    assert report.abstained == 0
    values = np.load(reusing.predictions, mmap_mode="r")
    for start_ in range(0, ROWS, 250_000):
        expected = np.load(reusing.brief.rows.path, mmap_mode="r")[start_ : start_ + 100].sum(axis=1)
        assert np.allclose(values[start_ : start_ + 100, 0], expected, atol=1e-3)
    assert report.histogram is not None
    assert sum(report.histogram[1]) == ROWS
