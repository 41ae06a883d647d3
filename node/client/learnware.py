"""One learnware as a model: predict with it, wherever its owner lets it run."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from atoll.node.client.reuse import ReuseCalls
    from atoll.node.reuse.result import PredictionResult

T = TypeVar("T")


class Run(Protocol):
    """Waits for a coroutine."""

    def __call__(self, coroutine: Coroutine[Any, Any, T]) -> T: ...


class AsyncLoadedLearnware:
    """``predict`` and ``predict_proba`` as scikit-learn has them; the node downloads the model once and runs it in its
    sandbox, or, where ``send`` allows that, sends the rows to the owner, as the policy has it. ``prefer`` says which,
    where both are."""

    def __init__(
        self, client: ReuseCalls, learnware_id: str, prefer: Literal["local", "remote"] = "local", send: bool = False
    ) -> None:
        self._client = client
        self._prefer = prefer
        self._send = send
        self.id = learnware_id

    async def predict(self, rows: Any) -> NDArray[Any]:
        """Class names (n,) of a classifier, values (n, outputs) of a regressor; rows (n, d) in raw units."""
        answer = await self.answer(rows)
        return np.array(answer.labels) if answer.class_names else np.array(answer.values)

    async def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        """What the model says of each class (n, classes), or its values."""
        return np.array((await self.answer(rows)).values)

    async def answer(self, rows: Any) -> PredictionResult:
        """The whole answer, with where it ran."""
        return await self._client.predict_with(self.id, rows, prefer=self._prefer, send=self._send)


class LoadedLearnware:
    """The same for synchronous code."""

    def __init__(self, learnware: AsyncLoadedLearnware, run: Run) -> None:
        self._learnware = learnware
        self._run = run
        self.id = learnware.id

    def predict(self, rows: Any) -> NDArray[Any]:
        """Class names (n,) of a classifier, values (n, outputs) of a regressor; rows (n, d) in raw units."""
        return self._run(self._learnware.predict(rows))

    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        """What the model says of each class (n, classes), or its values."""
        return self._run(self._learnware.predict_proba(rows))

    def answer(self, rows: Any) -> PredictionResult:
        """The whole answer, with where it ran."""
        return self._run(self._learnware.answer(rows))
