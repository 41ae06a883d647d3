"""A session's run with made-up members: who is asked about which rows, and what becomes of those without an answer."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager

import numpy as np
import pytest
from atoll.engine.errors import ModelError
from atoll.engine.islands import Island
from atoll.engine.semantic import SemanticSpec
from atoll.engine.specs import Rkme, sketch
from atoll.engine.tables import Table
from atoll.node.errors import NodeBusy
from atoll.node.language import in_each
from atoll.node.p2p.prediction import Answered
from atoll.node.reuse import workers
from atoll.node.reuse.brief import Brief
from atoll.node.reuse.execution import Execution
from atoll.node.reuse.planning import Directory, plan, survey
from atoll.node.reuse.query import ReuseQuery
from atoll.node.reuse.reporting import counted, report
from atoll.node.reuse.rows import Labelled, Rows
from atoll.node.reuse.running import Reusing
from atoll.node.reuse.team import team_of
from atoll.node.search.plan import Candidate
from atoll.protocol.errors import OffSpecification, PolicyDenied
from atoll.protocol.listings import Listing, Quality, SpecSummary

COLUMNS = ("x", "y", "z")
CENTRES = (-6.0, 0.0, 6.0)
COUNT = 3000


@pytest.fixture(scope="module")
def island():
    return Island.mint(Table(np.random.default_rng(0).normal(scale=2.0, size=(500, 3)), COLUMNS))


@pytest.fixture
def drawn():
    """Rows, a third around each centre in the order of those, and whose each is."""
    whose = np.repeat(np.arange(3), COUNT // 3)
    values = np.array(CENTRES)[whose, None] + 0.2 * np.random.default_rng(1).normal(size=(COUNT, 3))
    return values, whose


def member(place, island, license_="MIT", may=("predict",)):
    """A regressor that is good around one centre, at an owner of its own."""
    points = CENTRES[place] + 0.2 * np.random.default_rng(place).normal(size=(20, 3))
    units = island.transform(Table(points, COLUMNS))
    rkme = Rkme(units, np.full(20, 0.05, np.float32), island.gamma, 50)
    short = sketch(rkme, island)
    summary = SpecSummary(island.digest, short.values.tobytes(), short.norm2, 32, bytes(32))
    owner = bytes([place + 1]) * 32
    listing = Listing(
        owner, bytes(32), bytes([place]) * 32, bytes(32), 1, 1, "live", SemanticSpec(f"m{place}", license=license_),
        (summary,), inputs=3, outputs=1, quality=Quality("R2", 0.5 + place / 10, 100),
    )  # fmt: skip
    return Candidate(listing, summary, 0.1 * place, rkme.norm2, estimated=False, rkme=rkme, may=may)


class Owners:
    """What each member is asked; member k answers k + 1, unless ``does`` says otherwise (place -> rows -> error, or
    what it answers)."""

    def __init__(self, does=None):
        self.asked = [[], [], []]
        self._does = does or {}

    @asynccontextmanager
    async def open(self, member, place, island, user, fetched):
        number = member.listing.learnware_id[0]

        async def predict(rows):
            self.asked[number].append(rows)
            error = self._does.get(number, lambda rows: None)(rows)
            if isinstance(error, Answered):
                return error
            if error is not None:
                return Answered.nothing(len(rows), 1, error)
            return Answered.whole(np.full((len(rows), 1), number + 1.0, np.float32))

        yield predict

    def rows_of(self, number):
        return np.concatenate(self.asked[number]) if self.asked[number] else np.zeros((0, 3))


@pytest.fixture
def run(island, drawn, tmp_path):
    """``await run(owners, **query)``: the session, its report, and the predictions."""

    async def whole(owners, *, labelled=None, licenses=("MIT",) * 3, may=(("predict",),) * 3, send=True, **how):
        members = tuple(member(place, island, licenses[place], may[place]) for place in range(3))
        query = ReuseQuery("s", **how)
        np.save(tmp_path / "rows.npy", drawn[0])
        rows = Rows.open(tmp_path / "rows.npy", COLUMNS, COUNT)
        brief = Brief.of(team_of(island, members, (0.4, 0.3, 0.3), query, labelled, ""), query, rows, labelled)
        directory = Directory(lambda peer: f"owner {peer[-4:]}", lambda revision: False, "")
        plans = in_each(lambda: plan("r", query, brief, survey(brief, query), {}, directory))
        reusing = Reusing(query, plans, brief, tmp_path, 0.0)
        reusing.send = send
        with ThreadPoolExecutor(4) as threads:
            async with AsyncExitStack() as stack:
                execution = Execution(reusing, owners.open, threads, stack)
                await execution.run()
        return reusing, report(reusing, execution, counted(reusing), 1), np.load(reusing.predictions)

    return whole


async def test_every_row_goes_to_those_whose_data_it_is_like_and_to_nobody_else(run, drawn):
    owners = Owners()

    reusing, told, values = await run(owners)

    assert (values[:, 0] == drawn[1] + 1).all()
    assert [each.rows for each in reusing.plan.members] == [each.rows_asked for each in told.members] == [1000] * 3
    for number in range(3):
        assert np.allclose(owners.rows_of(number).mean(axis=0), CENTRES[number], atol=0.1)
    assert told.histogram is not None
    assert sum(told.histogram[1]) == COUNT
    assert "R2 0.6 (members with 100% of the say)" in told.expected


async def test_blocks_of_a_sorted_file_look_like_the_whole(run, monkeypatch):
    monkeypatch.setattr("atoll.node.reuse.brief.BLOCK", 1536)
    owners = Owners()

    await run(owners, method="averaging")

    assert len(owners.asked[0]) == 2
    for rows in owners.asked[0]:
        assert {centre for centre in CENTRES if np.any(np.abs(rows[:, 0] - centre) < 1.0)} == set(CENTRES)


async def test_a_member_that_fails_is_left_out_and_its_rows_go_to_the_others(run, drawn, monkeypatch):
    monkeypatch.setattr("atoll.node.reuse.brief.BLOCK", 512)
    seen = []

    def fails(rows):
        seen.append(len(rows))
        return ModelError("it broke") if len(seen) > 2 else None

    reusing, told, values = await run(Owners({0: fails}))

    mine = values[drawn[1] == 0, 0]
    failed = [event.data for event in reusing.so_far if event.event == "member_failed"]
    assert (mine == 1.0).sum() == told.members[0].rows_answered == sum(seen[:2])
    assert set(np.unique(mine)) == {1.0, 2.0}  # then the next like it, who had not been asked about such rows before
    assert [(each.learnware_id, each.why) for each in failed] == [("00" * 32, "it broke")]
    assert told.abstained == 0
    assert told.rows_remote == sum(each.rows_asked for each in told.members) > COUNT  # what was sent, answered or not
    assert (
        f"stopped answering after {sum(seen[:2])} of 1\N{NARROW NO-BREAK SPACE}000 rows: it broke" in told.warnings[0]
    )


async def test_where_one_after_the_other_fails_the_last_answers_all(run):
    broken = {number: lambda rows: ModelError("it broke") for number in (0, 1)}

    _, told, values = await run(Owners(broken))

    assert (values == 3.0).all()
    assert told.members[2].weight == 1.0


HERE = (("predict",), ("download",), ("predict",))  # the middle one runs at this node


async def test_without_consent_no_owner_is_asked_whoever_fails_or_declines(run, island):
    few = Table(np.array(CENTRES)[np.arange(60) % 3, None] + np.zeros((60, 3)), COLUMNS)
    labelled = Labelled(few, tuple(float(place % 3 + 1) for place in range(60)))
    for taught in (None, labelled):
        for answer in (lambda rows: None, lambda rows: ModelError("it broke"), lambda rows: OffSpecification("unlike")):
            owners = Owners({1: answer})
            try:
                _, told, values = await run(owners, may=HERE, send=False, labelled=taught)
            except (ExceptionGroup, OffSpecification, PolicyDenied):
                assert answer(()) is not None
            else:
                assert answer(()) is None
                assert (values == 2.0).all() or taught
                assert told.leaves == ("No row has left this node.",)
            assert owners.asked[1]
            assert owners.asked[0] == owners.asked[2] == []


async def test_with_consent_the_rows_of_a_member_that_fails_here_go_to_owners(run):
    owners = Owners({1: lambda rows: ModelError("it broke")})

    reusing, told, _ = await run(owners, may=HERE)

    assert reusing.plan.sends_rows
    assert len(owners.rows_of(0)) + len(owners.rows_of(2)) == told.rows_remote >= COUNT


async def test_where_all_fail_that_is_an_error(run):
    with pytest.raises(ExceptionGroup) as ended:
        await run(Owners({number: lambda rows: ModelError(f"{len(rows)} broke it") for number in range(3)}))
    assert ended.group_contains(PolicyDenied, match="no member is left that answers: .* broke it")


async def test_an_owner_that_declines_a_batch_is_asked_about_what_is_like_its_data(run, drawn):
    def picky(rows):
        return OffSpecification("unlike") if np.abs(rows.mean() - CENTRES[0]) > 0.5 else None

    owners = Owners({0: picky})

    _, told, values = await run(owners, method="averaging")

    mine = drawn[1] == 0
    assert np.allclose(values[~mine, 0], (0.3 * 2 + 0.3 * 3) / 0.6)
    assert np.allclose(values[mine, 0], 0.4 * 1 + 0.3 * 2 + 0.3 * 3)
    assert told.members[0].rows_answered == 1000
    assert any("declined" in warning for warning in told.warnings)


async def test_rows_that_their_member_declines_go_to_the_others(run, drawn):
    _, told, values = await run(Owners({0: lambda rows: OffSpecification("unlike")}))

    assert (values[drawn[1] == 0, 0] == 2.0).all()
    assert told.members[0].failed == ""


async def test_a_busy_member_is_asked_again(run, monkeypatch, drawn):
    monkeypatch.setattr(workers, "PAUSES", (0.0, 0.0))
    calls = []

    def busy(rows):
        calls.append(rows)
        return NodeBusy("come again") if len(calls) < 3 else None

    _, told, values = await run(Owners({0: busy}))

    assert (values[:, 0] == drawn[1] + 1).all()
    assert told.members[0].failed == ""


def half(rows, value, error):
    """The first half answered, and why the others are not."""
    told = Answered.nothing(len(rows), 1, error)
    told.values[: len(rows) // 2] = value
    told.rows[: len(rows) // 2] = True
    return told


async def test_what_a_member_has_answered_before_it_fails_stays_and_the_others_get_the_rest(run, drawn):
    _, told, values = await run(Owners({0: lambda rows: half(rows, 1.0, ModelError("the quota is used up"))}))

    mine = values[drawn[1] == 0, 0]
    assert told.members[0].rows_answered == (mine == 1.0).sum() == 500
    assert set(np.unique(mine)) == {1.0, 2.0}
    assert told.members[1].rows_asked == 1000 + 500
    assert "500 of 1\N{NARROW NO-BREAK SPACE}000 rows: the quota is used up" in told.warnings[0]


async def test_what_a_member_has_answered_before_it_declines_stays(run, drawn):
    _, told, values = await run(Owners({0: lambda rows: half(rows, 1.0, OffSpecification("unlike"))}))

    assert (values[drawn[1] == 0, 0] == 1.0).sum() == told.members[0].rows_answered == 500
    assert told.members[0].failed == ""


async def test_a_busy_member_is_asked_about_what_it_has_not_answered_as_long_as_it_gets_on(run, monkeypatch, drawn):
    monkeypatch.setattr(workers, "PAUSES", (0.0,))
    seen = []

    def busy(rows):
        seen.append(len(rows))
        return half(rows, 1.0, NodeBusy("come again")) if len(rows) > 100 else None

    _, told, values = await run(Owners({0: busy}))

    assert seen == [1000, 500, 250, 125, 63]
    assert (values[:, 0] == drawn[1] + 1).all()
    assert told.members[0].rows_answered == 1000


async def test_a_method_is_chosen_and_fitted_without_those_who_fail(run, island):
    few = Table(np.array(CENTRES)[np.arange(60) % 3, None] + np.zeros((60, 3)), COLUMNS)
    labelled = Labelled(few, tuple(float(place % 3 + 1) for place in range(60)))

    reusing, told, values = await run(Owners({2: lambda rows: ModelError("it broke")}), labelled=labelled)

    assert "pruning" in told.validation
    assert told.members[2].failed == "it broke"
    assert [each.labelled_answered for each in told.members] == [60, 60, 0]
    assert any("of your rows and 60 labelled rows" in each for each in told.leaves)
    assert np.isfinite(values).all()
    assert [event.event for event in reusing.so_far if event.event != "progress"] == ["plan", "member_failed", "chosen"]


async def test_licences_that_differ_are_told(run):
    reusing, told, _ = await run(Owners(), licenses=("MIT", "GPL", "MIT"))

    assert reusing.plan.licenses == ("GPL", "MIT")
    assert "The members' licences differ: GPL, MIT. All of them bind you." in told.warnings
