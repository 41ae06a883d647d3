"""What is told of RKMEs that are not disclosed: to which queries, how exactly, and how little can be made of it."""

import numpy as np
import pytest
from atoll.engine.errors import QueryTooNarrow
from atoll.engine.islands import Island
from atoll.engine.matching import RkmeIndex
from atoll.engine.matching.oracle import check_query, effective_size, nearest_told, told
from atoll.engine.specs import Rkme, fit_rkme, mmd2, sketch
from atoll.engine.specs.stand_in import stand_in
from oracle_attack import Knowledge, holes, moving_point, projected, recovered, single_points, sketch_alone
from scipy.stats import spearmanr
from sklearn.datasets import load_diabetes, load_digits

D = 10


def cloud(points, weights=None):
    points = np.asarray(points, np.float32)
    weights = np.full(len(points), 1.0) if weights is None else np.asarray(weights)
    return Rkme(points, (weights / weights.sum()).astype(np.float32), 1.0 / points.shape[1], 500)


@pytest.fixture(scope="module")
def normal():
    return np.random.default_rng(0).standard_normal((100, D))


@pytest.fixture(scope="module")
def secret():
    """An RKME of 25 points, the 300 rows behind it, and as many others of the same eight clusters."""
    random = np.random.default_rng(0)
    values = random.normal(size=(8, D))[random.integers(0, 8, 600)] + 0.5 * random.normal(size=(600, D))
    island = Island.mint(values)
    rows = island.transform(values)
    return island, fit_rkme(rows[:300], 30, gamma=island.gamma), rows[:300], rows[300:]


def knowledge(secret, listed):
    """``listed`` is what the public sketch is of."""
    island, rkme, _, others = secret
    return Knowledge(island, len(rkme.weights), listed.norm2, sketch(listed, island), others)


def stood_in(rkmes):
    return RkmeIndex({id_: stand_in(rkme) for id_, rkme in rkmes.items()})


class TestQueries:
    def test_a_distribution_is_answered(self, normal):
        check_query(cloud(normal[:30]))

    @pytest.mark.parametrize("name", ["island of digits", "island of diabetes"])
    def test_queries_fitted_to_real_rows_are_answered(self, name):
        values = {"island of digits": load_digits, "island of diabetes": load_diabetes}[name]().data[:440]
        island = Island.mint(values)
        check_query(fit_rkme(island.transform(values), gamma=island.gamma))

    @pytest.mark.parametrize(
        "name", ["few", "one point", "coincident", "nearly coincident", "heavy", "far", "weightless"]
    )
    def test_a_probe_is_not(self, normal, name):
        near = 1e-2 * normal[:40]
        probes = {
            "few": cloud(normal[:29]),
            "one point": cloud(normal[:1]),
            "coincident": cloud(np.zeros((40, D))),
            "nearly coincident": cloud(near),
            "heavy": cloud(normal[:30], np.r_[30.0, np.full(29, 1.0)]),
            "far": cloud(np.vstack([normal[:1], 40.0 + 10.0 * normal[:60]])),
            "weightless": cloud(normal[:60], np.r_[np.full(20, 1.0), np.full(40, 0.0)]),
        }
        with pytest.raises(QueryTooNarrow, match="at least 30 points") as refused:
            check_query(probes[name])
        assert refused.value.hint

    def test_points_that_nearly_coincide_count_once(self, normal):
        assert effective_size(cloud(normal[:20])) == pytest.approx(20, rel=0.05)
        assert effective_size(cloud(np.repeat(normal[:20], 5, axis=0))) == pytest.approx(20, rel=0.05)


