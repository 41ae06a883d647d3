"""``atoll spec`` as people use it: files in, files out, figures and exit codes; a node only where it is wanted."""

import asyncio
import json
import sys
from functools import partial

import numpy as np
import pytest
from atoll.engine.beimingwu.legacy import named_island
from atoll.engine.errors import FeatureMismatch
from atoll.engine.island_file import read_island, write_island
from atoll.engine.islands import Island
from atoll.engine.specs import Rkme, fit_rkme
from atoll.engine.tables import Table
from atoll.node.cli import rows

NOWHERE = "http://127.0.0.1:9"
NAMES = ("age", "height", "pulse", "weight")


def people(count, seed=0):
    random = np.random.default_rng(seed)
    return random.normal((40, 170, 70, 75), (12, 9, 8, 14), (count, 4))


def save(path, values, names=NAMES):
    np.savetxt(path, values, delimiter=",", header=",".join(names), comments="")
    return path


@pytest.fixture
def data(tmp_path):
    return save(tmp_path / "rows.csv", people(600))


@pytest.fixture
def fitted(tmp_path, data, atoll):
    path = tmp_path / "spec.rkme"
    assert atoll("spec", "fit", data, "-o", path, "--size", 20, "--new-island")[0] == 0
    return path


def test_fit_without_a_node_mints_an_island_and_says_that_the_gate_holds(tmp_path, data, atoll):
    code, out, err = atoll("spec", "fit", data, "-o", tmp_path / "a.rkme", "--size", 20, "--new-island")
    assert (code, err) == (0, "")
    island = read_island(tmp_path / "a.island.json")
    assert island == Island.mint(Table.read(data))
    expected = fit_rkme(island.transform(Table.read(data)), 20, island.gamma)
    assert Rkme.load(tmp_path / "a.rkme").to_bytes() == expected.to_bytes()
    assert f"{len(expected.weights)} points for 600 rows, island {island.id[:8]}" in out
    assert "rules 1 and 2 hold" in out


def test_fit_in_the_island_of_a_file_gives_the_same_bytes_in_every_form_of_it(tmp_path, data, fitted, atoll):
    definition = tmp_path / "spec.island.json"
    canonical = tmp_path / "canonical"
    canonical.write_bytes(read_island(definition).definition)
    for number, island in enumerate((definition, canonical)):
        again = tmp_path / f"again{number}.rkme"
        code, out, _ = atoll("spec", "fit", data, "-o", again, "--size", 20, "--island", island, "--json")
        answer = json.loads(out)
        assert (code, again.read_bytes()) == (0, fitted.read_bytes())
        assert answer["rows"] == 600
        assert answer["island"] == read_island(definition).id
        assert [rule["ok"] for rule in answer["rules"]] == [True, True, None]


def test_the_seed_and_the_size_count(tmp_path, data, fitted, atoll):
    island = tmp_path / "spec.island.json"
    other = tmp_path / "other.rkme"
    assert atoll("spec", "fit", data, "-o", other, "--size", 20, "--seed", 5, "--island", island)[0] == 0
    assert other.read_bytes() != fitted.read_bytes()
    assert atoll("spec", "fit", data, "-o", other, "--size", 0, "--island", island)[0] == 2


def test_large_files_are_streamed_to_the_same_bytes(tmp_path, data, fitted, atoll, monkeypatch):
    monkeypatch.setattr(rows, "KEPT_BYTES", 0)
    monkeypatch.setattr(Table, "chunks", partial(Table.chunks, rows=100))
    again = tmp_path / "again.rkme"
    assert atoll("spec", "fit", data, "-o", again, "--size", 20, "--island", tmp_path / "spec.island.json")[0] == 0
    assert again.read_bytes() == fitted.read_bytes()


def test_an_island_of_many_rows_is_minted_of_a_sample(data, monkeypatch):
    whole = Island.mint(Table.read(data))
    monkeypatch.setattr(rows, "MINTED_ROWS", 300)
    monkeypatch.setattr(rows, "first_rows", Table.read)
    monkeypatch.setattr(Table, "chunks", partial(Table.chunks, rows=100))
    sampled = rows.mint(data)
    assert sampled.names == whole.names
    for one, other in zip(sampled.features, whole.features, strict=True):
        assert one.loc == pytest.approx(other.loc, abs=0.3 * other.scale)
        assert one.scale == pytest.approx(other.scale, rel=0.3)


