"""The languages of a collection of texts, by py3langid: a naive Bayes model, offline and without chance.

The same texts give the same answer under the same version of py3langid. Needs the extra `text`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from atoll.engine.encoders.texts import checked, package_folder

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

SAMPLE = 2000  # texts, evenly spaced
CHARACTERS = 1000  # of each
CONFIDENCE = 0.3  # below, a text counts for no language: two words could be anything
SHARE = 0.05
MOST = 5


def detect(texts: Sequence[str]) -> tuple[str, ...]:
    """ISO 639-1 codes of the languages that at least 5 % of the texts are in, the most frequent first, at most five.

    Empty if no text is long enough to tell. Raises SpecificationError for what is no text or if the extra is missing.
    """
    texts = checked(texts)
    identifier = _identifier()
    count = min(len(texts), SAMPLE)
    sample = (texts[place * len(texts) // count][:CHARACTERS] for place in range(count))
    found = Counter(identifier.classify(text)[0] for text in sample)
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    # Codes of three letters are languages without one in ISO 639-1, "und" (undecided) and "zxx" (no language).
    return tuple(code for code, times in ranked if len(code) == 2 and times >= SHARE * count)[:MOST]


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    package_folder("py3langid")
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True, min_confidence=CONFIDENCE)
