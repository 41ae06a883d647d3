"""From what somebody gives to a package that is checked: the file that came, the specification, the package, its way to
the queue. Rows are read in the confined process and are gone with the form that they came in."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from atoll.engine.errors import ModelRefused, PackageError
from atoll.engine.islands import Island
from atoll.engine.packages import open_package
from atoll.engine.packages.manifest import NAME, Manifest
from atoll.engine.packages.pack import assemble
from atoll.engine.packages.revise import reworded
from atoll.engine.runtime.formats import CODE, detect
from atoll.engine.semantic import SemanticSpec
from atoll.engine.zips import UNREADABLE, open_zip
from atoll.node.acceptance.queue import MAX_LABELLED
from atoll.node.acceptance.submissions import LabelledRows
from atoll.node.api.beimingwu.uploading import import_zip
from atoll.node.api.islands import known_islands
from atoll.node.api.scratch import scratch
from atoll.node.clock import now_ms
from atoll.node.errors import RequestInvalid
from atoll.node.store.ledger import Spending
from atoll.node.web.publish.drafts import GIVEN, MODEL, Draft
from atoll.node.web.publish.forms import DELTA, ModelForm
from atoll.node.web.reading.fitting import Packed, Packing, Reading
from atoll.node.web.visit import Visit
from atoll.protocol.ids import parse_digest

if TYPE_CHECKING:
    from atoll.node.app import Node

WITH_CODE = {
    "pickle": "it is a pickle: to load it runs the code inside, and that is not done here",
    "python": "it is Python code, which is not run here",
    "beimingwu": "it is a package of Beimingwu's, not a model",
}
BY_COMMAND = "pack it on your own machine with `atoll learnware pack`, and give the package"
OUT = "out"


async def received(visit: Visit, draft: Draft) -> Draft:
    """All of the file is here: told by its bytes, and fit to go on with. What is refused is not kept: ModelRefused,
    PackageError, or RequestInvalid says why."""
    node, path = visit.node, visit.node.drafts.path(draft, GIVEN)
    try:
        if draft.way == "model":
            await asyncio.to_thread(_require_data, path)
            told: dict[str, object] = {"packed": None}
        else:
            told = await asyncio.to_thread(_opened, node, draft, path)
    except Exception:
        await asyncio.to_thread(node.drafts.drop, draft)
        raise
    return await asyncio.to_thread(partial(node.drafts.change, draft, whole=True, **told))


async def fitted(visit: Visit, draft: Draft, form: ModelForm, folder: Path) -> Draft:
    """The parts of a package, of the model that was given and the rows of the form; Unreadable says of which field what
    is wrong, PrivacyRefusal that a budget is spent."""
    node = visit.node
    assert form.rows is not None  # the form was checked
    packing = Packing(
        str(node.drafts.path(draft, GIVEN)), str(folder / OUT), secrets.token_bytes(16), form.target, form.classes,
        form.size, form.mint, form.budget is not None,
    )  # fmt: skip
    packed = await node.fitting.packed(form.rows, packing, await asyncio.to_thread(known_islands, node))
    if form.budget is not None:
        packed = await _noised(visit, form, packing, packed, folder)
    await asyncio.to_thread((folder / packing.into).replace, node.drafts.path(draft, MODEL))
    return await asyncio.to_thread(node.drafts.keep_parts, draft, packed, form.target)


async def _noised(visit: Visit, form: ModelForm, packing: Packing, asked: Packed, folder: Path) -> Packed:
    """The same with a noised sketch, whose budget is in the ledger before it is made."""
    node, island = visit.node, Island.from_definition(asked.island)
    assert form.budget is not None  # else nobody asks
    assert form.rows is not None  # the form was checked
    spending = Spending(form.dataset, asked.digest, island.digest, asked.rows, form.budget, DELTA)
    async with visit.noting("privacy.spend", dataset=form.dataset, island=island.id):
        row = await asyncio.to_thread(node.ledger.spend, spending, now_ms())
    again = msgspec.structs.replace(
        packing, into=str(folder / f"{OUT}-noised"), budget=(form.budget, DELTA, row.secret), mint=False
    )
    noised = await node.fitting.packed(form.rows, again, [island])
    return msgspec.structs.replace(noised, minted=asked.minted)


async def sample(visit: Visit, file: Path, target: str, folder: Path) -> LabelledRows:
    """Labelled rows, to measure the model's quality on, as many as the queue takes (a packed value has 9 bytes);
    Unreadable says what is wrong with them."""
    into = str(folder / "labelled.array")
    (sheet,) = await visit.node.fitting.sheets(file, Reading((into,), str(file), target, cells=MAX_LABELLED // 10))
    values = await asyncio.to_thread(np.load, into, allow_pickle=False)
    rows = await asyncio.to_thread(lambda: tuple(map(tuple, values.tolist())))
    return LabelledRows(sheet.columns, rows, sheet.target)


async def submitted(visit: Visit, draft: Draft, labelled: LabelledRows | None) -> Draft:
    """The package of the draft is in the queue; an island that was minted for it is known here then."""
    node = visit.node
    assert visit.token is not None  # nobody else gets here
    assert draft.words is not None  # they are a step before
    if draft.packed is not None and draft.packed.minted:
        island = Island.from_definition(draft.packed.island)
        async with visit.noting("island.add", id=island.id, kind=island.kind):
            await asyncio.to_thread(node.catalogue.add_island, island)
    async with scratch(node.blobs) as file:
        path = Path(file.name)
        await asyncio.to_thread(put_together, node, draft, draft.words, path)
        digest = await asyncio.to_thread(node.acceptance.uploads.take, path)
    async with visit.noting("learnware.submit", sha256=digest.hex()):
        row = await node.acceptance.submit(digest, visit.token.id, labelled)
    return await asyncio.to_thread(partial(node.drafts.change, draft, submission=row.id.hex()))


def put_together(node: Node, draft: Draft, words: SemanticSpec, target: Path) -> None:
    """Write the package of a draft; blocking."""
    revises = draft.revises or None
    if draft.packed is not None:
        packed = draft.packed
        assert packed.entry is not None  # a draft holds nothing else
        assemble(
            target, node.drafts.path(draft, MODEL), packed.columns, (packed.entry, node.drafts.specification(draft)),
            words, packed.signature, owner=node.identity.peer, created_at=now_ms(), class_names=packed.class_names,
            model_format=packed.format, model_path=packed.file_name, learnware_id=revises,
        )  # fmt: skip
        return
    given = node.drafts.path(draft, GIVEN)
    manifest = manifest_of(node, draft)
    learnware_id = revises or manifest.learnware_id
    if words == manifest.semantic and learnware_id == manifest.learnware_id:
        shutil.copyfile(given, target)
    elif words == manifest.semantic and draft.way == "words":
        raise PackageError("the words are those that the learnware has already", hint="change some of them first")
    else:
        reworded(given, target, semantic=words, learnware_id=learnware_id)


def manifest_of(node: Node, draft: Draft) -> Manifest:
    """Of the package that was given; blocking."""
    with open_package(node.drafts.path(draft, GIVEN)) as package:
        return package.manifest


def taken_from_dock(node: Node, draft: Draft) -> Draft:
    """The whole package of the learnware that is to have other words; blocking."""
    learnware = node.dock.get(parse_digest(draft.revises))
    node.dock.write_whole(learnware, node.drafts.path(draft, GIVEN))
    return node.drafts.change(draft, whole=True, words=learnware.manifest.semantic)


def _require_data(path: Path) -> None:
    """ModelRefused for code, and for what is no model."""
    with path.open("rb") as file:
        try:
            found = detect(file)
        except ModelRefused as error:
            raise ModelRefused(error.message, hint=BY_COMMAND) from None
    if found in CODE:
        raise ModelRefused(WITH_CODE[found], hint=BY_COMMAND)


def _opened(node: Node, draft: Draft, path: Path) -> dict[str, object]:
    """What a package of ours, or Beimingwu's made ours, says of the draft."""
    notes: tuple[str, ...] = ()
    if not _is_ours(path):
        target = path.with_name(OUT)
        try:
            old = node.dock.get(parse_digest(draft.revises)) if draft.revises else None
            notes = import_zip(node, path, target, None, old).notes
            target.replace(path)
        finally:
            target.unlink(missing_ok=True)
    with open_package(path) as package:
        manifest, learnware_id = package.manifest, package.learnware_id
    if manifest.owner != node.identity.peer:
        raise RequestInvalid(
            "the package was made for another owner", hint=f"pack it with --owner {node.identity.peer}"
        )
    revises = draft.revises or (manifest.learnware_id or "")
    if revises and not node.dock.holds(parse_digest(revises)):
        raise RequestInvalid(f"it revises the learnware {learnware_id.hex()[:16]}, which is not in this dock")
    return {"words": manifest.semantic, "revises": revises, "notes": notes}


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            return NAME in open_zip(file).namelist()
        except UNREADABLE as error:
            raise PackageError(
                f"it is no package: {error}", hint="packages are made by `atoll learnware pack`"
            ) from None
