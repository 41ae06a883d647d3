"""A catalogue of learnwares and questions about it, as Beimingwu's files have them: the same on every machine.

Names and descriptions that are like each other, tags in all combinations, specifications in raw units that lie far
apart and near; questions with words of theirs, misspelt ones, parts, tags, and specifications.
"""

from __future__ import annotations

import random
from typing import Any

SUBJECTS = (
    ("Sepsis", "Health", "Tells which patients of an intensive care unit will have a sepsis within six hours"),
    ("Iris flowers", "Nature", "Species of iris by the lengths and widths of petals and sepals"),
    ("Flight delay", "Traffic", "Minutes that an aeroplane is late at its destination"),
    ("Corn yield", "Agriculture", "Tons of maize a hectare gives, by soil, rain and seed"),
    ("Retail sales", "Business", "What a shop sells in the next week; M5, Corporación Favorita"),
    ("Credit default", "Financial", "Whether a loan is paid back"),
    ("Flower images", "Nature", "Which flower is on a small picture, irises among them"),
    ("House prices", "Architecture", "小区房价预测: the price of a flat by its size, age and quarter"),
)
VARIANTS = ("", " in Lombardy", " (fine)", " v2", " of 2019", " by gradient boosting")
LICENSES = ("MIT", "Apache-2.0", "BSD-3-Clause", "GPL-3.0", "Others")
WORDS = (
    "sepsis", "SEPSIS", "sepsi", "sepsiss", "iris", "irises", "iris flower", "iris flowrs", "flowers", "flight",
    "flihgt delay", "delay of a flight", "maize", "corn yeild", "corn", "M5", "Corporacion Favorita", "Corporación",
    "prices of houses", "house price", "房价", "房价预", "picture", "small picture of a flower", "v2", "of 2019",
    "(fine)", "lombardia", "gradient bosting", "a", "zebra crossing", "Whether a loan is payed back",
    "Sepsis in Lombardy", "What a shop sells in the next weeks", "Sepsis and iris flowers and flight delay",
)  # fmt: skip
TAGGED: tuple[dict[str, list[str]], ...] = (
    {},
    {"Task": ["Classification"]},
    {"Data": ["Table"], "Task": ["Regression"]},
    {"Scenario": ["Health", "Traffic"]},
    {"License": ["MIT", "Apache-2.0"]},
    {"Library": ["PyTorch"], "Data": ["Image"]},
    {"Scenario": ["Nature"], "License": ["GPL-3.0"], "Task": ["Classification", "Regression"]},
    {"Data": ["Text"]},
)
WIDTHS = (4, 3)  # of tables; specifications of one width are compared
SIXTYFOURTHS, POINTS = 64, 8
QUESTIONS = 24  # by specification


def market() -> dict[str, Any]:
    """``learnwares``: {id, semantic, rkme}; ``semantic``: specifications to search with; ``statistical``: RKMEs."""
    chance = random.Random(8)
    learnwares = []
    for place, (subject, variant) in enumerate((each, other) for other in VARIANTS for each in SUBJECTS):
        name, scenario, description = subject
        image, rkme = name.endswith("images"), _rkme(chance, WIDTHS[place % 5 == 0])
        task = "Regression" if scenario in ("Traffic", "Agriculture", "Business") else "Classification"
        learnwares.append({
            "id": f"{place + 1:08d}",
            "semantic": _semantic(name + variant, description + ("." if place % 2 else ""), {
                "Data": ["Image" if image else "Table"],
                "Task": [task],
                "Model": ["Others"],
                "Library": ["PyTorch" if image else ("Scikit-learn", "Others")[place % 2]],
                "Scenario": [scenario] if place % 3 else [scenario, "Others"],
                "License": [LICENSES[place % len(LICENSES)]],
            }) | {
                "Input": {"Dimension": len(rkme["z"][0]), "Description": {}},
                "Output": {"Dimension": 1 if task == "Regression" else 2, "Description": {}},
            },
            "rkme": rkme,
        })  # fmt: skip
    asked = [
        _semantic(words, "", tags) for words in ("", *WORDS) for tags in (TAGGED if len(words) < 6 else TAGGED[:1])
    ]
    given = [_rkme(chance, WIDTHS[place % 4 == 0]) for place in range(QUESTIONS)]
    return {"learnwares": learnwares, "semantic": asked, "statistical": given}


def _semantic(name: str, description: str, tags: dict[str, list[str]]) -> dict[str, Any]:
    kinds = {"Scenario": "Tag", "Model": "Optional"}
    tree: dict[str, Any] = {key: {"Type": kinds.get(key, "Class"), "Values": values} for key, values in tags.items()}
    words = {"Name": name, "Description": description}
    return tree | {key: {"Type": "String", "Values": text} for key, text in words.items() if text}


def _rkme(chance: random.Random, width: int) -> dict[str, Any]:
    """A cloud of points somewhere in raw units, also far beyond what an island of ours would keep."""
    centre = [chance.uniform(-3, 3) + (20 if chance.random() < 0.1 else 0) for _ in range(width)]
    spread = chance.uniform(0.2, 2.5)
    parts = sorted(chance.sample(range(1, SIXTYFOURTHS), POINTS - 1))
    weights = [(end - start) / SIXTYFOURTHS for start, end in zip([0, *parts], [*parts, SIXTYFOURTHS], strict=True)]
    points = [[round(chance.gauss(each, spread), 3) for each in centre] for _ in range(POINTS)]
    return {"z": points, "beta": weights, "gamma": 0.1, "num_points": 200, "type": "RKMETableSpecification"}
