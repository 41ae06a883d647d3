"""The first visit's example: a private federation of this node alone, and learnwares that are trained, packed, checked
and listed as any other. What it made is marked in the store, so that exactly that can be removed."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from atoll.engine.errors import AtollError
from atoll.engine.islands import Island, adopted
from atoll.engine.tables import Table
from atoll.node.api.acts import noting
from atoll.node.api.federations import FederationBody, found, leave_federation
from atoll.node.api.islands import known_islands
from atoll.node.api.learnwares import accepted, list_in, withdraw
from atoll.node.api.scratch import scratch
from atoll.node.clock import now_ms
from atoll.node.demo import market
from atoll.node.store.dock import Learnware
from atoll.node.store.environment import Store
from atoll.node.store.federations import Federation
from atoll.node.store.tokens import TokenRow
from atoll.protocol.policy import Policy

if TYPE_CHECKING:
    from atoll.node.app import Node

log = logging.getLogger("atoll.web")
NAME = "Example"
MARK = "example"
LABELLED = 100  # rows of the sample that come with their answers, to measure by
REMEMBERED = 64  # users whose last search of the sample is known
TARGET = "digit"


class Stands(NamedTuple):
    """``steps`` are what has been done by now of what is being made, or was made last; ``fault`` is what ended it."""

    making: bool
    steps: tuple[str, ...]
    fault: str


class Made(NamedTuple):
    """What is here of it."""

    learnwares: tuple[Learnware, ...]
    federation: Federation | None


class Example:
    """Lives in the asyncio loop; what blocks is done in threads. One at a time is made, by :meth:`run`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._orders: asyncio.Queue[TokenRow] = asyncio.Queue()
        self._news = asyncio.Event()
        self._stands = Stands(False, (), "")
        self._searched: OrderedDict[str, str] = OrderedDict()

    @property
    def stands(self) -> Stands:
        return self._stands

    def order(self, token: TokenRow) -> None:
        """Have it made in the name of a token, unless that is under way."""
        if not self._stands.making:
            self._tell(Stands(True, (), ""))
            self._orders.put_nowait(token)

    async def run(self, node: Node) -> None:
        """Make what is ordered, until cancelled."""
        while True:
            token = await self._orders.get()
            try:
                await self._make(node, token)
                self._tell(self._stands._replace(making=False))
            except* AtollError as errors:
                fault = _first(errors)
                self._tell(self._stands._replace(making=False, fault=fault.message))
            except* Exception as errors:  # the outermost edge: the next order has to come to its turn
                log.error("the example could not be made", exc_info=errors)
                self._tell(self._stands._replace(making=False, fault="an unexpected error; the node's log says more"))

    async def following(self) -> AsyncIterator[Stands]:
        """How it stands, now and whenever that changes, until it is made."""
        seen = None
        while True:
            news = self._news
            if self._stands == seen:
                await news.wait()
                continue
            seen = self._stands
            yield seen
            if not seen.making:
                return

    def made(self, node: Node) -> Made:
        """What is here still, as it was made: what somebody has made a revision of is theirs; blocking."""
        learnwares = [each for each in node.dock.all() if self._marked("learnware", each.row.revision)]
        learnwares.sort(key=lambda each: each.manifest.semantic.name)
        federations = [each for each in node.federations.all() if self.founded(each)]
        return Made(tuple(learnwares), federations[0] if federations else None)

    def founded(self, federation: Federation) -> bool:
        """Whether it is the example's; blocking."""
        return self._marked("federation", federation.id)

    async def remove(self, node: Node, token: TokenRow) -> bool:
        """All that was made, but for the federation if somebody uses it by now; whether that is gone too."""
        made = await asyncio.to_thread(self.made, node)
        for each in made.learnwares:
            async with noting(node.audit, token, "learnware.remove", {"id": each.id.hex()}):
                await withdraw(node, each.id)
            await asyncio.to_thread(self._store.unmark, _mark("learnware", each.row.revision))
        if made.federation is None:
            return True
        id_ = made.federation.id
        if len(node.federations.members(id_, now_ms())) > 1 or node.catalogue.of_owner(id_, node.identity.public):
            return False
        async with noting(node.audit, token, "federation.leave", {"id": id_.hex()}):
            await leave_federation(node, id_)
        await asyncio.to_thread(self._store.unmark, _mark("federation", id_))
        return True

    def searched(self, user: str, search: str = "") -> str:
        """The last search of the sample by a user; ``search`` is another one."""
        if search:
            self._searched[user] = search
            self._searched.move_to_end(user)
            while len(self._searched) > REMEMBERED:
                self._searched.popitem(last=False)
        return self._searched.get(user, "")

    async def _make(self, node: Node, token: TokenRow) -> None:
        example = await asyncio.to_thread(_trained)
        self._done("trained")
        made = await asyncio.to_thread(self.made, node)
        federation = made.federation.id if made.federation is not None else await self._found(node, token)
        self._done("federation")
        here = {each.manifest.semantic.name for each in made.learnwares}
        missing = [each for each in example.products if each.name not in here]
        islands = [await self._island(node, token, each) for each in missing]
        async with asyncio.TaskGroup() as group:
            for product, island in zip(missing, islands, strict=True):
                group.create_task(self._publish(node, token, federation, product, island))

    async def _found(self, node: Node, token: TokenRow) -> bytes:
        async with noting(node.audit, token, "federation.create", {"name": NAME}):
            view = await found(node, FederationBody(NAME))
        id_ = bytes.fromhex(view.id)
        await asyncio.to_thread(self._store.mark, _mark("federation", id_), now_ms())
        return id_

    async def _publish(
        self, node: Node, token: TokenRow, federation: bytes, product: market.Product, island: Island
    ) -> None:
        package = await asyncio.to_thread(market.packed, product, island, node.identity.peer, now_ms())
        async with scratch(node.blobs) as file:
            await asyncio.to_thread(Path(file.name).write_bytes, package)
            digest = await asyncio.to_thread(node.acceptance.uploads.take, Path(file.name))
        async with noting(node.audit, token, "learnware.submit", {"sha256": digest.hex()}):
            learnware = await accepted(node, digest, token.id, product.labelled)
        await asyncio.to_thread(self._store.mark, _mark("learnware", learnware.row.revision), now_ms())
        subject = {"id": learnware.id.hex(), "federation": federation.hex()}
        async with noting(node.audit, token, "learnware.publish", subject) as more:
            await list_in(node, learnware.id, federation, Policy.of(product.offers), more)
        self._done(product.name)

    async def _island(self, node: Node, token: TokenRow, product: market.Product) -> Island:
        """One that is known and takes its rows, or a new one of all rows of that kind."""
        known = adopted(await asyncio.to_thread(known_islands, node), product.rows)
        if known is not None:
            return known
        alike = [each.rows for each in _trained().products if each.rows.columns == product.rows.columns]
        island = await asyncio.to_thread(Island.mint, Table.together(alike))
        async with noting(node.audit, token, "island.add", {"id": island.id, "kind": island.kind}):
            await asyncio.to_thread(node.catalogue.add_island, island)
        return island

    def _done(self, step: str) -> None:
        self._tell(self._stands._replace(steps=(*self._stands.steps, step)))

    def _tell(self, stands: Stands) -> None:
        self._stands = stands
        self._news.set()
        self._news = asyncio.Event()

    def _marked(self, kind: str, id_: bytes) -> bool:
        return self._store.marked(_mark(kind, id_)) is not None


def sample(*, labelled: bool = False) -> bytes:
    """The user's rows as CSV; ``labelled``: a few of them, with the answers in the column ``digit``. Blocking."""
    user = _trained().user
    count = LABELLED if labelled else len(user.labels)
    lines = [",".join([*user.rows.columns, *([TARGET] if labelled else [])])]
    for values, label in zip(user.rows.values[:count], user.labels[:count], strict=True):
        lines.append(",".join([f"{value:g}" for value in values] + ([str(label)] if labelled else [])))
    return ("\n".join(lines) + "\n").encode()


@cache
def _trained() -> market.Example:
    return market.example()


def _mark(kind: str, id_: bytes) -> str:
    return f"{MARK}.{kind}.{id_.hex()}"


def _first(errors: BaseExceptionGroup[AtollError]) -> AtollError:
    found = errors.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
