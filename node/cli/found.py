"""What a search has found, as people read it: tables, live on a terminal, and whether it holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import nullcontext
from types import MappingProxyType

import click
from atoll.engine.errors import IntegrityError
from atoll.node.cli.output import clean, console, print_table, short, table
from atoll.node.client import AsyncClient, RemoteError, SearchEvent
from atoll.node.client.proof import Proof
from atoll.node.reuse import words
from atoll.node.search.query import Hit, PeerDone, PeerFailed, SearchPlan, SearchResult
from rich.console import Group
from rich.live import Live
from rich.text import Text

FIRST = ("# ", "name", "owner", "licence")
NAMED = 8  # owners, in one line
UNMEASURED = "; distances and their order are not checked, since the query is not in the file"
DISTANCE = ("# similarity", "# MMD²", "known")


async def follow(
    events: AsyncIterator[SearchEvent], planned: Callable[[SearchPlan], None], *, live: bool
) -> SearchResult:
    """The final answer; ``planned`` is told of the plan. If ``live`` hits are shown as they come, until the end."""
    progress = _Progress()
    with Live(console=console, transient=True, auto_refresh=False) if live else nullcontext() as screen:
        async for event in events:
            if isinstance(event.data, SearchPlan):
                planned(event.data)
            progress.take(event)
            if screen is not None:
                screen.update(progress.view(), refresh=True)
    assert progress.answer is not None  # the stream ends with one
    return progress.answer


class _Progress:
    """A search under way."""

    def __init__(self) -> None:
        self.answer: SearchResult | None = None
        self._hits: list[Hit] = []
        self._asked = self._done = self._failed = 0

    def take(self, event: SearchEvent) -> None:
        match event.data:
            case SearchPlan(peers_asked=peers):
                self._asked = len(peers)
            case Hit() as hit:
                self._hits.append(hit)
            case PeerDone():
                self._done += 1
            case PeerFailed():
                self._failed += 1
            case SearchResult() as answer:
                self.answer, self._hits = answer, list(answer.hits)

    def view(self) -> Group:
        failed = f", {self._failed} did not answer" if self._failed else ""
        state = Text(f"{self._done} of {self._asked} owners have answered{failed} ...", "dim")
        hits = [table("Hits so far", *_hits(self._hits[: max(1, console.height - 8)]))] if self._hits else []
        return Group(*hits, state)


async def names_of(client: AsyncClient, answer: SearchResult) -> dict[str, str]:
    """Names of owners, by peer id: the hits tell them, else the node does whom it knows, to whom it tells that."""
    told = {holder.owner: holder.owner_name for hit in answer.hits for holder in hit.holders}
    told |= {hit.owner: hit.owner_name for hit in answer.hits}
    if not all(map(told.get, answer.peers_asked)):
        try:
            own = await client.node()
            told |= {own.peer_id: own.name} | {peer.peer_id: peer.name for peer in await client.peers()}
        except RemoteError:
            pass  # to whom anybody may search, not everybody may see peers: ids do
    return {owner: name for owner, name in told.items() if name}


def show(answer: SearchResult, names: Mapping[str, str] = MappingProxyType({}), *, ids: bool = True) -> None:
    """The answer; with the ``ids`` of hits for whoever goes on with one."""
    print_table("Hits", *_hits(answer.hits, islands=len(answer.islands) > 1))
    if ids:
        for number, hit in enumerate(answer.hits, start=1):
            console.print(Text(f"{number:>2}  {hit.learnware_id}", "dim"))
    if answer.mixture and answer.mixture.members:
        print_table(
            f"Mixture, which explains {words.percent(answer.mixture.explained)} of your data, "
            f"MMD² {answer.mixture.mmd2:.4f}",
            ["name", "owner", "# weight"],
            [
                *(
                    (each.name, names.get(each.owner, short(each.owner)), words.percent(each.weight))
                    for each in answer.mixture.members
                ),
                ("covered by none", "", words.percent(answer.mixture.uncovered)),
            ],
        )
    if answer.advice:
        click.echo(clean(answer.advice))
    for line in _about(answer, names):
        click.echo(clean(line))


def failures(answer: SearchResult, names: Mapping[str, str]) -> str:
    """Who did not answer, and why."""
    told = [f"{names.get(peer, short(peer))} ({why})" for peer, why in answer.peers_failed.items()]
    return clean(f"{len(told)} of {len(answer.peers_asked)} owners did not answer: " + "; ".join(told))


def judge(
    found: Sequence[Proof], unproven: Sequence[str], tell: Callable[[str], None], *, measured: bool = True
) -> None:
    """Say whether the hits hold; IntegrityError names those that do not. Distances are ``measured`` where the query is
    known that they are to."""
    bad = [each for each in found if each.faults]
    for each in bad:
        tell(clean(f"does not hold: {each.name} ({each.learnware_id}) of {each.owner}: {'; '.join(each.faults)}"))
    if unproven:
        tell(clean(f"not proven: {', '.join(unproven)}, in the mixture but not among the hits (see --limit)"))
    if bad:
        names = ", ".join(f"{each.name} of {short(each.owner)}" for each in bad)
        raise IntegrityError(clean(f"{len(bad)} of {len(found)} hits are not what their owners have signed: {names}"))
    tell(f"Verified: all {len(found)} hits are what their owners have signed{'' if measured else UNMEASURED}.")


def _hits(hits: Sequence[Hit], *, islands: bool = False) -> tuple[Sequence[str], list[Sequence[object]]]:
    """Columns and rows; without those on distances where the search was by words, with ``islands`` where it was in
    several: their distances are not comparable."""
    by_data = any(hit.mmd2 is not None for hit in hits)
    rows: list[Sequence[object]] = []
    for number, hit in enumerate(hits, start=1):
        where = ((hit.island or "")[:8],) if islands else ()
        known = (words.percent(hit.similarity or 0.0), hit.mmd2, _known(hit)) if by_data else ()
        allowed = [act for act in hit.may if act != "match"]  # what is found may be matched
        may = allowed if hit.state == "live" else [hit.state]
        rows.append((number, hit.name, _owner(hit), hit.license, *where, *known, may))
    return (*FIRST, *(("island",) if islands else ()), *(DISTANCE if by_data else ()), "may"), rows


def _owner(hit: Hit) -> str:
    name = hit.owner_name or short(hit.owner)
    return f"{name} and {len(hit.holders)} more" if hit.holders else name


def _known(hit: Hit) -> str:
    """How its distance is known."""
    marks = ["contradicts its listing"] if hit.suspect else []
    marks += ["near to everything"] if hit.hub else []
    return ", ".join(["sketch" if hit.estimated else f"± {hit.band:g}" if hit.band else "exact", *marks])


def _about(answer: SearchResult, names: Mapping[str, str]) -> list[str]:
    islands = ", ".join(island[:8] for island in answer.islands)
    lines = [f"Searched {len(answer.islands)} islands: {islands}."] if len(answer.islands) > 1 else []
    lines.append(f"{_asked(answer, names)}, in {answer.elapsed_ms} ms; {_certainty(answer)}.")
    if answer.peers_doubted:
        doubted = ", ".join(names.get(peer, short(peer)) for peer in answer.peers_doubted)
        lines.append(f"What they say contradicts what they have signed: {doubted}.")
    return [*lines, f"Search id {answer.search_id}"]


def _asked(answer: SearchResult, names: Mapping[str, str]) -> str:
    if not answer.peers_asked:
        return "No owner was asked"
    if answer.peers_failed:
        return failures(answer, names)
    told = ", ".join(sorted(names.get(peer, short(peer)) for peer in answer.peers_asked)[:NAMED])
    more = f" and {len(answer.peers_asked) - NAMED} more" if len(answer.peers_asked) > NAMED else ""
    if len(answer.peers_asked) == 1:
        return f"The one owner asked has answered ({told})"
    return f"All {len(answer.peers_asked)} owners asked have answered ({told}{more})"


def _certainty(answer: SearchResult) -> str:
    if not answer.islands:
        return "words and filters need no owner"
    certain = "are certain" if answer.topk_exact else "may differ from this where distances are close"
    return f"the hits and their order {certain}"
