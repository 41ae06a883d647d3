"""The owner's ledger of differential privacy: what was spent on which data, and the secrets that the noise comes from.

A secret is committed before anything made with it leaves; asking again for the same rows, island and budget gives the
same secret, so that publishing again spends nothing.
"""

from __future__ import annotations

import hashlib
import math
import secrets

import msgspec
from atoll.engine.encoding import pack
from atoll.engine.errors import PrivacyRefusal, SpecificationError
from atoll.engine.specs.dp import SECRET_BYTES, noise
from atoll.node.store.environment import Store, Transaction

MAX_DATASET = 200


class Spending(msgspec.Struct, frozen=True):
    """A request: ``digest`` is the SHA-256 of the rows in island units, ``dataset`` the name that the budgets of all
    versions of a data set add up under."""

    dataset: str
    digest: bytes
    island: bytes
    rows: int
    epsilon: float
    delta: float

    def check(self) -> Spending:
        """Itself, or what speaks against it: PrivacyRefusal, SpecificationError."""
        if len(self.digest) != 32 or len(self.island) != 32:
            raise SpecificationError("the data and the island of a privacy budget are named by SHA-256")
        if not 1 <= len(self.dataset.strip()) <= MAX_DATASET:
            raise SpecificationError(f"the name of a data set has 1 to {MAX_DATASET} characters")
        noise(self.rows, self.epsilon, self.delta)
        return self


class LedgerRow(msgspec.Struct, frozen=True):
    """One spending, and its secret."""

    spending: Spending
    secret: bytes
    spent_at: int


class Ledger:
    """Thread-safe; spendings add up by basic composition (Dwork and Roth 2014, theorem 3.16)."""

    def __init__(self, store: Store, epsilon_limit: float) -> None:
        self._store = store
        self._limit = epsilon_limit
        self._rows = store.table("privacy", LedgerRow)

    def spend(self, spending: Spending, now: int) -> LedgerRow:
        """The entry of a spending, made if it is new; returns after commit. PrivacyRefusal beyond the limit."""
        key = hashlib.sha256(pack(spending.check())).digest()

        def operation(txn: Transaction) -> LedgerRow:
            known = self._rows.get(txn, key)
            if known is not None:
                return known
            self._check_limit(spending, [row.spending for _, row in self._rows.scan(txn)])
            row = LedgerRow(spending, secrets.token_bytes(SECRET_BYTES), now)
            self._rows.put(txn, key, row)
            return row

        return self._store.write(operation).result()

    def entries(self) -> list[LedgerRow]:
        """All spendings, oldest first."""
        with self._store.view() as txn:
            return sorted((row for _, row in self._rows.scan(txn)), key=lambda row: row.spent_at)

    def _check_limit(self, asked: Spending, spent: list[Spending]) -> None:
        before = math.fsum(each.epsilon for each in spent if each.dataset == asked.dataset)
        if before + asked.epsilon > self._limit * (1 + 1e-9):
            raise PrivacyRefusal(
                f"epsilon {asked.epsilon:g} on {asked.dataset!r} would make {before + asked.epsilon:g}, "
                f"{self._limit:g} is the limit",
                hint="publish with the budget it has already (that costs nothing), or raise privacy.epsilon_limit",
            )
