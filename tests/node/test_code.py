"""Learnwares of code: the node of their owner builds what they need and runs them, others run what was let in."""

import io
import pickle
import secrets

import pytest
import wheels
from atoll.engine.packages.pack import pack
from atoll.engine.packages.revise import revise
from atoll.engine.runtime import Signature, rung
from atoll.engine.runtime.environments import Needs
from atoll.engine.semantic import SemanticSpec
from atoll.node.client.transport import RemoteError
from atoll.node.clock import now_ms
from atoll.node.errors import PackageRefused
from atoll.protocol.listings import Offers
from sklearn.linear_model import LogisticRegression

OFFERS = Offers(predict="members", download="members")
BRIGHT = b"""
import numpy as np
def predict(rows):
    ones = (rows[:, 28] + rows[:, 36] > 10) * FACTOR
    return np.stack([1 - ones, ones], axis=1).astype(np.float32)
"""


@pytest.fixture
def made(digits):
    """``made(node, code, format, needs)``: a package of noughts and ones whose model is code."""

    def make(node, code, format_="python", needs=None):
        package = io.BytesIO()
        pack(
            package, code, digits.of(0, 1), digits.island(), SemanticSpec("Noughts and ones", "By one pixel."),
            Signature("classification", 64, 2), owner=node.node.identity.peer, created_at=now_ms(),
            salt=secrets.token_bytes(16), class_names=("0", "1"), size=40, model_format=format_,
            model_path="model.pkl" if format_ == "pickle" else "model.py", needs=needs,
        )  # fmt: skip
        return package.getvalue()

    return make


async def published(node, other, federation, package, digits, changed):
    for each in (node, other):
        await each.client.add_island(digits.island())
    added = await node.client.add_learnware(package)
    await node.client.publish(added.learnware_id, federation, OFFERS)
    await changed(other, lambda: len(other.node.catalogue.alive(now_ms())) == 1)
    return added.learnware_id


async def right(node, learnware_id, digits, prefer="local"):
    """The share of noughts and ones that are told apart."""
    found = await node.client.predict_with(learnware_id, digits.of(0, 1), prefer=prefer, send=True)
    return (digits.labels_of(0, 1) == list(map(int, found.labels))).mean()


async def test_code_with_an_environment_is_built_by_its_owner_and_runs_there(
    federated, digits, changed, made, tmp_path, monkeypatch
):
    wheels.set_up(tmp_path, monkeypatch)
    (north, south), federation = await federated("north", "south")
    code = BRIGHT.replace(b"FACTOR", b"(coral.FACTOR / 20)").replace(b"import numpy", b"import coral\nimport numpy", 1)
    package = made(north, code, needs=Needs("requirements.txt", b"coral>1\n"))
    learnware_id = await published(north, south, federation, package, digits, changed)

    (submission,) = await north.client.submissions()
    steps = {step.name: step.words for step in submission.report.steps}
    assert steps["environment"] == "1 packages, locked by hash"
    assert await right(south, learnware_id, digits, "remote") > 0.9
    await south.client.allow_code(learnware_id)
    with pytest.raises(RemoteError, match="nobody builds but its owner"):
        await right(south, learnware_id, digits)


async def test_what_cannot_be_had_refuses_the_package_and_is_named(start, digits, made, tmp_path, monkeypatch):
    wheels.set_up(tmp_path, monkeypatch)
    (node,) = await start("node")
    await node.client.add_island(digits.island())
    with pytest.raises(PackageRefused, match=r"environment: .*pearl==3"):
        await node.client.add_learnware(made(node, BRIGHT, needs=Needs("requirements.txt", b"coral\npearl==3\n")))
    assert not list((node.node.home / "environments").iterdir())


@pytest.mark.parametrize("format_", ["python", "pickle"])
async def test_others_code_runs_once_it_was_let_in_and_no_later_revision(federated, digits, changed, made, format_):
    if rung().level != "strong":
        pytest.skip("others' code needs the strong sandbox")
    (north, south), federation = await federated("north", "south")
    code = BRIGHT.replace(b"FACTOR", b"1")
    if format_ == "pickle":
        code = pickle.dumps(LogisticRegression(max_iter=3000).fit(digits.of(0, 1).values, digits.labels_of(0, 1)))
    package = made(north, code, format_)
    learnware_id = await published(north, south, federation, package, digits, changed)
    with pytest.raises(RemoteError, match="is not run for others"):
        await right(south, learnware_id, digits)

    with pytest.raises(RemoteError, match="say which revision, by which owner: no such revision"):
        await south.client.allow_code(learnware_id, revision="0" * 64)
    let_in = await south.client.allow_code(learnware_id, owner=north.node.identity.peer)
    assert (let_in.owner, let_in.name) == (north.node.identity.peer, "Noughts and ones")
    assert await south.client.admitted_code() == [let_in]
    assert await right(south, learnware_id, digits) > 0.9

    revised = io.BytesIO()
    revise(io.BytesIO(package), revised, semantic=SemanticSpec("Ones and noughts", "By one pixel."))
    await north.client.submission((await north.client.submit(revised.getvalue())).id, wait=30.0)
    await changed(south, lambda: south.node.catalogue.alive(now_ms())[0].semantic.name == "Ones and noughts")
    with pytest.raises(RemoteError, match="is not run for others"):
        await right(south, learnware_id, digits)

    await south.client.allow_code(learnware_id)
    assert await right(south, learnware_id, digits) > 0.9
    assert len(await south.client.refuse_code(learnware_id)) == 2
    with pytest.raises(RemoteError, match="is not run for others"):
        await right(south, learnware_id, digits)
    acts = [
        row.act for row in (await south.client.audit()).items if row.act.startswith("code.") and row.outcome == "done"
    ]
    assert acts == ["code.allow", "code.allow", "code.refuse"]
