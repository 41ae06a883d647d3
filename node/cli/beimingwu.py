"""``beimingwu import|export``: learnwares of a Beimingwu market made ours, and ours made theirs."""

from __future__ import annotations

import asyncio
import secrets
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import click
import msgspec
from atoll.engine.beimingwu.contents import Contents, open_contents
from atoll.engine.beimingwu.exporting import export_package
from atoll.engine.beimingwu.importing import Imported, import_package
from atoll.engine.errors import ModelRefused
from atoll.engine.islands import Island
from atoll.engine.packages import open_package
from atoll.node.cli.acceptance import checked, show
from atoll.node.cli.connection import connected
from atoll.node.cli.output import clean, json_option, print_json, short
from atoll.node.cli.packing import PUBLIC, File, Target
from atoll.node.cli.progress import progress_bars
from atoll.node.cli.referring import federation_of
from atoll.node.client import AsyncClient
from atoll.node.clock import now_ms
from atoll.node.errors import PackageRefused
from atoll.node.store.durable import replacing
from atoll.protocol.listings import Offers

MODELS = {
    ".pkl": "a pickle", ".pickle": "a pickle", ".joblib": "a joblib pickle", ".onnx": "an ONNX model",
    ".skops": "a skops model", ".ubj": "an XGBoost model",
}  # fmt: skip
KINDS = {"pickle", "onnx", "skops", "xgboost", "lightgbm"}  # that `learnware pack` makes a package without code of
NO_CODE = "It runs as Python code: on your node in the sandbox, on others where they let it in."


class IslandReport(msgspec.Struct, frozen=True):
    """``legacy``: in Beimingwu's own units, where all its specifications of one kind and width are."""

    id: str
    kind: str
    dimension: int
    legacy: bool


class ImportReport(msgspec.Struct, frozen=True):
    """What became of a Beimingwu package. ``package`` is the file that was written, ``state`` what the node's checks
    have come to where it was uploaded, "accepted" or "refused"; ``notes`` say what was left out or put right, and why;
    ``convertible`` are files in it that may be models of a format without code."""

    learnware_id: str
    revision: str
    alias: str
    name: str
    data: str
    task: str
    inputs: int
    outputs: int
    class_names: tuple[str, ...]
    environment: str
    islands: tuple[IslandReport, ...]
    notes: tuple[str, ...]
    convertible: tuple[str, ...]
    package: str | None = None
    state: str | None = None
    federation: str | None = None


class ExportReport(msgspec.Struct, frozen=True):
    package: str
    bytes: int
    notes: tuple[str, ...]


@click.group()
def beimingwu() -> None:
    """Move learnwares from a Beimingwu market, and to one."""


