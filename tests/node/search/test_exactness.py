"""Search over real nodes in processes of their own: what one central node would find that holds all learnwares.

The market and the comparison are those of ``examples/benchmarks/search.py``.
"""

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "examples" / "benchmarks"


@pytest.fixture
def part_of(monkeypatch):
    """``part_of("identity")`` is that part of the benchmark of search."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return lambda part: importlib.import_module(f"search_{part}")


async def differences(part_of, places, **market):
    made = part_of("market").Market(3, 60, points=(20, 40), **market)
    async with part_of("asking").federated(made, [[1], [2]]) as nodes:
        return await part_of("identity").compared(nodes, made.queries(8), places)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("islands", [1, 2])
async def test_what_is_found_over_owners_is_what_one_node_would_find(part_of, islands):
    found = await differences(part_of, 100, islands=islands)
    assert (found.whole, found.orders, found.wrong) == (8, 0, 0)
    assert found.distance <= 1e-9
    assert found.mixture <= 1e-8
    assert found.weight <= 1e-4
    assert found.representations == {"rkme"}


@pytest.mark.timeout(120)
async def test_what_is_not_disclosed_is_never_called_certain_wrongly(part_of):
    found = await differences(part_of, 5, hidden=0.3)
    assert (found.whole, found.wrong) == (8, 0)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", ["identity", "certainty", "faults"])
async def test_the_figures_of_the_benchmark_hold(part_of, part):
    missed = [str(figure) for figure in await part_of(part).measured() if not figure.holds]
    assert not missed