class TestStandIns:
    def test_no_point_of_it_is_near_a_true_one(self, secret):
        _, rkme, _, _ = secret
        distances = np.linalg.norm(rkme.points[:, None] - rkme.points, axis=2)
        np.fill_diagonal(distances, np.inf)
        away = np.linalg.norm(rkme.points[:, None] - stand_in(rkme).points, axis=2).min(axis=1)
        assert (away >= 0.249 * distances.min(axis=1)).all()

    @pytest.mark.parametrize("points", [np.zeros((1, 3)), np.zeros((5, 3)), np.repeat(np.eye(3), 4, axis=0)])
    def test_there_is_one_of_every_rkme(self, points):
        found = stand_in(cloud(points))
        assert np.linalg.norm(points[:, None] - found.points, axis=2).min() > 0.01

    @pytest.mark.parametrize("seed", range(20))
    def test_there_is_one_on_a_line_too(self, seed):
        """There may be no room between two points."""
        points = np.sort(np.random.default_rng(seed).standard_normal((2, 1)), axis=0)
        away = np.abs(points - stand_in(cloud(points)).points.T).min()
        assert away >= 0.249 * (points[1] - points[0])

    def test_it_is_always_the_same(self, secret):
        _, rkme, _, _ = secret
        again = Rkme.from_bytes(rkme.to_bytes())
        assert stand_in(again).to_bytes() == stand_in(rkme).to_bytes()

    def test_it_is_near_in_mmd(self, secret):
        _, rkme, _, _ = secret
        assert mmd2(rkme, stand_in(rkme)) < 0.1 * rkme.norm2


class TestAnswers:
    @pytest.mark.parametrize(("exact", "said"), [(0.123456, 0.123), (0.0012345, 0.00123), (0.0, 0.0), (1.0, 1.0)])
    def test_three_digits(self, exact, said):
        assert told(exact) == said

    def test_everything_is_of_the_stand_in(self, draw_rkmes):
        """Two RKMEs with one stand-in could not be told apart: order, choice and distances are functions of those."""
        rkmes, query = draw_rkmes(1, 40), draw_rkmes(2, 1, 60).popitem()[1]
        expected = sorted((told(mmd2(query, stand_in(rkme))), id_) for id_, rkme in rkmes.items())[:10]
        ids, distances = nearest_told(query, stood_in(rkmes), 10)
        assert list(zip(distances, ids, strict=True)) == expected

    def test_of_those_told_the_same_distance_the_first_by_id_are_named(self, draw_rkmes):
        base, query = draw_rkmes(1, 1, 40).popitem()[1], draw_rkmes(2, 1, 60).popitem()[1]
        random = np.random.default_rng(0)
        alike = {}
        for number in random.permutation(300).tolist():
            points = base.points + np.float32(1e-4) * random.normal(size=base.points.shape).astype(np.float32)
            alike[f"{number:03d}"] = Rkme(points, base.weights, base.gamma, base.count)
        expected = sorted((told(mmd2(query, rkme)), id_) for id_, rkme in alike.items())
        among = [id_ for id_ in alike if int(id_) % 3]
        assert len({distance for distance, _ in expected}) < 10
        for limit in (0, 1, 10, 299, 300, 400):
            ids, distances = nearest_told(query, RkmeIndex(alike), limit)
            assert list(zip(distances, ids, strict=True)) == expected[:limit]
            ids, distances = nearest_told(query, RkmeIndex(alike), limit, among=among)
            assert list(zip(distances, ids, strict=True)) == [each for each in expected if each[1] in among][:limit]

    @pytest.mark.parametrize("load", [load_digits, load_diabetes])
    def test_the_ranking_stays_useful(self, load):
        """Blends of classes, or of fifths of the target's range; the public sketches alone give 0.93 to 0.97."""
        learnwares, queries = blends(load)
        overlap, correlation = [], []
        index = stood_in(learnwares)
        for query in queries:
            exact = {id_: mmd2(query, rkme) for id_, rkme in learnwares.items()}
            ids, distances = nearest_told(query, index, len(learnwares))
            overlap.append(len({*ids[:10]} & {*sorted(exact, key=exact.get)[:10]}) / 10)
            correlation.append(spearmanr([exact[id_] for id_ in ids], distances).statistic)
        assert np.mean(overlap) > 0.95
        assert np.mean(correlation) > 0.99