@beimingwu.command("import")
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--alias", help="Call it so too.  [default: the id in its learnware.yaml]")
@click.option("--semantic", type=File, help="Its semantic specification, in place of the one in it, if there is one.")
@click.option("-o", "--output", type=Target, help="The package to write.")
@click.option("--add", is_flag=True, help="Upload it to the node, and have it checked there.")
@click.option("--federation", help="With --add: list it there at once, to be matched by members and nothing else.")
@json_option
@connected
async def import_(
    client: AsyncClient, source: Path, alias: str | None, semantic: Path | None, output: Path | None, add: bool,
    federation: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Make a learnware of ours of SOURCE, a zip of Beimingwu's or the folder of one.

    The zip is kept as it is, and so is its semantic specification. Nothing in it is run to read it; its model runs in
    the sandbox, by the rules for Python code. A table specification comes into the island that all such share, and
    into those of the node that have the very columns that the semantic specification names.
    """
    if bool(output) == add:
        raise click.UsageError("give one of -o PACKAGE, to write it, and --add, to upload it")
    if federation and not add:
        raise click.UsageError("--federation goes with --add")
    federation = await federation_of(client, federation) if federation else None  # before the work, not after it
    given = await asyncio.to_thread(semantic.read_bytes) if semantic else None
    offered = await asyncio.to_thread(_convertible, source)
    owner, islands = (await client.node()).peer_id, await client.islands()

    def make(target: IO[bytes]) -> Imported:
        return import_package(
            source, target, owner=owner, created_at=now_ms(), salt=lambda: secrets.token_bytes(16), islands=islands,
            semantic=given, alias=alias,
        )  # fmt: skip

    if output is not None:
        with progress_bars() as tell, replacing(output, PUBLIC) as file:
            tell("reading", 0, 0)
            imported = await asyncio.to_thread(make, file)
        report = _report(imported, output, offered)
        await _know(client, imported, islands)
        report = msgspec.structs.replace(report, package=str(output))
    else:
        with tempfile.NamedTemporaryFile(prefix="atoll-", suffix=".zip") as temporary:
            imported = await asyncio.to_thread(make, temporary.file)
            await asyncio.to_thread(temporary.flush)
            report = _report(imported, Path(temporary.name), offered)
            await _know(client, imported, islands)
            report = await _added(client, Path(temporary.name), report, federation, as_json)
    print_json(report) if as_json else _tell(report, source)


@beimingwu.command("export")
@click.argument("learnware", metavar="LEARNWARE_ID|PACKAGE")
@click.option("-o", "--output", type=Target, required=True, help="The zip to write.")
@json_option
@connected
async def export(client: AsyncClient, learnware: str, output: Path, as_json: bool) -> None:
    """Write a zip that Beimingwu's client loads: of a PACKAGE, or of a learnware by its id, or its alias here.

    What was imported comes out byte for byte. A table learnware of ours becomes one whose model is run by the library
    of its format, named in requirements.txt, with its specification in raw units. One of another institution comes
    through the node, if its owner offers download.
    """
    path = Path(learnware)
    notes: tuple[str, ...] = ()
    with progress_bars() as tell, replacing(output, PUBLIC) as file:
        if path.is_file():
            islands = {island.id: island for island in await client.islands()}
            notes = await asyncio.to_thread(_exported, path, islands, file)
        else:
            await client.beimingwu_package(learnware, file, lambda done: tell("downloading (MiB)", done >> 20, 0))
    report = ExportReport(str(output), output.stat().st_size, notes)
    if as_json:
        print_json(report)
        return
    click.echo(f"{output}: {report.bytes} bytes")
    _tell_notes(report.notes)


def _exported(path: Path, islands: dict[str, Island], file: IO[bytes]) -> tuple[str, ...]:
    with open_package(path) as package:
        return tuple(export_package(package, islands, file).notes)


async def _know(client: AsyncClient, imported: Imported, islands: Sequence[Island]) -> None:
    """The node knows the islands of the learnware, or it could not check it."""
    known = {island.id for island in islands}
    for island in imported.islands:
        if island.id not in known:
            await client.add_island(island)


async def _added(
    client: AsyncClient, package: Path, report: ImportReport, federation: str | None, as_json: bool
) -> ImportReport:
    decided = await checked(client, package, None)
    if decided.report is not None and not as_json:
        show(decided.report)
    if decided.state == "refused":
        raise PackageRefused(decided.report.words if decided.report else "refused")
    if federation:
        await client.publish(decided.learnware_id, federation, Offers())
    return msgspec.structs.replace(
        report, learnware_id=decided.learnware_id, state=decided.state, federation=federation
    )


def _convertible(source: Path) -> tuple[str, ...]:
    """Files that are models of a format that `learnware pack` reads, told by their bytes, as they are called in the
    source; nothing is loaded."""
    with open_contents(source) as contents:
        top = f"{contents.top}/" if contents.top else ""
        models = [name for name in contents.names if Path(name).suffix.lower() in MODELS and _is(contents, name)]
    return tuple(top + name for name in models)


def _is(contents: Contents, name: str) -> bool:
    from atoll.engine.packages.own import told

    try:
        return Path(name).suffix.lower() == ".skops" or told(next(contents.pieces(name), b"")) in KINDS
    except ModelRefused:
        return False


def _report(imported: Imported, path: Path, convertible: tuple[str, ...]) -> ImportReport:
    manifest = imported.manifest
    with open_package(path) as package:
        learnware_id, revision = package.learnware_id.hex(), package.revision.hex()
    return ImportReport(
        learnware_id=learnware_id, revision=revision, alias=manifest.alias, name=manifest.semantic.name,
        data=manifest.semantic.data, task=manifest.semantic.task, inputs=manifest.signature.inputs,
        outputs=manifest.signature.outputs, class_names=manifest.class_names, environment=manifest.environment,
        islands=tuple(
            IslandReport(each.id, each.kind, each.dimension, place == 0) for place, each in enumerate(imported.islands)
        ),
        notes=imported.notes, convertible=convertible,
    )  # fmt: skip


def _tell(report: ImportReport, source: Path) -> None:
    alias = f", known as {report.alias}" if report.alias else ""
    gives = ", ".join(report.class_names[:10]) or f"{report.outputs} values"
    click.echo(clean(f"{report.name}: learnware {report.learnware_id}{alias}"))
    click.echo(clean(f"model          {report.data}, {report.task}: {report.inputs} inputs to {gives}"))
    for each in report.islands:
        which = "shared by all such of Beimingwu" if each.legacy else "with the same columns, moved there"
        click.echo(f"island         {short(each.id)}, {each.kind} of {each.dimension} dimensions, {which}")
    if not report.islands:
        click.echo("island         none: it is found by words alone")
    if report.environment:
        click.echo(f"environment    {report.environment}: your node builds it, of wheels, before the model runs")
    _tell_notes(report.notes)
    _offer(report.convertible, source)
    if report.package:
        click.echo(f"Next: `atoll learnware add {report.package}`")
    elif report.federation:
        click.echo(
            f"In the dock, and listed in {short(report.federation)} to be matched: next `atoll learnware policy`"
        )
    else:
        click.echo("In the dock, listed nowhere: `atoll learnware policy` offers it")


def _tell_notes(notes: Sequence[str]) -> None:
    for note in notes:
        click.echo(clean(f"note           {note}"))


def _offer(convertible: Sequence[str], source: Path) -> None:
    """How to be rid of the code."""
    click.echo(NO_CODE)
    if not convertible:
        return
    name, where = convertible[0], shlex.quote(str(source))
    file = shlex.quote(f"./{Path(name).name}")
    take = f"unzip -p {where} {shlex.quote(name)} > {file}" if source.is_file() else f"cp {where}/{shlex.quote(name)} ."
    click.echo(clean(f"{name} in it is {MODELS[Path(name).suffix.lower()]}. If it is your own, and all of the model,"))
    click.echo("it can be packed in a format without code, which runs wherever it may go:")
    click.echo(clean(f"  {take}"))
    click.echo(clean(f"  atoll learnware pack {file} --data ROWS.csv --semantic WORDS.json -o PACKAGE.zip"))
