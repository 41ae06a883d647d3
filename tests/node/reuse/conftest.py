"""Nodes with learnwares of digits, and users whose rows are to be predicted."""

from dataclasses import dataclass

import numpy as np
import pytest
from atoll.engine.tables import Table
from atoll.node.clock import now_ms
from atoll.protocol.listings import Offers

BOTH = Offers(disclose="members", predict="members", download="members")
PREDICT = Offers(disclose="members", predict="members")
DOWNLOAD = Offers(disclose="members", download="members")
NOTHING = Offers(disclose="members")
CLASSES = ((0, 1, 2), (2, 3, 4))


@dataclass
class Scene:
    """``node`` is where the user asks; ``low`` knows digits 0 to 2, ``high`` 2 to 4."""

    node: object
    low: str
    high: str
    rows: Table
    labels: np.ndarray

    @property
    def client(self):
        return self.node.client

    async def search(self, rows=None, **how):
        found = await self.client.search_rows(self.rows if rows is None else rows, deadline_ms=10_000, **how)
        return found.search_id


@pytest.fixture
async def here(start, publish, digits):
    """One node that has it all."""
    (node,) = await start("here")
    federation = (await node.client.create_federation("test")).id
    low, high = [await publish(node, federation, BOTH, *classes) for classes in CLASSES]
    return Scene(node, low, high, digits.of(0, 1, 2, 3, 4), digits.labels_of(0, 1, 2, 3, 4))


@pytest.fixture
def apart(federated, publish, changed, digits):
    """``await apart(offers, offers)``: a node that asks and two owners, of ``low`` and of ``high``."""

    async def found(*offers):
        (asker, *owners), federation = await federated("asker", "lower", "higher")
        ids = [
            await publish(owner, federation, offer, *classes)
            for owner, offer, classes in zip(owners, offers, CLASSES, strict=True)
        ]
        await changed(asker, lambda: {e.learnware_id.hex() for e in asker.node.catalogue.alive(now_ms())} >= {*ids})
        await asker.client.add_island(digits.island())
        scene = Scene(asker, *ids, digits.of(0, 1, 2, 3, 4), digits.labels_of(0, 1, 2, 3, 4))
        return scene, owners

    return found
