"""``spec fit|show|convert|audit``: statistical specifications, with a node or without. Rows stay on this machine."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any, Literal

import click
import msgspec
import numpy as np
from atoll.engine.encoders import island_of
from atoll.engine.errors import DimensionMismatch, PrivacyRefusal
from atoll.engine.island_file import read_island, write_island
from atoll.engine.islands import Island
from atoll.engine.specs import formats
from atoll.engine.specs.report import ROWS_IN_THE_OPEN, ROWS_PER_POINT, PrivacyReport
from atoll.engine.specs.rkme import MAX_POINTS, Rkme
from atoll.engine.specs.rows import Progress
from atoll.node.cli import rows
from atoll.node.cli.connection import connected
from atoll.node.cli.output import json_option, print_json, print_table, short
from atoll.node.cli.progress import progress_bars
from atoll.node.client import AsyncClient
from atoll.node.errors import NodeUnreachable
from numpy.typing import NDArray

File = click.Path(path_type=Path, exists=True, dir_okay=False)
Target = click.Path(path_type=Path, dir_okay=False)
Kind = Literal["table", "image", "text"]
kind_option = click.option(
    "--kind", type=click.Choice(["table", "image", "text"]), default="table", show_default=True,
    help="Images: a .npy, uint8 (n, H, W) or (n, H, W, C). Texts: one a line, or .jsonl.",
)  # fmt: skip
island_option = click.option(
    "--island", "definition", type=File, help="A file with the island's definition; no node is asked then."
)
impute_option = click.option("--impute", is_flag=True, help="Put column means where cells are empty or infinite.")
KEPT = {"rows_behind_least": ROWS_PER_POINT, "within_hundredth": 0.0, "within_tenth": 0.0, "membership_auc": None}
RULES: dict[str, tuple[str, ...]] = {
    f"{ROWS_PER_POINT} rows stand behind every point": ("rows_behind_least",),
    "no point gives a row away": ("within_hundredth", "within_tenth"),
    "membership cannot be guessed": ("membership_auc",),
}


class Verdict(msgspec.Struct, frozen=True):
    """Whether a rule of the privacy gate holds (None: not measured), and what breaks it."""

    rule: str
    ok: bool | None
    broken: tuple[str, ...] = ()


@click.group()
def spec() -> None:
    """Fit, look at, convert and audit statistical specifications."""


@spec.command()
@click.argument("data", type=File)
@click.option("-o", "--output", type=Target, required=True, help="The file to write: .rkme, .json or .npz.")
@click.option("--size", default=100, show_default=True, type=click.IntRange(1, MAX_POINTS), help="Points, at most.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="The same gives the same points.")
@impute_option
@island_option
@click.option("--new-island", is_flag=True, help="Mint an island from DATA; its definition goes beside the output.")
@kind_option
@json_option
@connected
async def fit(
    client: AsyncClient, data: Path, output: Path, size: int, seed: int, impute: bool, definition: Path | None,
    new_island: bool, kind: Kind, as_json: bool,
) -> None:  # fmt: skip
    """Fit an RKME to DATA, in an island that the node knows or in that of --island or --new-island.

    DATA is a CSV file with a header, or .npy, .parquet, .arrow; it may be larger than the memory.
    """
    formats.known_suffix(output)
    island = await _island(client, data, kind, definition, new_island)
    with progress_bars() as tell:
        rkme, report = await asyncio.to_thread(_fitted, data, island, size, seed, impute, tell)
    formats.write(rkme, output)
    beside = output.with_suffix(".island.json") if new_island else None
    if beside:
        write_island(island, beside)
    _say_fitted(output, island, beside, report, as_json)


@spec.command()
@click.argument("path", type=File, metavar="FILE")
@click.option("--draw", "picture", type=Target, help="Also draw it: an .svg or .png to write.")
@json_option
def show(path: Path, picture: Path | None, as_json: bool) -> None:
    """Show what FILE says of its data, as figures and as a picture of its points."""
    rkme, note = formats.read(path)
    _tell_note(note)
    if picture:
        from atoll.engine.specs.picture import draw

        draw(rkme, picture)
    facts = {
        "points": len(rkme.weights), "dimension": rkme.dimension, "rows": rkme.count, "gamma": rkme.gamma,
        "squared_norm": rkme.norm2,
    }  # fmt: skip
    if as_json:
        print_json({**facts, "picture": str(picture)} if picture else facts)
        return
    for name, value in facts.items():
        click.echo(f"{name:13} {value:g}")
    if picture:
        click.echo(f"{'picture':13} {picture}")


@spec.command()
@click.argument("source", type=File, metavar="IN")
@click.argument("target", type=Target, metavar="OUT")
@json_option
def convert(source: Path, target: Path, as_json: bool) -> None:
    """Convert between Atoll's .rkme, Beimingwu's table format .json, and .npz, by the suffixes of IN and OUT."""
    formats.known_suffix(target)
    rkme, note = formats.read(source)
    formats.write(rkme, target)
    if as_json:
        print_json({"output": str(target), "points": len(rkme.weights), "rows": rkme.count, "note": note})
        return
    _tell_note(note)
    click.echo(f"{target}: {len(rkme.weights)} points for {rkme.count} rows")


@spec.command()
@click.argument("path", type=File, metavar="FILE")
@click.argument("data", type=File)
@click.option("--held-out", type=File, help="Rows of the same distribution that FILE was not fitted to.")
@impute_option
@island_option
@kind_option
@json_option
@connected
async def audit(
    client: AsyncClient, path: Path, data: Path, held_out: Path | None, impute: bool, definition: Path | None,
    kind: Kind, as_json: bool,
) -> None:  # fmt: skip
    """Measure what FILE tells of single rows of DATA, to which it was fitted; exit code 15 if it tells too much.

    Without --held-out, membership is attacked in a specification that is fitted anew to one half of DATA.
    """
    rkme, note = formats.read(path)
    _tell_note(note)
    island = await _island(client, data, kind, definition)
    _check_fits(rkme, island)
    with progress_bars() as tell:
        report = await asyncio.to_thread(_audited, rkme, data, held_out, island, impute, tell)
    verdicts = _verdicts(report)
    if as_json:
        print_json({"report": report, "rules": verdicts, "open_federations": report.rows >= ROWS_IN_THE_OPEN})
    else:
        _print_audit(report, verdicts)
    if report.rows != rkme.count:
        _tell_note(f"FILE summarises {rkme.count} rows, DATA has {report.rows}: are they the same?")
    if broken := report.violations():
        raise PrivacyRefusal("; ".join(broken), hint="fit it anew with `atoll spec fit`, or with fewer points")


@spec.command()
@json_option
@connected
async def ledger(client: AsyncClient, as_json: bool) -> None:
    """What was spent on which data under differential privacy, and how much by data set."""
    spent = await client.privacy_spendings()
    if as_json:
        print_json(spent)
        return
    rows = [(each.dataset, each.epsilon, f"{each.delta:g}", each.rows, short(each.island)) for each in spent]
    print_table("Spent", ["data set", "# epsilon", "# delta", "# rows", "island"], rows)
    names = sorted({each.dataset for each in spent})
    totals = [(name, math.fsum(each.epsilon for each in spent if each.dataset == name)) for name in names]
    print_table("By data set", ["data set", "# epsilon"], totals)


async def _island(
    client: AsyncClient, data: Path, kind: Kind, definition: Path | None, new_island: bool = False
) -> Island:
    if (definition is not None) + new_island + (kind != "table") > 1:
        raise click.UsageError("give one of --island, --new-island and --kind: images and texts have their own islands")
    if kind != "table":
        return island_of(kind)
    if definition is not None:
        return await asyncio.to_thread(read_island, definition)
    if new_island:
        return await asyncio.to_thread(rows.mint, data)
    try:
        return await client.adopt_island(await asyncio.to_thread(rows.first_rows, data))
    except NodeUnreachable as error:
        raise NodeUnreachable(
            error.message, hint="start it with `atoll serve`, or do without: --island FILE (or --new-island, to fit)"
        ) from None


def _fitted(
    data: Path, island: Island, size: int, seed: int, impute: bool, tell: Progress
) -> tuple[Rkme, PrivacyReport]:
    from atoll.engine.specs import fit_rkme
    from atoll.engine.specs.privacy import gate

    blocks = rows.Blocks(data, island, tell)
    checked = blocks.finite(impute=impute)
    rkme = fit_rkme(lambda: checked, size, island.gamma, seed, progress=tell)
    report = gate(rkme, checked, tell)
    if broken := report.violations():
        raise PrivacyRefusal("; ".join(broken), hint="fit fewer points: --size")
    return rkme, report


def _say_fitted(output: Path, island: Island, beside: Path | None, report: PrivacyReport, as_json: bool) -> None:
    if as_json:
        print_json({
            "output": str(output), "points": report.points, "rows": report.rows, "island": island.id,
            "definition": str(beside) if beside else None, "report": report, "rules": _verdicts(report),
        })  # fmt: skip
        return
    click.echo(f"{output}: {report.points} points for {report.rows} rows, island {short(island.id)}")
    if beside:
        click.echo(f"{beside}: the island's definition, for others to fit in it (--island)")
    click.echo(
        f"Privacy gate: rules 1 and 2 hold (at least {report.rows_behind_least} rows behind every point, "
        "none gives a row away)."
    )
    if report.rows < ROWS_IN_THE_OPEN:
        click.echo(f"Fewer than {ROWS_IN_THE_OPEN} rows: it stays in private federations.")


def _check_fits(rkme: Rkme, island: Island) -> None:
    if not rkme.comparable(island):
        raise DimensionMismatch(
            f"a specification of {rkme.dimension} dimensions, gamma {rkme.gamma:g}, is not one of island "
            f"{short(island.id)}: {island.dimension} dimensions, gamma {island.gamma:g}",
            hint="name the island it was fitted in: --island FILE",
        )


def _audited(
    rkme: Rkme, data: Path, held_out: Path | None, island: Island, impute: bool, tell: Progress
) -> PrivacyReport:
    from atoll.engine.specs import privacy

    def whole(path: Path) -> NDArray[np.float32]:
        return np.concatenate(list(rows.Blocks(path, island, tell).finite(impute=impute)))

    members = whole(data)
    others = whole(held_out) if held_out else None
    tell("gate", 0, 0)
    return privacy.self_audit(rkme, members) if others is None else privacy.audit(rkme, members, others)


def _verdicts(report: PrivacyReport) -> list[Verdict]:
    return [_verdict(rule, fields, report) for rule, fields in RULES.items()]


def _verdict(rule: str, fields: tuple[str, ...], report: PrivacyReport) -> Verdict:
    """One rule by itself: as if the figures of the others were good."""
    others: dict[str, Any] = {name: value for name, value in KEPT.items() if name not in fields}
    broken = msgspec.structs.replace(report, **others).violations()
    if fields == ("membership_auc",) and report.membership_auc is None:
        return Verdict(rule, None)
    return Verdict(rule, not broken, broken)


def _print_audit(report: PrivacyReport, verdicts: list[Verdict]) -> None:
    auc = None if report.membership_auc is None else f"{report.membership_auc:.3f}"
    figures = [
        ("rows", report.rows),
        ("points", report.points),
        ("fewest rows behind a point", report.rows_behind_least),
        ("points on a row (within a hundredth)", f"{report.within_hundredth:.1%}"),
        ("points that give a row away (within a tenth)", f"{report.within_tenth:.1%}"),
        ("AUC of the best membership attack", auc),
        ("rows attacked", report.attacked),
    ]
    print_table("Audit", ["figure", "# value"], figures)
    words = {True: "ok", False: "broken", None: "not measured"}
    print_table(
        "Rules", ["rule", "", "why"], [(each.rule, words[each.ok], "; ".join(each.broken)) for each in verdicts]
    )
    if report.rows < ROWS_IN_THE_OPEN:
        click.echo(f"Fewer than {ROWS_IN_THE_OPEN} rows: it stays in private federations.")


def _tell_note(note: str) -> None:
    if note:
        click.echo(f"note: {note}", err=True)
