"""Every template as its README says, on a running node: trained, packed, checked, published, and used by others."""

import asyncio
import json
import os
import re
import shlex
import sys

import numpy as np
import pytest
from atoll.engine.tables import Table
from atoll.node.clock import now_ms
from atoll.node.demo.processes import COMMAND
from atoll.protocol.listings import Offers


async def ran(folder, node, *command):
    """What a command prints, run in ``folder`` as somebody at ``node`` would."""
    environment = os.environ | {"ATOLL_URL": node.url, "ATOLL_TOKEN": node.token}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "template",
    [
        "onnx",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("python", "sklearn", "lightgbm", "xgboost", "torch")),
    ],
)
async def test_a_template_packs_passes_publishes_and_predicts(federated, changed, until, tmp_path, template):
    (north, south), federation = await federated("north", "south")
    folder = tmp_path / "mine"
    await ran(tmp_path, north, *COMMAND, "learnware", "new", "--template", template, str(folder))
    await ran(folder, north, sys.executable, "train.py")
    await ran(folder, north, *COMMAND, "island", "mint", "--data", "rows.csv")
    for line in re.findall(r"^atoll (learnware .*)$", (folder / "README.md").read_text(), re.MULTILINE):
        told = await ran(folder, north, *COMMAND, *shlex.split(line), "--json")
    added = json.loads(told)
    assert added["state"] == "accepted"
    await north.client.publish(added["learnware_id"], federation, Offers(predict="members"))
    await changed(south, lambda: len(south.node.catalogue.alive(now_ms())) == 1)
    await until(south, lambda: south.node.catalogue.islands() != [])

    rows = await asyncio.to_thread(Table.read, folder / "rows.csv")
    answer = await south.client.load(added["learnware_id"], send=True).answer(rows)
    assert answer.places == {added["learnware_id"]: "remote"}
    values = np.array(answer.values)
    assert len(values) == len(rows.values)
    assert np.isfinite(values).all()
    assert values.std() > 0
