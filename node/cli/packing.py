"""``learnware pack|edit|new``: packages made on one's own machine, of one's own models."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
from atoll.engine.encoding import unpack_json
from atoll.engine.island_file import read_island, write_island
from atoll.engine.islands import Island
from atoll.engine.packages.archive import MODEL_LIMIT, open_package, require_size
from atoll.engine.packages.manifest import SpecEntry
from atoll.engine.runtime.environments import Needs
from atoll.engine.runtime.formats import CODE
from atoll.engine.semantic import SemanticSpec
from atoll.engine.specs.noised import DpParameters
from atoll.engine.specs.report import ROWS_IN_THE_OPEN, PrivacyReport
from atoll.engine.specs.rkme import MAX_POINTS, Rkme
from atoll.engine.tables import Table
from atoll.node.cli import templates
from atoll.node.cli.connection import connected
from atoll.node.cli.output import json_option, print_json, short
from atoll.node.client import AsyncClient
from atoll.node.clock import now_ms
from atoll.node.store.durable import replacing

File = click.Path(path_type=Path, exists=True, dir_okay=False)
Target = click.Path(path_type=Path, dir_okay=False)
PUBLIC = 0o666  # mode of a package, less the umask: whoever gets it may read it
WORDS = 1 << 20  # bytes of a file of words, at most


class PackReport(msgspec.Struct, frozen=True):
    """What ``pack`` says of the package it made. ``difference`` is the largest between original and packed model on the
    rows; ``warning`` is of the model's own file."""

    package: str
    bytes: int
    island: str
    island_file: str | None
    format: str
    model_bytes: int
    difference: float | None
    why: str
    task: str
    inputs: int
    outputs: int
    class_names: tuple[str, ...]
    points: int | None
    rows: int
    privacy: PrivacyReport | None
    dp: DpParameters | None
    warning: str | None


@dataclass(frozen=True)
class _Asked:
    """The options of ``pack`` that are about the model."""

    model: Path
    data: Path
    semantic: Path
    task: Any
    class_names: tuple[str, ...]
    outputs: int | None
    allow_pickle: bool


@click.command()
@click.argument("model", type=File)
@click.option("--data", type=File, required=True, help="The rows the model is good on (CSV with header, or .npy).")
@click.option("--semantic", type=File, required=True, help="JSON: name, description, task, scenario, ...")
@click.option("--class-name", "class_names", multiple=True, help="One per output of a classifier, in its order.")
@click.option("--task", type=click.Choice(["classification", "regression"]), help="Where the model does not say.")
@click.option(
    "--environment", type=File, help="What Python code or a pickle needs: requirements.txt, environment.yaml."
)
@click.option("--allow-pickle", is_flag=True, help="Pack an estimator that no other format fits as a pickle.")
@click.option("--outputs", type=click.IntRange(1), help="Target values of a regressor.  [default: as the model says]")
@click.option("--size", default=100, show_default=True, type=click.IntRange(1, MAX_POINTS),
              help="Points of the specification, at most.")  # fmt: skip
