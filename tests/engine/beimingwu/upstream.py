"""What Beimingwu's own package makes of zips, as JSON: run by an interpreter that has it, knows nothing of Atoll.

python upstream.py ROWS.npy ZIP [ZIP ..]
"""

import json
import sys

import numpy as np


def told(rows, zips):
    """Of each zip: its id, whether its words and its whole are valid there, and its answers to ``rows`` (n, d); of each
    two, how far their table specifications are apart (``dist``, which is MMD^2)."""
    from learnware.client import LearnwareClient
    from learnware.market import EasySemanticChecker, EasyStatChecker

    loaded = [LearnwareClient(host="http://127.0.0.1:9").load_learnware(learnware_path=path) for path in zips]
    specifications = [each.get_specification().get_stat_spec_by_name("RKMETableSpecification") for each in loaded]
    words = [EasySemanticChecker()(each)[0] for each in loaded]
    checked = [EasyStatChecker()(each) for each in loaded]
    return {
        "ids": [each.id for each in loaded],
        "words": [state != EasySemanticChecker.INVALID_LEARNWARE for state in words],
        "valid": [state == EasyStatChecker.USABLE_LEARNWARE for state, _ in checked],
        "why": [str(why)[-500:] for _, why in checked],
        "answers": [np.asarray(each.predict(rows), float).tolist() for each in loaded],
        "distances": [[left.dist(right) for right in specifications] for left in specifications],
    }


if __name__ == "__main__":
    print(json.dumps(told(np.load(sys.argv[1]), sys.argv[2:])))
