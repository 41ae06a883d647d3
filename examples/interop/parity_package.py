"""The package's half of the parity of searches; runs inside an environment that has ``learnware==0.4.0.post1``.

    python parity_package.py MARKET.json RESULTS.json

Asks the package's own searchers, unmodified, every question of the market. Imports nothing of Atoll.
"""

import json
import sys
import tempfile
from pathlib import Path

from learnware.learnware import Learnware
from learnware.market.base import BaseUserInfo
from learnware.market.easy.searcher import EasyExactSemanticSearcher, EasyFuzzSemanticSearcher, EasyStatSearcher
from learnware.specification import RKMETableSpecification, Specification

TABLE = "RKMETableSpecification"


def results(market):
    """By question: ids that the exact and the fuzzy searcher find; all of one width in order, with distances, and what
    the searcher answers alone and as a mixture."""
    learnwares = [_learnware(each) for each in market["learnwares"]]
    exact, fuzzy = EasyExactSemanticSearcher(None), EasyFuzzSemanticSearcher(None)
    semantic = [
        {"exact": _ids(exact(learnwares, user)), "fuzzy": _ids(fuzzy(learnwares, user))}
        for user in (BaseUserInfo(semantic_spec=each) for each in market["semantic"])
    ]
    return {"semantic": semantic, "statistical": [_nearest(learnwares, each) for each in market["statistical"]]}


def _nearest(learnwares, given):
    searcher, asked = EasyStatSearcher(None), _rkme(given)
    answer = searcher(learnwares, BaseUserInfo(semantic_spec={}, stat_info={TABLE: asked}))
    alike = searcher._filter_by_rkme_spec_metadata(learnwares, asked)
    distances, ranked = searcher._search_by_rkme_spec_single(alike, asked)
    mixtures = answer.get_multiple_results()
    return {
        "order": [each.id for each in ranked],
        "distances": [round(each, 9) for each in distances],
        "single": _ids(answer),
        "multiple": [each.id for each in mixtures[0].learnwares] if mixtures else [],
    }


def _ids(answer):
    return [each.learnware.id for each in answer.get_single_results()]


def _learnware(given):
    specification = Specification(given["semantic"], {TABLE: _rkme(given["rkme"])})
    return Learnware(id=given["id"], model={}, specification=specification, learnware_dirpath="")


def _rkme(given):
    """Read by the package from a file, as it reads those of a zip."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rkme.json"
        path.write_text(json.dumps(given))
        rkme = RKMETableSpecification(gamma=given["gamma"], cuda_idx=-1)
        rkme.load(str(path))
    return rkme


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(json.dumps(results(json.loads(source.read_text()))))