class TestAttacks:
    """Recovered: within 10 % of the rows' median nearest-neighbour distance; at most 1 % with 10 000 queries."""

    def test_exact_answers_give_the_points_away(self, secret):
        _, rkme, rows, _ = secret
        guesses = single_points(lambda query: mmd2(query, rkme), knowledge(secret, rkme), 2000)
        assert recovered(rkme, guesses, rows) >= 0.5

    @pytest.mark.slow
    def test_narrow_queries_are_not_what_gives_them_away(self, secret):
        """The control of the adaptive attack: exact answers to queries that the guard admits."""
        _, rkme, rows, _ = secret

        def oracle(query):
            check_query(query)
            return mmd2(query, rkme)

        guesses = moving_point(oracle, knowledge(secret, rkme), 4000, error=1e-6)
        assert recovered(rkme, guesses, rows) >= 0.5

    def test_ten_thousand_guarded_answers_do_not(self, secret):
        _, rkme, rows, _ = secret
        asked, other = [], stand_in(rkme)

        def oracle(query):
            """What ``nearest_told`` says, as tested above, without an index for each query."""
            check_query(query)
            asked.append(query)
            return told(mmd2(query, other))

        guesses = moving_point(oracle, knowledge(secret, stand_in(rkme)), 10_000)
        assert 9_900 <= len(asked) <= 10_000
        assert recovered(rkme, guesses, rows) <= 0.01

    def test_endless_exact_answers_about_single_points_do_not(self, secret):
        """All that answers can ever tell is the stand-in, which the attacker here is simply given."""
        _, rkme, rows, _ = secret
        known, given = knowledge(secret, stand_in(rkme)), stand_in(rkme)
        assert recovered(rkme, given.points.astype(np.float64), rows) <= 0.01
        assert recovered(rkme, sketch_alone(known, given), rows) <= 0.01

    @pytest.mark.parametrize("dimension", [2, 3])
    def test_gaps_in_the_stand_in_do_not(self, dimension):
        random = np.random.default_rng(dimension)
        values = random.normal(size=(8, dimension))[random.integers(0, 8, 300)]
        values = values + 0.5 * random.normal(size=(300, dimension))
        island = Island.mint(values)
        rows = island.transform(values)
        rkme = fit_rkme(rows, 30, gamma=island.gamma)
        assert recovered(rkme, holes(stand_in(rkme)), rows) <= 0.01

    def test_moving_the_stand_in_onto_the_data_does_not(self):
        """Rows near three dimensions of thirty: what had left them at random would be taken back by projection."""
        random = np.random.default_rng(0)
        values = random.normal(size=(600, 3)) @ random.normal(size=(3, 30)) + 0.05 * random.normal(size=(600, 30))
        island = Island.mint(values)
        rows = island.transform(values)
        rkme = fit_rkme(rows[:300], 30, gamma=island.gamma)
        known = knowledge((island, rkme, rows[:300], rows[300:]), stand_in(rkme))
        assert max(recovered(rkme, each, rows) for each in projected(stand_in(rkme), known)) <= 0.01

    def test_nor_does_the_public_sketch_which_is_the_stand_ins(self, secret):
        """The sketch of an RKME of few points gives some of them away without any question."""
        _, rkme, rows, _ = secret
        assert recovered(rkme, sketch_alone(knowledge(secret, rkme)), rows) > 0.01
        assert recovered(rkme, sketch_alone(knowledge(secret, stand_in(rkme))), rows) <= 0.01


def blends(load, learnwares=30, queries=8):
    bunch, random = load(), np.random.default_rng(1)
    island = Island.mint(bunch.data)
    rows, target = island.transform(bunch.data), bunch.target
    if target.dtype.kind == "f":
        target = np.digitize(target, np.quantile(target, [0.2, 0.4, 0.6, 0.8]))

    def drawn(seed):
        share = random.dirichlet(np.full(target.max() + 1, 0.3))[target] + 1e-4
        chosen = rows[random.choice(len(rows), 300, p=share / share.sum())]
        jittered = chosen + 0.02 * random.standard_normal(chosen.shape)
        return fit_rkme(jittered.astype(np.float32), gamma=island.gamma, seed=seed)

    return {f"l{seed:03d}": drawn(seed) for seed in range(learnwares)}, [drawn(99 + seed) for seed in range(queries)]
