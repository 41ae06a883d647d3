"""Asserts what `atoll demo --json` promises: python .ci/assert_demo.py REPORT."""

import json
import sys
from pathlib import Path

report = json.loads(Path(sys.argv[1]).read_text("utf-8"))
search, reuse = report["search"], report["reuse"]
accuracy = reuse["accuracy"]
names = {hit["learnware_id"]: hit["name"] for hit in search["hits"]}
decoy = sum(m["weight"] for m in search["mixture"]["members"] if "scrambled" in names[m["learnware_id"]])

assert len(report["nodes"]) == 3
assert accuracy["mixture"] >= 0.90, accuracy
assert accuracy["mixture"] >= 2 * accuracy["best_single"], accuracy
assert len({member["owner"] for member in search["mixture"]["members"]}) >= 2, search["mixture"]
assert reuse["rows_local"] > 0, reuse
assert reuse["rows_remote"] > 0, reuse
assert decoy <= 0.05, search["mixture"]
assert search["complete"], search
assert set(search["peers_asked"]) == set(search["peers_answered"]), search
single, unserved = report["others"]
assert single["chosen"] == "Digits 4 to 6", single
assert single["accuracy"] >= 0.9, single
assert unserved["chosen"] is None, unserved
assert unserved["uncovered"] >= 0.9, unserved
print(f"demo: {accuracy}, {reuse['rows_local']} rows here, {reuse['rows_remote']} at their owners, decoy {decoy:.3f}")