def test_without_a_node_or_an_island_fit_says_what_to_type(tmp_path, data, atoll):
    code, _, err = atoll("spec", "fit", data, "-o", tmp_path / "a.rkme")
    assert code == 10
    assert "--new-island" in err


async def test_with_a_node_fit_takes_the_island_that_the_node_knows(start, tmp_path, data):
    (node,) = await start("a")
    island = Island.mint(Table.read(data))
    await node.client.add_island(named_island(NAMES))  # raw: for what came from elsewhere
    with pytest.raises(FeatureMismatch):
        await node.client.adopt_island(Table.read(data))
    await node.client.add_island(island)
    command = [sys.executable, "-c", "from atoll.node.cli.main import main; main()", "spec", "fit", str(data)]
    options = ["-o", str(tmp_path / "a.rkme"), "--url", node.url, "--token", node.token, "--json"]
    process = await asyncio.create_subprocess_exec(*command, *options, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert json.loads(out)["island"] == island.id


def test_empty_cells_are_named_and_imputed_on_request(tmp_path, fitted, atoll):
    values = people(600)
    values[::7, 2] = np.nan
    holes, again = save(tmp_path / "holes.csv", values), tmp_path / "again.rkme"
    arguments = ("spec", "fit", holes, "-o", again, "--size", 20, "--island", tmp_path / "spec.island.json")
    code, _, err = atoll(*arguments)
    assert code == 15
    assert "86 cells" in err
    assert "pulse" in err
    assert "--impute" in err
    assert not again.exists()
    assert atoll(*arguments, "--impute")[0] == 0
    assert atoll("spec", "audit", again, holes, "--impute", "--island", tmp_path / "spec.island.json")[0] == 0


def test_few_rows_are_refused_and_rows_of_other_columns_named(tmp_path, fitted, atoll):
    few = save(tmp_path / "few.csv", people(4))
    assert atoll("spec", "fit", few, "-o", tmp_path / "few.rkme", "--new-island")[0] == 15
    assert not (tmp_path / "few.island.json").exists()
    other = save(tmp_path / "other.csv", people(100), ("age", "height", "pulse", "mass"))
    for arguments in (("fit", other, "-o", tmp_path / "other.rkme"), ("audit", fitted, other)):
        code, _, err = atoll("spec", *arguments, "--island", tmp_path / "spec.island.json")
        assert code == 15
        assert "weight" in err
        assert "mass" in err


def test_options_that_exclude_each_other_are_a_usage_error(tmp_path, data, fitted, atoll):
    island = ("--island", tmp_path / "spec.island.json")
    fit = ("spec", "fit", data, "-o", tmp_path / "a.rkme")
    assert atoll(*fit, *island, "--new-island")[0] == 2
    assert atoll(*fit, *island, "--kind", "text")[0] == 2
    assert atoll("spec", "fit", data, "-o", tmp_path / "a.txt", *island)[0] == 15


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"\x80", b'{"kind": "table", "dimension": 1, "gamma": 1}'])
def test_what_is_no_island_is_refused(tmp_path, data, atoll, content):
    wrong = tmp_path / "wrong.json"
    wrong.write_bytes(content)
    code, _, err = atoll("spec", "fit", data, "-o", tmp_path / "a.rkme", "--island", wrong)
    assert code == 15
    assert "wrong.json" in err


def test_an_island_that_was_changed_under_its_id_is_refused(tmp_path, data, atoll):
    changed = tmp_path / "changed.json"
    write_island(Island.mint(Table.read(data)), changed)
    changed.write_text(changed.read_text().replace("0.25", "0.5"))
    code, _, err = atoll("spec", "fit", data, "-o", tmp_path / "a.rkme", "--island", changed)
    assert code == 15
    assert "hash" in err


