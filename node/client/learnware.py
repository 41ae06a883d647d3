"""One learnware as a model: predict with it, wherever its owner lets it run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from atoll.engine.tables import Table
from numpy.typing import NDArray

if TYPE_CHECKING:
    from atoll.node.client.client import AsyncClient
    from atoll.node.reuse.result import PredictionResult


class AsyncLoadedLearnware:
    """``predict`` and ``predict_proba`` as scikit-learn has them; the node downloads the model once and runs it in its
    sandbox, or sends the rows to the owner, as the policy allows. ``prefer`` says which, where both are.

    In a running event loop await ``apredict``.
    """

    def __init__(self, client: AsyncClient, learnware_id: str, prefer: Literal["local", "remote"] = "local") -> None:
        self._client = client
        self._prefer = prefer
        self.id = learnware_id

    def predict(self, rows: Any) -> NDArray[Any]:
        """Class names (n,) of a classifier, values (n, outputs) of a regressor; rows (n, d) in raw units."""
        answer = self._answer(rows)
        return np.array(answer.labels) if answer.class_names else np.array(answer.values)

    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        """What the model says of each class (n, classes), or its values."""
        return np.array(self._answer(rows).values)

    async def apredict(self, rows: Any) -> PredictionResult:
        """The whole answer, with where it ran."""
        return await self._client.predict_with(self.id, Table.of(rows), prefer=self._prefer)

    def _answer(self, rows: Any) -> PredictionResult:
        async def ask() -> PredictionResult:
            async with self._client.copy() as client:
                return await client.predict_with(self.id, Table.of(rows), prefer=self._prefer)

        return asyncio.run(ask())
