"""What a search asks, on the command line: words and filters, and the data that it is about."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
from atoll.engine.errors import AtollError
from atoll.engine.island_file import read_island
from atoll.engine.islands import Island, positional_names
from atoll.engine.semantic import DATA, LIBRARIES, LICENSES, SCENARIOS, TASKS, SemanticQuery
from atoll.engine.specs import formats
from atoll.engine.specs.noised import NoisedSketch
from atoll.engine.tables import Table
from atoll.node.api.searches import MAX_DEADLINE_MS
from atoll.node.cli.output import clean
from atoll.node.cli.progress import progress_bars
from atoll.node.cli.referring import federation_of
from atoll.node.client import AsyncClient
from atoll.node.search.fitting import Fitted, disagreeing, fit_rows, read_specification
from atoll.node.search.query import Filters, Privacy
from atoll.protocol.ids import parse_digest, public_key
from atoll.protocol.listings import State
from atoll.protocol.policy import ACTS

File = click.Path(path_type=Path, exists=True, dir_okay=False)
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Question(msgspec.Struct, frozen=True):
    """Words and filters, and how the network is asked."""

    semantic: SemanticQuery
    filters: Filters
    limit: int
    deadline_ms: int | None
    privacy: Privacy

    async def meant(self, client: AsyncClient) -> Question:
        """With the ids of the federations that the filters name; UsageError as :func:`federation_of`."""
        federations = [await federation_of(client, each) for each in self.filters.federation]
        filters = msgspec.structs.replace(self.filters, federation=tuple(federations))
        return msgspec.structs.replace(self, filters=filters)


class Source(msgspec.Struct, frozen=True):
    """The data: a file of rows or of a specification, or neither."""

    data: Path | None
    spec: Path | None
    island: str | None
    impute: bool
    units: dict[str, str]
    epsilon: float | None

    async def fitted(self, client: AsyncClient) -> list[Fitted]:
        """In the islands of the node; empty without data. Rows stay here."""
        if self.spec is not None:
            known = await client.islands()
            return await asyncio.to_thread(read_specification, self.spec, await self._home(), known)
        if self.data is None:
            return []
        if self.epsilon is not None:
            _tell(f"To the node at {client.url}: how many rows {self.data} has, and their SHA-256, for its ledger.")
            return await client.fit_private(self.data, self.epsilon, units=self.units)
        islands = await client.islands()
        with progress_bars() as tell:
            fitted = await asyncio.to_thread(
                fit_rows, self.data, islands, impute=self.impute, units=self.units, progress=tell
            )
        columns = await asyncio.to_thread(lambda data: next(Table.chunks(data, 1)).columns, self.data)
        note([island for island, _ in fitted], str(self.data), columns, self.units)
        return fitted

    async def _home(self) -> Any:
        """The island that was named: what a file defines, or how the id of a known one begins."""
        path = Path(self.island) if self.island else None
        return await asyncio.to_thread(read_island, path) if path is not None and path.is_file() else self.island


def note(islands: Sequence[Island], data: str, columns: tuple[str, ...], units: Mapping[str, str]) -> None:
    """What rows were taken for, where that is not certain."""
    for name, ways in disagreeing(islands, units).items():
        _tell(f"note: {name} is in {' and '.join(ways)} in different islands: say --unit {name}=...")
    if columns:
        return
    for names in dict.fromkeys(island.names for island in islands):
        if names != positional_names(len(names)):
            shown = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
            _tell(f"note: the columns of {data} have no names; they are taken as {shown}, in this order")


def leaving(url: str, question: Question, source: Source, fitted: Sequence[Fitted]) -> str:
    """What this machine sends to the node."""
    parts = [f'the words "{question.semantic.text}"'] if question.semantic.text else []
    if question.semantic.tags() or question.filters != Filters():
        parts.append("your filters")
    for island, given in fitted:
        what = f"{source.data or source.spec} in island {island.id[:8]}"
        if isinstance(given, NoisedSketch):
            parts.append(f"a sketch of {what}, noised (differential privacy, epsilon {given.dp.epsilon:g})")
        else:
            parts.append(f"{len(given.weights)} points that stand for the {given.count} rows of {what}")
    rows = " The rows stay on this machine." if fitted else ""
    return f"To the node at {url}: {'; '.join(parts) or 'nothing but that you search'}.{rows}"


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the ``question`` and the ``source``, and the options that say them."""

    @functools.wraps(command)
    def run(**options: Any) -> None:
        taken = {name: options.pop(name) for name in NAMES}
        command(question=_question(taken), source=_source(taken), **options)

    decorated: Callable[..., None] = run
    for option in reversed(OPTIONS):
        decorated = option(decorated)
    return decorated


def _tell(text: str) -> None:
    click.echo(clean(text), err=True)


