"""The reference package's half of the benchmark of reuse: its own specifications, search and reusers on a market.

    python package_reuse.py market INPUT.npz OUTPUT.npz

Runs as ``package_side.py`` does, and imports nothing of Atoll. Models are not run: their outputs for all rows are
given, and looked up by the row. EnsemblePruningReuser needs geatpy, hence Python < 3.11, and is left out.
"""

import sys
from types import SimpleNamespace

import numpy as np
import package_side
import torch
from learnware.market.easy.searcher import EasyStatSearcher
from learnware.reuse import AveragingReuser, FeatureAugmentReuser, JobSelectorReuser, feature_augment
from learnware.specification import generate_rkme_table_spec
from package_side import SPEC, task, timed

LABELLED = (100, 500)
HERDED = 200
GONE = ("multi_class", "store_cv_values")  # arguments that scikit-learn has removed; both were defaults


@task
def market(arrays):
    """``rows`` (sum n, d) in common units and ``counts`` (L,); users: ``queries`` (U, n, d), ``labelled`` (U, l, d),
    ``labels`` (U, l), ``outputs`` (U, n, L, c), ``labelled_outputs`` (U, l, L, c), ``usable`` (U, L) of bool.

    By method, predictions (U, n) of class places or values, and (U,) CPU seconds of search and of the job selector's
    fitting and routing. That takes minutes (herding is cubic in the samples, then 2000 rounds of LightGBM, twice): the
    first ``thorough`` users get its default of 1000 samples and are timed, users up to ``selecting`` 200, others NaN.
    """
    for name in ("RidgeCV", "LogisticRegressionCV"):
        setattr(feature_augment, name, _without_gone(getattr(feature_augment, name)))
    parts = np.split(arrays["rows"], np.cumsum(arrays["counts"])[:-1])
    specifications = [generate_rkme_table_spec(part.astype(np.float64)) for part in parts]
    found = [_user(arrays, specifications, user) for user in range(len(arrays["queries"]))]
    return {name: np.stack([each[name] for each in found]) for name in found[0]}


def _user(arrays, specifications, user):
    rows, outputs = arrays["queries"][user].astype(np.float64), arrays["outputs"][user]
    few, labels = arrays["labelled"][user].astype(np.float64), arrays["labels"][user]
    answers = dict(zip(map(bytes, (*rows, *few)), (*outputs, *arrays["labelled_outputs"][user]), strict=True))
    usable = np.flatnonzero(arrays["usable"][user])
    learnwares = [_learnware(place, specifications[place], answers) for place in usable]
    (first, mixed), searching = timed(lambda: _searched(rows, learnwares), 1)
    classes = outputs.shape[2] > 1
    thorough, selects = user < int(arrays["thorough"]), user < int(arrays["selecting"])
    selector = JobSelectorReuser(mixed if selects else mixed[:1], 1000 if thorough else HERDED)
    chosen, selecting = timed(lambda: selector.job_selector(rows), 1)
    places = np.array([each.id for each in mixed])[chosen]
    told = {
        "top-1": _decided(outputs[:, first.id]),
        "job selector": _decided(outputs[np.arange(len(rows)), places]) if selects else np.full(len(rows), np.nan),
        "averaging": _averaged(mixed, "vote_by_prob" if classes else "mean", rows),
        "voting": _averaged(mixed, "vote_by_label", rows) if classes else np.full(len(rows), np.nan),
    }
    for count in LABELLED:
        reuser = FeatureAugmentReuser(mixed, "classification" if classes else "regression")
        reuser.fit(few[:count].copy(), labels[:count])
        told[f"augmentation {count}"] = np.asarray(reuser.predict(rows.copy()), np.float64).ravel()
    return told | {"searching": searching[0], "selecting": selecting[0] if thorough else np.nan}


def _searched(rows, learnwares, most=5):
    """The nearest learnware and those of the mixture, by the package's searches over the user's own specification."""
    query = generate_rkme_table_spec(rows)
    searcher = EasyStatSearcher(organizer=None)
    searcher.stat_spec_type = SPEC
    _, ranked = searcher._search_by_rkme_spec_single(learnwares, query)
    _, _, mixed = searcher._search_by_rkme_spec_mixture_greedy(ranked[: most * most], query, most)
    return ranked[0], mixed


def _averaged(mixed, mode, rows):
    found = AveragingReuser(mixed, mode).predict(rows)
    return _decided(found) if found.ndim > 1 else found.astype(np.float64)


def _decided(outputs):
    """Class places of probabilities (n, c), or the values of (n, 1)."""
    return outputs.argmax(axis=1).astype(np.float64) if outputs.shape[1] > 1 else outputs[:, 0]


def _learnware(place, specification, answers):
    def predict(rows):
        found = np.stack([answers[bytes(row)][place] for row in rows])
        return found if found.shape[1] > 1 else found[:, 0]

    named = SimpleNamespace(get_stat_spec_by_name=lambda name: specification, stat_spec={SPEC: specification})
    return SimpleNamespace(id=place, specification=named, get_specification=lambda: named, predict=predict)


def _without_gone(estimator):
    return lambda **given: estimator(**{name: value for name, value in given.items() if name not in GONE})


if __name__ == "__main__":
    torch.set_num_threads(1)
    package_side.main(sys.argv[1:])