@click.option("--dp-epsilon", type=float, help="Publish a sketch under differential privacy in place of the points.")
@click.option("--dp-delta", default=1e-6, show_default=True, help="The delta that goes with --dp-epsilon.")
@click.option("--dataset", help="The name that the ledger adds budgets up under.  [default: DATA's file name]")
@click.option("--island", "definition", type=File, help="A file with the island's definition.")
@click.option("--new-island", is_flag=True, help="Mint an island from DATA; its definition goes beside the package.")
@click.option("--owner", help="The peer id of the node that will hold it.  [default: that of the node asked]")
@click.option("-o", "--output", type=Target, required=True, help="The package to write.")
@json_option
@connected
async def pack(
    client: AsyncClient, model: Path, data: Path, semantic: Path, class_names: tuple[str, ...], task: Any,
    outputs: int | None, size: int, dp_epsilon: float | None, dp_delta: float, dataset: str | None,
    definition: Path | None, new_island: bool, owner: str | None, output: Path, as_json: bool,
    environment: Path | None, allow_pickle: bool,
) -> None:  # fmt: skip
    """Pack MODEL with a specification fitted to its data. The rows stay on this machine.

    MODEL is a file of your own, told by its bytes: ONNX, LightGBM text, XGBoost, skops, torch.export, safetensors,
    Python code, or a pickle or joblib, which is loaded with a warning. It is packed in the safest format that gives the
    same outputs on DATA, ONNX first. With --owner and an island of a file no node is asked.

    Python code and pickles run on your own node, in the sandbox, and on others that let them in. With --environment
    your node builds what they need, once, of wheels, and locks it.

    With --dp-epsilon the specification is a noised sketch: the node enters the budget in its ledger and is told a hash
    of the rows. The promise is for the specification; the model is not made private by it, nor is an island that was
    minted from the same rows.
    """
    from atoll.engine.packages.pack import pack as make

    if definition and new_island:
        raise click.UsageError("give one of --island and --new-island")
    asked = _Asked(model, data, semantic, task, class_names, outputs, allow_pickle)
    converted, rows, words, warning = await asyncio.to_thread(_converted, asked)
    if environment and converted.format not in CODE:
        raise click.UsageError(f"the model is packed as {converted.format}, which needs no environment")
    needs = Needs(environment.name, environment.read_bytes()) if environment else None
    island = await _island(client, rows, definition, new_island)
    beside = output.with_suffix(".island.json") if new_island else None
    peer = owner or (await client.node()).peer_id
    budget = None
    if dp_epsilon is not None:
        units = await asyncio.to_thread(island.transform, rows)
        budget = await client.spend_privacy(dataset or data.name, units, island, dp_epsilon, dp_delta)
    with replacing(output, PUBLIC) as file:
        await asyncio.to_thread(
            make, file, converted.data, rows, island, words, converted.signature, owner=peer, created_at=now_ms(),
            salt=secrets.token_bytes(16), class_names=converted.class_names, size=size, budget=budget,
            model_format=converted.format, model_path=converted.file_name, needs=needs,
        )  # fmt: skip
    if beside:
        write_island(island, beside)
    _tell(_report(output, converted, island, beside, len(rows.values), warning), as_json)


@click.command()
@click.argument("package", type=File)
@click.option("--semantic", type=File, required=True, help="JSON: what is named in it changes, the rest stays.")
@click.option("-o", "--output", type=Target, required=True, help="The revised package to write.")
@json_option
def edit(package: Path, semantic: Path, output: Path, as_json: bool) -> None:
    """Change the words and tags of PACKAGE. The learnware keeps its id, model and specification their bytes."""
    from atoll.engine.packages.revise import revise

    with open_package(package) as old:
        before = msgspec.structs.asdict(old.manifest.semantic)
    words = msgspec.structs.asdict(_words(semantic, before))
    with replacing(output, PUBLIC) as file:
        revise(package, file, semantic=SemanticSpec(**words))
    changed = [name for name, value in words.items() if value != before[name]]
    with open_package(output) as new_one:
        learnware_id, revision = new_one.learnware_id.hex(), new_one.revision.hex()
    if as_json:
        print_json({
            "package": str(output), "learnware_id": learnware_id, "revision": revision, "changed": changed,
        })  # fmt: skip
    else:
        click.echo(f"{output}: {', '.join(changed)} changed; learnware {short(learnware_id)}, new revision")