def test_show_gives_figures_and_a_picture(tmp_path, fitted, atoll):
    code, out, _ = atoll("spec", "show", fitted, "--json", "--draw", tmp_path / "a.svg")
    facts = json.loads(out)
    assert code == 0
    assert (facts["rows"], facts["dimension"], facts["gamma"]) == (600, 4, 0.25)
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()
    assert "gamma         0.25" in atoll("spec", "show", fitted)[1]
    assert atoll("spec", "show", fitted, "--draw", tmp_path / "a.gif")[0] == 15


def test_convert_goes_through_every_format_and_back(tmp_path, fitted, atoll):
    before = fitted
    for name in ("a.json", "b.npz", "c.rkme"):
        code, out, err = atoll("spec", "convert", before, tmp_path / name)
        assert (code, err) == (0, "")
        assert "600 rows" in out
        before = tmp_path / name
    assert before.read_bytes() == fitted.read_bytes()
    assert json.loads((tmp_path / "a.json").read_bytes())["type"] == "RKMETableSpecification"


def test_convert_notes_what_it_put_right_and_refuses_what_it_cannot(tmp_path, atoll):
    table = {"z": [[1], [2]], "beta": [-0.0004, 1.0], "gamma": 1, "num_points": 9, "type": "RKMETableSpecification"}
    source, target = tmp_path / "a.json", tmp_path / "a.rkme"
    source.write_text(json.dumps(table))
    code, _, err = atoll("spec", "convert", source, target)
    assert code == 0
    assert "clipped" in err
    assert Rkme.load(target).weights.tolist() == [0.0, 1.0]
    assert "clipped" in json.loads(atoll("spec", "convert", source, target, "--json")[1])["note"]
    source.write_text(json.dumps({**table, "beta": [-1, 2]}))
    code, _, err = atoll("spec", "convert", source, tmp_path / "b.rkme")
    assert code == 15
    assert "non-negative" in err
    assert not (tmp_path / "b.rkme").exists()


def test_audit_of_a_fit_is_ok(tmp_path, data, fitted, atoll):
    island = ("--island", tmp_path / "spec.island.json")
    code, out, _ = atoll("spec", "audit", fitted, data, *island)
    assert code == 0
    assert out.count(" ok ") == 3
    held_out = save(tmp_path / "held.csv", people(500, seed=1))
    code, out, _ = atoll("spec", "audit", fitted, data, "--held-out", held_out, *island, "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["report"]["attacked"] == 500
    assert [rule["ok"] for rule in answer["rules"]] == [True] * 3


def test_audit_of_rows_published_as_points_breaks_every_rule(tmp_path, data, fitted, atoll):
    island = read_island(tmp_path / "spec.island.json")
    values = island.transform(Table.read(data))
    verbatim = tmp_path / "verbatim.rkme"
    Rkme(values, np.full(600, 1 / 600, np.float32), island.gamma, 600).save(verbatim)
    held_out = save(tmp_path / "held.csv", people(500, seed=1))
    arguments = ("spec", "audit", verbatim, data, "--held-out", held_out, "--island", tmp_path / "spec.island.json")
    code, out, err = atoll(*arguments)
    assert code == 15
    assert out.count(" broken ") == 3
    assert "spec.privacy" in err
    rules = json.loads(atoll(*arguments, "--json")[1])["rules"]
    assert [len(rule["broken"]) for rule in rules] == [1, 2, 1]


def test_audit_doubts_other_data_and_refuses_other_islands(tmp_path, data, fitted, atoll):
    more = save(tmp_path / "more.csv", people(700))
    _, _, err = atoll("spec", "audit", fitted, more, "--island", tmp_path / "spec.island.json")
    assert "600 rows" in err
    narrow = save(tmp_path / "narrow.csv", people(100)[:, :2], NAMES[:2])
    assert atoll("spec", "fit", narrow, "-o", tmp_path / "narrow.rkme", "--new-island")[0] == 0
    code, _, err = atoll("spec", "audit", fitted, narrow, "--island", tmp_path / "narrow.island.json")
    assert code == 15
    assert "spec.dimension" in err