def _question(taken: dict[str, Any]) -> Question:
    privacy: Privacy = taken["privacy"] or ("local" if taken["local"] else "rkme")
    if taken["local"] and privacy != "local":
        raise click.UsageError(f"--local and --privacy {privacy} contradict each other")
    _check("--id", taken["learnware_id"], parse_digest)
    _check("--owner", taken["owner"], public_key)
    tags = {name: taken[name] for name in ("data_type", "task", "library", "scenario", "license")}
    semantic = SemanticQuery(taken["text"], *tags.values())
    filters = Filters(
        taken["federation"],
        taken["owner"],
        taken["learnware_id"],
        taken["dimensions"],
        taken["may"],
        taken["state"] or ("live",),
    )
    return Question(semantic, filters, taken["limit"], taken["deadline_ms"], privacy)


def _source(taken: dict[str, Any]) -> Source:
    data, spec, epsilon = taken["data"], taken["spec"], taken["dp_epsilon"]
    if data is not None and spec is not None:
        raise click.UsageError("give --data or --spec, not both")
    if taken["island"] and spec is None:
        raise click.UsageError("--island says of what island --spec is")
    if data is None and (taken["impute"] or taken["unit"] or epsilon is not None):
        raise click.UsageError("--impute, --unit and --dp-epsilon are of --data")
    if epsilon is not None and taken["impute"]:
        raise click.UsageError("column means would tell of rows: no --impute under differential privacy")
    if spec is not None:
        formats.known_suffix(spec)
    units = units_of(taken["unit"])
    return Source(data, spec, taken["island"], taken["impute"], units, epsilon)


def units_of(said: Sequence[str]) -> dict[str, str]:
    """Units by column, of ``COLUMN=UNIT``s."""
    return dict(_unit(each) for each in said)


def _unit(text: str) -> tuple[str, str]:
    name, equals, unit = text.partition("=")
    if not (name and equals and unit):
        raise click.UsageError(f"--unit {text}: expected COLUMN=UNIT, weight=kg say")
    return name.strip(), unit.strip()


def _check(option: str, values: Sequence[str], check: Callable[[str], object]) -> None:
    for value in values:
        try:
            check(value)
        except AtollError as error:
            raise click.UsageError(f"{option}: {error.message}") from None


def _tag(option: str, allowed: tuple[str, ...]) -> Decorator:
    choice = click.Choice(allowed, case_sensitive=False)
    return click.option(option, type=choice, multiple=True, metavar="TAG", help=f"{', '.join(allowed)}.")


OPTIONS: Sequence[Decorator] = (
    click.argument("text", default=""),
    click.option("--data", type=File, help="Rows: CSV with header, .parquet, .arrow, .npy. They stay on this machine."),
    click.option("--spec", type=File, help="What `atoll spec fit` has written, instead of rows."),
    click.option("--island", help="Of what island --spec is: a file, or how the id of one that the node knows begins."),
    click.option("--impute", is_flag=True, help="Put column means where cells of --data are empty or infinite."),
    click.option("--unit", multiple=True, metavar="COLUMN=UNIT", help="In what a column is measured, weight=kg say."),
    click.option("--dp-epsilon", type=float, help="Send a sketch of --data under differential privacy, nothing else."),
    _tag("--task", TASKS), _tag("--data-type", DATA), _tag("--library", LIBRARIES), _tag("--scenario", SCENARIOS),
    _tag("--license", LICENSES),
    click.option("--federation", multiple=True, help="Only what is listed there: a name, or how an id begins."),
    click.option("--owner", multiple=True, metavar="PEER", help="Only what this peer lists."),
    click.option("--id", "learnware_id", multiple=True, metavar="LEARNWARE", help="Only this learnware."),
    click.option("--dimensions", type=int, multiple=True, metavar="N", help="Only with so many input features."),
    click.option("--may", type=click.Choice(ACTS), multiple=True, help="Only what you may do that with."),
    click.option("--state", type=click.Choice(get_args(State)), multiple=True, help="live, unless said otherwise."),
    click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 100), help="Hits, at most."),
    click.option("--deadline-ms", type=click.IntRange(1, MAX_DEADLINE_MS),
                 help="How long owners may take.  [default: the node's]"),
    click.option("--privacy", type=click.Choice(get_args(Privacy)), help="What the node sends to owners: nothing, "
                 "a sketch (512 numbers), or the reduced set.  [default: rkme]"),
    click.option("--local", is_flag=True, help="Short for --privacy local: rank by what the node has, ask nobody."),
)  # fmt: skip
NAMES = (
    "text", "data", "spec", "island", "impute", "unit", "dp_epsilon", "task", "data_type", "library", "scenario",
    "license", "federation", "owner", "learnware_id", "dimensions", "may", "state", "limit", "deadline_ms", "privacy",
    "local",
)  # fmt: skip