@click.command()
@click.option(
    "--template",
    type=click.Choice(sorted(templates.TEMPLATES)),
    default="sklearn",
    show_default=True,
    help="What the model is made with.",
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@json_option
def new(template: str, folder: Path, as_json: bool) -> None:
    """Write a small project into FOLDER: a model to train on scikit-learn's bundled data, words, and how to pack it."""
    if folder.exists() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty")
    folder.mkdir(parents=True, exist_ok=True)
    files = templates.TEMPLATES[template]
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    if as_json:
        print_json({"folder": str(folder), "files": sorted(files)})
    else:
        click.echo(f"{folder}: {', '.join(sorted(files))}. Next: see README.md")


def _converted(asked: _Asked) -> tuple[Any, Table, SemanticSpec, str | None]:
    """The model in the format to pack, the rows in its order of columns, the words, and a warning of its file.

    Its library loads it whole to compare the two: the one place where a model is in memory outside the sandbox.
    """
    from atoll.engine.packages.convert import from_code, from_estimator
    from atoll.engine.packages.originals import aligned
    from atoll.engine.packages.own import load_own

    require_size(asked.model.stat().st_size, MODEL_LIMIT)
    rows = Table.read(asked.data)
    own = load_own(asked.model, lambda words: click.echo(f"warning: {words}", err=True))
    if own.format == "python":
        converted = from_code(own.model, rows.values.shape[1], asked.class_names, asked.outputs or 1)
    else:
        rows = aligned(own.model, rows)
        converted = from_estimator(
            own.model, rows, task=asked.task, class_names=asked.class_names,
            allow_pickle=asked.allow_pickle,
        )  # fmt: skip
    signature = converted.signature
    if asked.outputs and signature.task == "regression" and signature.outputs != asked.outputs:
        raise click.UsageError(f"--outputs {asked.outputs}, but the model gives {signature.outputs}")
    inferred = {"task": signature.task.title(), "library": converted.library}
    return converted, rows, _words(asked.semantic, inferred), own.warning


def _words(path: Path, before: dict[str, Any]) -> SemanticSpec:
    """The words of a file; what it does not name is as ``before``."""
    data = path.read_bytes()
    unpack_json(data, SemanticSpec if "name" not in before else dict, limit=WORDS)
    tree = {**before, **msgspec.json.decode(data)}
    return unpack_json(msgspec.json.encode(tree), SemanticSpec, limit=2 * WORDS).check()


async def _island(client: AsyncClient, rows: Table, definition: Path | None, mint: bool) -> Island:
    if definition is not None:
        return await asyncio.to_thread(read_island, definition)
    return await asyncio.to_thread(Island.mint, rows) if mint else await client.adopt_island(rows)


def _report(
    output: Path, converted: Any, island: Island, beside: Path | None, rows: int, warning: str | None
) -> PackReport:
    with open_package(output) as package:
        ((specification, _),) = package.specifications().values()
        entry: SpecEntry = package.manifest.specifications[0]
    return PackReport(
        package=str(output), bytes=output.stat().st_size, island=island.id,
        island_file=str(beside) if beside else None, format=converted.format, model_bytes=len(converted.data),
        difference=converted.difference, why=converted.words, task=converted.signature.task,
        inputs=converted.signature.inputs, outputs=converted.signature.outputs, class_names=converted.class_names,
        points=len(specification.weights) if isinstance(specification, Rkme) else None, rows=rows,
        privacy=entry.privacy, dp=entry.dp, warning=warning,
    )  # fmt: skip


def _tell(report: PackReport, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    click.echo(f"{report.package}: {report.bytes} bytes, island {short(report.island)}")
    gives = ", ".join(report.class_names[:10]) or f"{report.outputs} values"
    click.echo(f"model          {report.model_bytes} bytes; {report.task}, {report.inputs} columns to {gives}")
    click.echo(f"format         {report.why}")
    if report.dp is not None:
        click.echo(f"specification  noised sketch of {report.rows} rows, epsilon {report.dp.epsilon:g}")
    elif report.privacy is not None:
        gate, attack = report.privacy, report.privacy.membership_auc
        auc = "not measured" if attack is None else f"{attack:.2f}"
        click.echo(f"specification  {report.points} points of {report.rows} rows")
        click.echo(f"privacy        at least {gate.rows_behind_least} rows behind every point; membership AUC {auc}")
        if report.rows < ROWS_IN_THE_OPEN:
            click.echo(f"               fewer than {ROWS_IN_THE_OPEN} rows: it stays in private federations")
    if report.island_file:
        click.echo(f"island         new, in {report.island_file}: `atoll island mint` makes a node know it")
    click.echo(f"Next: `atoll learnware add {report.package}`")
